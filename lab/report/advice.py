"""What the reader should do next, and what would settle a case that is not settled."""

from __future__ import annotations

from dataclasses import dataclass

from lab.model import Case, Crashed, Invalid, Verdict, VerdictKind
from lab.report import bugchecks, crash, drivers, words
from lab.report.drivers import DriverCard
from lab.report.untested import Untested, images


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
        case VerdictKind.DRIVER:
            return _against(case, cards)
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
        case _:
            return (
                *_free(untested),
                Action(
                    "Change nothing on this evidence alone",
                    "No driver is proven. Keep the server's dumps, and collect the next one.",
                ),
            )


def _against(case: Case, cards: tuple[DriverCard, ...]) -> tuple[Action, ...]:
    found = []
    for card in cards:
        what = card.name or card.image
        newer = f" than {card.version}" if card.version else ""
        vendor = card.company or "its vendor"
        text = f"Ask {vendor} for a version newer{newer}, or remove {card.image} until there is one."
        found.append(Action(f"Update or remove {what}", text))
        if card.pinned:
            found.append(Action(f"Do not simply switch {card.image} off", f"It is needed: {card.pinned}."))
    found += _send(case, cards)
    title = case.expected
    name = f"0x{title.code:X}" + (f"/0x{title.sub_code:X}" if title.sub_code else "")
    found.append(
        Action("Watch the server afterwards", f"The stop {name} must not come back under the usual load.")
    )
    return tuple(found)


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
    found: list[str] = []
    flags = 0
    for trial in case.trials:
        if not isinstance(trial.outcome, Invalid):
            flags |= trial.recipe.verifier.flags
    missing = missing_on_host(case)
    accused = tuple(drivers.image(case, s) for s in verdict.culprits)
    if untested:
        found.append(f"Trials without {_few(untested)}, on a host where that is safe.")
    match verdict.kind:
        case VerdictKind.DRIVER if not verdict.confirmed_by:
            found.append(
                f"A trial without {words.names(accused)} that stands, and one with it alone that crashes."
            )
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
            if accused:
                found.append(
                    f"More trials that tell {words.names(accused)} apart: on and off in different sets."
                )
            if bugchecks.about_apc(case.expected) and not flags & 0x10:
                found.append(
                    "A crash with I/O verification (0x10) on: it stops in the call that changes the count."
                )
            found += _no_dump_reasons(case)
    return tuple(found)


def _no_dump_reasons(case: Case) -> list[str]:
    lost = [t for t in case.trials if isinstance(t.outcome, Crashed) and not t.outcome.dump]
    reasons = []
    for trial in lost[:3]:
        assert isinstance(trial.outcome, Crashed)
        why = trial.outcome.no_dump_because or "the reason is not known"
        reasons.append(f"The dump that trial {trial.number} did not leave ({why}).")
    return reasons
