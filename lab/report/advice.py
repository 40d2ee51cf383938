"""What the reader should do next, and what would settle a case that is not settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from lab.model import Case, Crashed, Invalid, Verdict, VerdictKind
from lab.report import bugchecks, crash, culprits, drivers, words
from lab.report.drivers import DriverCard
from lab.report.untested import Untested, images

DECIDES = "what would decide it: "
"""How a reason of a verdict begins that says what the search would do next."""


@dataclass(frozen=True)
class Action:
    """Something for the reader to do: a few words in the imperative, and how."""

    title: str
    text: str
    code: str = ""  # a value to copy, such as a hash


def actions(
    case: Case, verdict: Verdict | None, cards: tuple[DriverCard, ...], untested: tuple[Untested, ...]
) -> tuple[Action, ...]:
    if verdict is None:
        return ()
    match verdict.kind:
        case VerdictKind.DRIVER | VerdictKind.EACH_OF:
            return _against(case, cards)
        case VerdictKind.PAIR | VerdictKind.TRIPLE:
            return _break_up(case, cards)
        case VerdictKind.ONE_OF:
            either = words.names([c.image for c in cards], "or")
            return (
                Action(
                    "Update each of them first", f"Look for versions newer than those installed of {either}."
                ),
                *_send(case, cards),
            )
        case VerdictKind.SYSTEM:
            return (
                *_free(untested),
                Action(
                    "Bring Windows up to date",
                    "Install the newest cumulative update and the firmware of the host.",
                ),
                Action("Test memory and processor", "A fault of the hardware can look like any bugcheck."),
                *_send(case, tuple(u.card for u in untested if u.named), windows=True),
            )
        case VerdictKind.NOT_REPRODUCIBLE | VerdictKind.UNDECIDED:
            return (
                *_free(untested),
                Action(
                    "Change nothing on this evidence alone",
                    "No driver is proven. Keep the server's dumps, and collect the next one.",
                ),
            )
        case _:
            assert_never(verdict.kind)


def _against(case: Case, cards: tuple[DriverCard, ...]) -> tuple[Action, ...]:
    """Each of the drivers has to go, or to be replaced."""
    found = []
    if case.verdict and case.verdict.kind is VerdictKind.EACH_OF:
        why = "Each of them crashes the server by itself: with one left as it is, nothing is won."
        found.append(Action(f"Deal with {'both' if len(cards) == 2 else 'all of them'}", why))
    for card in cards:
        found.append(Action(f"Update or remove {card.name or card.image}", _newer(card)))
        found += _pinned(card)
    return (*found, *_send(case, cards), _watch(case))


def _break_up(case: Case, cards: tuple[DriverCard, ...]) -> tuple[Action, ...]:
    """It takes all of the drivers: one of them fewer is enough."""
    either = words.names([c.image for c in cards], "or")
    one = "the one that you can do without more easily" if len(cards) == 2 else "the one you need least"
    found = [
        Action(
            f"Remove {either}, until there is a newer version",
            f"One of them is enough, for the crash takes {_all(cards)}: {one}.",
        )
    ]
    for card in cards:
        found.append(Action(f"Look for an update of {card.name or card.image}", _newer(card, removal=False)))
        found += _pinned(card)
    return (*found, *_send(case, cards), _watch(case))


def _all(cards: tuple[DriverCard, ...]) -> str:
    return "both" if len(cards) == 2 else f"all {len(cards)}"


def _newer(card: DriverCard, *, removal: bool = True) -> str:
    newer = f" than {card.version}" if card.version else ""
    rest = f", or remove {card.image} until there is one" if removal else ""
    return f"Ask {card.company or 'its vendor'} for a version newer{newer}{rest}."


def _pinned(card: DriverCard) -> tuple[Action, ...]:
    if not card.pinned:
        return ()
    return (Action(f"Do not simply switch {card.image} off", f"It is needed: {card.pinned}."),)


def _watch(case: Case) -> Action:
    stop = case.expected
    name = f"0x{stop.code:X}" + (f"/0x{stop.sub_code:X}" if stop.sub_code else "")
    return Action("Watch the server afterwards", f"The stop {name} must not come back under the usual load.")


def _free(untested: tuple[Untested, ...]) -> tuple[Action, ...]:
    """How to put the drivers to the test that no trial was ever without."""
    found = []
    pinned = tuple(u for u in untested if u.card.pinned)
    rest = tuple(u for u in untested if not u.card.pinned)
    if pinned:
        one = len(pinned) == 1
        how = (
            f"On a lab host that starts and can be reached without {'it' if one else 'them'}, lift the "
            f"{'pin' if one else 'pins'} (an empty reason under “pinned” in the inventory) and go on there. "
            "Or swap the adapter (NIC, HBA) for one with a driver of Windows."
        )
        found.append(Action(f"Put {_few(pinned)} to the test", how))
    if rest:
        they = "it was" if len(rest) == 1 else "they were"
        found.append(
            Action(f"Remove {_few(rest)} from a lab host", f"Go on without: {they} on in every trial so far.")
        )
    return tuple(found)


def _few(untested: tuple[Untested, ...]) -> str:
    """Names of up to three; of more those that evidence names, or their number."""
    if len(untested) <= 3:
        return words.names(images(untested))
    named = tuple(u for u in untested if u.named)
    if 0 < len(named) <= 3:
        return f"{words.names(images(named))} first, then the others never switched off"
    return f"the {len(untested)} drivers that were never switched off"


def _send(case: Case, cards: tuple[DriverCard, ...], *, windows: bool = False) -> tuple[Action, ...]:
    """`windows`: to Microsoft too, for Windows itself may be the cause."""
    vendors = sorted({c.company for c in cards if c.company})
    to = words.names([*vendors, *(["Microsoft's support"] if windows else [])]) or "the vendor"
    best = crash.best_dump(case)
    if not best:
        return (Action(f"Send this page to {to}", "There is no dump to go with it."),)
    text = (
        "The dump holds kernel memory of a server: send it by a way that keeps it private. Its SHA\u2011256:"
    )
    return (Action(f"Send this page and the dump to {to}", text, best),)


def missing_on_host(case: Case) -> tuple[str, ...]:
    """Third-party images of the customer's dump that the lab host does not have."""
    customer = case.crashes.get(case.customer)
    if customer is None or not case.drivers:
        return ()
    have = {d.image.casefold() for d in case.drivers}
    return tuple(m.name for m in customer.third_party if m.name.casefold() not in have)


def decide(case: Case, verdict: Verdict | None, untested: tuple[Untested, ...]) -> tuple[str, ...]:
    """What would settle a case that is not settled."""
    if verdict is None:
        return ("The next trial. This page shows what is known so far.",)
    found = [words.sentence(r.removeprefix(DECIDES)) for r in verdict.because if r.startswith(DECIDES)]
    flags = 0
    for trial in case.trials:
        if not isinstance(trial.outcome, Invalid):
            flags |= trial.recipe.verifier.flags
    missing = missing_on_host(case)
    accused = tuple(drivers.image(case, s) for s in verdict.culprits)
    if untested:
        found.append(f"Trials without {_few(untested)}, on a host where that is safe.")
    match verdict.kind:
        case VerdictKind.DRIVER | VerdictKind.PAIR | VerdictKind.TRIPLE | VerdictKind.EACH_OF:
            if not verdict.confirmed_by:
                found.append(_confirmation(verdict.kind, accused))
        case VerdictKind.ONE_OF:
            found.append(f"A trial in which only one of {words.names(accused)} is on.")
            for service in verdict.culprits:
                driver = drivers.find(case, service)
                if driver and driver.pinned:
                    found.append(
                        f"A host where {driver.image} can be switched off. Here it cannot: {driver.pinned}."
                    )
        case VerdictKind.SYSTEM:
            found.append("The same trial on other hardware: a crash there rules this host out as the cause.")
        case VerdictKind.NOT_REPRODUCIBLE:
            if missing:
                were = "it was" if len(missing) == 1 else "they were"
                found.append(
                    f"A lab host that also has {words.names(missing)}: {were} loaded when the customer's "
                    "server stopped."
                )
            found.append(
                "More load, or load more like the customer's: clients, files and hours of the real server."
            )
            found.append(
                "A new dump from the customer's server with Driver Verifier's Miscellaneous checks on."
            )
        case VerdictKind.UNDECIDED:
            if accused and verdict.together:
                found.append(f"More trials with {words.names(accused)} on together, and each of them off.")
            elif accused:
                found.append(
                    f"More trials that tell {words.names(accused)} apart: on and off in different sets."
                )
            if bugchecks.about_apc(case.expected) and not flags & 0x10:
                found.append(
                    "A crash with I/O verification (0x10) on: it stops in the call that changes the count."
                )
            found += _no_dump_reasons(case)
        case _:
            assert_never(verdict.kind)
    return tuple(found)


def _confirmation(kind: VerdictKind, accused: tuple[str, ...]) -> str:
    """The trials that would confirm a verdict that none confirms."""
    them, each = words.names(accused), words.names(accused, "or")
    if kind is VerdictKind.EACH_OF:
        return f"A trial without {them} that stands, and for each of them one with it alone that crashes."
    if kind in culprits.TOGETHER:
        return f"A trial with {them} alone that crashes, and trials that stand, each without {each}."
    it = "it" if len(accused) == 1 else "them"
    return f"A trial without {them} that stands, and one with {it} alone that crashes."


def _no_dump_reasons(case: Case) -> list[str]:
    lost = [t for t in case.trials if isinstance(t.outcome, Crashed) and not t.outcome.dump]
    reasons = []
    for trial in lost[:3]:
        assert isinstance(trial.outcome, Crashed)
        why = trial.outcome.no_dump_because or "the reason is not known"
        reasons.append(f"The dump that trial {trial.number} did not leave ({why}).")
    return reasons
