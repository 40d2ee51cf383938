"""Which pool is meant: by its name, or by the case whose customer's Windows it has."""

from __future__ import annotations

from collections.abc import Mapping

from lab.inventory import Pool
from lab.model import Case, ConfigurationError


def pool_for(case: Case, pools: Mapping[str, Pool]) -> Pool:
    """The first pool, by name, of the build of the customer's dump.

    Raises ConfigurationError that names the pools there are when none fits, or the case has no such dump.
    """
    customer = case.crashes.get(case.customer)
    if customer is None:
        raise ConfigurationError(
            f"case {case.id} has no customer's dump, so its Windows is not known",
            help="Name a pool instead.",
        )
    build = customer.dump.build
    for _, pool in sorted(pools.items()):
        if pool.build == build:
            return pool
    told = ", ".join(
        f"{name} (build {pool.build})" if pool.build else f"{name} (no build stated)"
        for name, pool in sorted(pools.items())
    )
    raise ConfigurationError(
        f"no pool has build {build}, which case {case.id} is of; there is {told or 'no pool at all'}",
        help="State 'build' at a pool of the inventory, or name the pool that is near enough.",
    )
