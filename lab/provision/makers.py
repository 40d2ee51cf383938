"""Which way of making hosts a pool asks for."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from lab.inventory import Inventory, Pool
from lab.model import Clock, ConfigurationError
from lab.provision.maker import Lab, Maker
from lab.provision.rack import Rack


def _open_vsphere(pool: Pool, lab: Lab, clock: Clock) -> Maker:
    if find_spec("pyVmomi") is None:  # not every lab has it
        raise ConfigurationError(
            f"the hosts of pool '{pool.name}' are clones of a vCenter, and pyvmomi is not installed",
            help="Install it with 'pip install bugcheck-lab[vsphere]'.",
        )
    from lab.provision.cloned import Cloned

    return Cloned(pool, lab, clock)


MAKERS: dict[str, Callable[[Pool, Lab, Clock], Maker]] = {"vsphere": _open_vsphere}
"""Kind of a pool's `machine` to what opens its maker."""


def maker_for(pool: Pool, inventory: Inventory, lab: Lab, clock: Clock) -> Maker:
    """The maker of a pool's hosts. Nothing is connected before it is first used.

    Raises ConfigurationError when there is none for the pool's kind of machine.
    """
    if pool.machine is None:
        if pool.install is None:
            return Rack(pool, inventory.hosts, clock)
        from lab.provision.installed import Installed  # it needs what few labs need

        return Installed(pool, inventory.hosts, lab, clock)
    opener = MAKERS.get(pool.machine.kind)
    if opener is None:
        raise ConfigurationError(
            f"pool '{pool.name}': hosts cannot be made from machines of kind '{pool.machine.kind}'",
            help=f"Use a pool of members, or of {', '.join(MAKERS)}.",
        )
    return opener(pool, lab, clock)
