"""Put a recipe's driver set and verifier plan on the host, and believe only what is read back."""

from __future__ import annotations

from collections.abc import Iterable

from lab.model import (
    Case,
    Driver,
    EntryKind,
    NotApplied,
    Recipe,
    StartType,
    TimedOut,
    wait_until,
)
from lab.trials.bench import Bench
from lab.windows import surgery


class DidNotBoot(TimedOut):
    """The host did not come back after drivers were switched off."""

    def __init__(self, error: TimedOut) -> None:
        super().__init__(error.wait, error.seconds, error.last_seen, help=error.help)


def apply(bench: Bench, case: Case, recipe: Recipe) -> frozenset[str]:
    """Make the host run the recipe's drivers and verifier, in a boot that was not under load yet.

    Restarts only where something differs or this boot was loaded: where it is decided at boot whether a
    host crashes, a second load in the same boot would say nothing new, and be counted as if it did.

    Returns the third-party services that run afterwards. Raises NotApplied, naming the services that
    are not as planned, when the read-back after the restart differs from the plan.
    """
    guest = bench.guest
    boot = guest.wait_until_reachable()
    now = guest.drivers()
    changes, _ = surgery.plan(now, recipe.disabled, as_found=bench.found or case.drivers)
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
    used = boot.identity == bench.loaded
    if not used and problem(bench, case, recipe, _running(now)) is None:
        return _running(now)
    same = used and not changes and verifier.pending == recipe.verifier
    bench.tell(EntryKind.ACTION, "restarting: this boot was under load" if same else "restarting")
    guest.restart(f"bugcheck-lab: case {bench.case}")
    try:
        guest.wait_for_new_boot(boot)
    except TimedOut as error:
        if recipe.disabled:
            raise DidNotBoot(error) from error
        raise
    return _settled(bench, case, recipe)


def _settled(bench: Bench, case: Case, recipe: Recipe) -> frozenset[str]:
    """What runs once all that is to run does: services start for a while after a boot answers."""
    differs: NotApplied | None = None

    def as_planned() -> frozenset[str] | None:
        nonlocal differs
        running = _running(bench.guest.drivers())
        differs = problem(bench, case, recipe, running)
        if differs is not None and differs.final:
            raise differs
        return running if differs is None else None

    try:
        return wait_until(
            as_planned,
            wait="settle",
            seconds=bench.host.timeouts.settle,
            clock=bench.clock,
            every=bench.host.timeouts.poll,
        )
    except TimedOut:
        assert differs is not None
        raise differs from None


def problem(bench: Bench, case: Case, recipe: Recipe, running: frozenset[str]) -> NotApplied | None:
    """How the system, with these third-party services running, differs from the recipe; None: it does not."""
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
    return frozenset(d.service for d in drivers if d.in_question)
