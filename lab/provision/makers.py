"""Which way of making hosts a pool asks for."""

from __future__ import annotations

from collections.abc import Callable

from lab.inventory import Inventory, Pool
from lab.model import Clock, ConfigurationError
from lab.provision.maker import Maker
from lab.provision.rack import Rack

MAKERS: dict[str, Callable[[Pool, Inventory, Clock], Maker]] = {}
"""Kind of a pool's `machine` to what opens its maker."""


def maker_for(pool: Pool, inventory: Inventory, clock: Clock) -> Maker:
    """The maker of a pool's hosts. Nothing is connected before it is first used.

    Raises ConfigurationError when there is none for the pool's kind of machine.
    """
    if pool.machine is None:
        return Rack(pool, inventory.hosts, clock)
    opener = MAKERS.get(pool.machine.kind)
    if opener is None:
        raise ConfigurationError(
            f"pool '{pool.name}': hosts cannot be made from machines of kind '{pool.machine.kind}'",
            help=f"Use a pool of members{', or one of ' + ', '.join(MAKERS) if MAKERS else ''}.",
        )
    return opener(pool, inventory, clock)
