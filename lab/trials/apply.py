"""Put a recipe's driver set and verifier plan on the host, and believe only what is read back."""

from __future__ import annotations

from collections.abc import Iterable

from lab.model import Case, Driver, EntryKind, NotApplied, Origin, Recipe
from lab.trials.bench import Bench
from lab.windows import surgery


def apply(bench: Bench, case: Case, recipe: Recipe) -> frozenset[str]:
    """Make the host run the recipe's drivers and verifier; restart only if something differs.

    Returns the third-party services that run afterwards. Raises NotApplied, naming the services that
    are not as planned, when the read-back after the restart differs from the plan.
    """
    guest = bench.guest
    boot = guest.wait_until_reachable()
    changes, _ = surgery.plan(guest.drivers(), recipe.disabled, as_found=case.drivers)
    if changes:
        off = ", ".join(sorted(recipe.disabled)) or "none"
        bench.tell(EntryKind.ACTION, f"drivers off: {off}")
        guest.set_drivers(changes)
    verifier = guest.verifier()
    if verifier.pending != recipe.verifier:
        flags = recipe.verifier.flags
        bench.tell(
            EntryKind.ACTION,
            "verifier off"
            if recipe.verifier.off
            else f"verifier 0x{flags:X} for {len(recipe.verifier.drivers)} drivers",
        )
        guest.set_verifier(recipe.verifier)
    if problem(bench, case, recipe):
        bench.tell(EntryKind.ACTION, "restarting")
        guest.restart(f"bugcheck-lab: case {bench.case}")
        guest.wait_for_new_boot(boot)
        differs = problem(bench, case, recipe)
        if differs is not None:
            raise differs
    return _running(guest.drivers())


def problem(bench: Bench, case: Case, recipe: Recipe) -> NotApplied | None:
    """How the running system differs from the recipe, or None when it is as planned."""
    running = _running(bench.guest.drivers())
    planned = _running(case.drivers) - recipe.disabled
    too_many, missing = sorted(running - planned), sorted(planned - running)
    if too_many or missing:
        parts = [f"still running: {', '.join(too_many)}"] if too_many else []
        parts += [f"not running: {', '.join(missing)}"] if missing else []
        return NotApplied(
            f"the driver set of {bench.host.name} is not as planned after the restart ({'; '.join(parts)})",
            services=(*too_many, *missing),
        )
    state = bench.guest.verifier()
    if state.active_flags != recipe.verifier.flags:
        return NotApplied(
            f"verifier runs with 0x{state.active_flags:X} on {bench.host.name}, "
            f"planned was 0x{recipe.verifier.flags:X}"
        )
    disabled_images = {d.image.casefold() for d in case.drivers if d.service in recipe.disabled}
    unverified = sorted(
        {d.casefold() for d in recipe.verifier.drivers}
        - {d.casefold() for d in state.active_drivers}
        - disabled_images
    )
    if unverified:
        return NotApplied(f"verifier does not check {', '.join(unverified)} on {bench.host.name}")
    return None


def _running(drivers: Iterable[Driver]) -> frozenset[str]:
    return frozenset(d.service for d in drivers if d.running and d.origin is not Origin.IN_BOX)
