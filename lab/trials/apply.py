"""Put a recipe's driver set and verifier plan on the host, and believe only what is read back."""

from __future__ import annotations

from collections.abc import Iterable

from lab.model import (
    Case,
    Driver,
    EntryKind,
    NotApplied,
    Origin,
    Recipe,
    StartType,
    TimedOut,
    wait_until,
)
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
        _settle(bench, case, recipe)
    return _running(guest.drivers())


def _settle(bench: Bench, case: Case, recipe: Recipe) -> None:
    """Wait until what is to run runs: services start for a while after a boot answers."""
    differs: NotApplied | None = None

    def as_planned() -> bool | None:
        nonlocal differs
        differs = problem(bench, case, recipe)
        if differs is not None and differs.final:
            raise differs
        return True if differs is None else None

    try:
        wait_until(
            as_planned,
            wait="settle",
            seconds=bench.host.timeouts.settle,
            clock=bench.clock,
            every=bench.host.timeouts.poll,
        )
    except TimedOut:
        assert differs is not None
        raise differs from None


def problem(bench: Bench, case: Case, recipe: Recipe) -> NotApplied | None:
    """How the running system differs from the recipe, or None when it is as planned."""
    running = _running(bench.guest.drivers())
    planned = _running(case.drivers) - recipe.disabled
    too_many = sorted(running & recipe.disabled)
    missing = sorted((planned - running) & _by_themselves(case.drivers))
    if too_many or missing:
        parts = [f"still running: {', '.join(too_many)}"] if too_many else []
        parts += [f"not running: {', '.join(missing)}"] if missing else []
        return NotApplied(
            f"the driver set of {bench.host.name} is not as planned after the restart ({'; '.join(parts)})",
            services=(*too_many, *missing),
            final=bool(too_many),
        )
    state = bench.guest.verifier()
    if state.active_flags != recipe.verifier.flags:
        return NotApplied(
            f"verifier runs with 0x{state.active_flags:X} on {bench.host.name}, "
            f"planned was 0x{recipe.verifier.flags:X}",
            final=True,
        )
    loaded = {d.image.casefold() for d in case.drivers if d.service in running}
    unverified = sorted(
        {d.casefold() for d in recipe.verifier.drivers}
        & loaded - {d.casefold() for d in state.active_drivers}
    )
    if unverified:
        return NotApplied(f"verifier does not check {', '.join(unverified)} on {bench.host.name}")
    return None


def _by_themselves(drivers: Iterable[Driver]) -> frozenset[str]:
    """Services that start at each boot; others are loaded by a device or a tool, or not at all this time."""
    return frozenset(d.service for d in drivers if d.start <= StartType.AUTO)


def _running(drivers: Iterable[Driver]) -> frozenset[str]:
    return frozenset(d.service for d in drivers if d.running and d.origin is not Origin.IN_BOX)
