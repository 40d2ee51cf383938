"""Before the first trial: what is there, is it fit, and how to put it back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lab.analysis import triage
from lab.capture import Vault
from lab.journal import Journal
from lab.model import (
    Case,
    EntryKind,
    GuestError,
    LoadPlan,
    PowerState,
    Refused,
    Signature,
)
from lab.symbols import symbol_store
from lab.trials.bench import Bench
from lab.trials.target import within_caps
from lab.trials.undo import remember_as_found


def open_case(
    journal: Journal,
    load: LoadPlan,
    *,
    dump: Path | None,
    expected: Signature | None,
    vault: Path,
    symbols: tuple[str | Path, ...] = (),
) -> Case:
    """Open a case from the customer's dump, or from a signature alone.

    Raises DumpError when the dump cannot be read, and Refused when it is of a stop that a lab causes
    itself (0x80, 0xE2): there is nothing to look for.
    """
    if dump is None:
        assert expected is not None
        case = journal.new_case(f"STOP 0x{expected.code:X}", expected, load, customer=None, customer_sha="")
        journal.note(case.id, EntryKind.FINDING, f"looking for STOP 0x{expected.code:X}, without a dump")
        return case
    seen = triage(dump, symbol_store(symbols))
    if seen.bugcheck.ours:
        raise Refused(
            f"{dump} is of a stop caused on purpose: {seen.bugcheck.title}",
            help="Give the dump of the crash to look for.",
        )
    sha = Vault(vault).add_file(dump)
    case = journal.new_case(seen.bugcheck.title, seen.signature, load, customer=seen, customer_sha=sha)
    thread = seen.thread
    journal.note(
        case.id,
        EntryKind.FINDING,
        f"the customer's dump: {seen.bugcheck.title}, build {seen.dump.build}"
        + (
            f", a thread of {thread.start} with an APC disable count of {thread.kernel_apc_disable}"
            if thread and thread.kernel_apc_disable
            else ""
        ),
    )
    return journal.case(case.id)


def prepare(bench: Bench) -> None:
    """As `examine`, and the drivers found become those of the case: it is worked on with this host alone."""
    examine(bench)
    bench.journal.set_drivers(bench.case, bench.found)


def examine(bench: Bench) -> None:
    """Look at the host, write down how to put it back, and make sure it can write a dump.

    The bench knows the host's drivers and build afterwards. Raises InfrastructureError or TimedOut when it
    cannot be reached, GuestError when it cannot write dumps, and Refused when the case's load is more than
    the host may get.
    """
    within_caps(bench.host, bench.journal.case(bench.case).load)
    if bench.machine.power_state() is PowerState.OFF:
        bench.tell(EntryKind.ACTION, f"{bench.host.name} is off; powering on")
        bench.machine.power_on()
    boot = bench.guest.wait_until_reachable()
    drivers = bench.guest.drivers()
    bench.found, bench.build = drivers, boot.build
    third = [d for d in drivers if d.in_question]
    pinned = [d for d in third if d.pinned]
    bench.tell(
        EntryKind.FINDING,
        f"{bench.host.name}: {boot.computer}, {boot.os_name} (build {boot.build}), "
        f"{len(third)} third-party drivers running, {len(pinned)} of them pinned",
    )
    _compare_with_customer(bench, boot.build, {d.image.casefold() for d in drivers})
    found = bench.guest.crash_control()
    remember_as_found(bench, drivers, bench.guest.verifier(), found)
    if found.dump_initialization_failed:
        raise GuestError(
            f"{bench.host.name} cannot write a dump: event 46, crash dump initialization failed",
            help="Check the page file and the storage driver of the boot disk.",
        )
    if found.crash_dump_enabled not in (1, 2, 7) or not found.auto_reboot or not found.overwrite:
        bench.tell(EntryKind.ACTION, "setting a kernel dump with automatic restart")
        kind = found.crash_dump_enabled if found.crash_dump_enabled in (1, 2, 7) else 2
        bench.guest.set_crash_control(
            replace(found, crash_dump_enabled=kind, auto_reboot=True, overwrite=True, always_keep=True)
        )
        bench.guest.restart("bugcheck-lab: crash control")
        bench.guest.wait_for_new_boot(boot)


def _compare_with_customer(bench: Bench, build: int, images: set[str]) -> None:
    """Say what of the customer's machine the lab host lacks: that may decide reproduction."""
    case = bench.journal.case(bench.case)
    customer = case.crashes.get(case.customer)
    if customer is None:
        return
    if customer.dump.build != build:
        bench.tell(
            EntryKind.WARNING, f"the customer's build is {customer.dump.build}, the lab host's is {build}"
        )
    missing = sorted({m.name for m in customer.third_party if m.name.casefold() not in images})
    if missing:
        shown = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
        bench.tell(EntryKind.WARNING, f"the customer has drivers that the lab host lacks: {shown}")
