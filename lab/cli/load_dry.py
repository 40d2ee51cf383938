"""What `lab load --dry-run` prints: everything that a load would do, found out without any connection."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from lab.inventory import Host
from lab.model import LoadPlan
from lab.report import words
from lab.report.facts import Fact
from lab.report.load_run import verification
from lab.smb.load.disturb import BREAK_NAME
from lab.smb.load.fileset import FileSet, file_set
from lab.smb.load.run import QUEUES_EVERY
from lab.smb.profiles import Disturbance, Profile, Schedule, Slot, Work, shaped
from lab.smb.target import Security

PHASES_SHOWN = 24

_REPEATED = {
    Work.READS: "READs of one file that stays open",
    Work.FILES: "CREATE, READ and CLOSE in one compound",
    Work.SESSIONS: "connect, log on, one READ, log off",
}


@dataclass(frozen=True)
class Rehearsal:
    """A load as it would be. `phases` are (start, seconds, name, READs in flight)."""

    facts: tuple[Fact, ...]
    phases: tuple[tuple[float, float, str, str], ...]
    phases_left: int
    ends: float


def rehearse(host: Host, security: Security, plan: LoadPlan, profile: Profile, *, queues: bool) -> Rehearsal:
    """What `plan`, already within the caps, would do to `host`. No name is looked up, no secret is read.

    Raises ConfigurationError for a plan that its profile cannot carry out.
    """
    mine = shaped(profile, plan)
    schedule = Schedule(mine, plan.seconds)
    return Rehearsal(
        tuple(fact for fact in _facts(host, security, plan, mine, queues) if fact is not None),
        tuple(_phase(slot) for slot in islice(schedule, PHASES_SHOWN)),
        max(0, len(schedule) - PHASES_SHOWN),
        plan.seconds,
    )


def as_text(rehearsal: Rehearsal) -> str:
    width = max(len(fact.label) for fact in rehearsal.facts)
    lines = [f"  {fact.label:<{width}}  {words.visible(fact.value)}" for fact in rehearsal.facts]
    lines += ["  Phases"]
    lines += [
        f"    {start:9.2f} s  {name:<10}  {seconds:7.2f} s  {in_flight}"
        for start, seconds, name, in_flight in rehearsal.phases
    ]
    if rehearsal.phases_left:
        lines.append(f"    and {words.count(rehearsal.phases_left, 'phase')} more, in the same order")
    return "\n".join([*lines, f"    {rehearsal.ends:9.2f} s  the end"]) + "\n"


def _facts(
    host: Host, security: Security, plan: LoadPlan, profile: Profile, queues: bool
) -> list[Fact | None]:
    smb, files = host.smb, file_set(profile)
    rate = (
        "as many a second as the server answers" if plan.rate is None else f"at most {plan.rate:g} a second"
    )
    limit = (
        "no limit of rate" if smb.most_reads_per_second is None else f"{smb.most_reads_per_second:g} READ/s"
    )
    shell = host.guest.shell
    return [
        Fact(
            "Target", f"{host.name} at {host.address}:{smb.port}, share {smb.data_share}, as {host.smb_user}"
        ),
        Fact("Transport", _offers(security)),
        Fact("Profile", f"{profile.name}: {profile.summary}"),
        Fact("Exercises", profile.exercises),
        Fact("Writes", f"{_files(smb.data_share, files)}; what is there whole is left as it is"),
        Fact("Writes", f"{smb.data_share}\\{BREAK_NAME}, empty, for oplock breaks; removed at the end")
        if any(what is Disturbance.BREAK for what, _ in profile.disturbances)
        else None,
        Fact("Repeats", f"{_REPEATED[profile.work]}, {_reads(profile)}"),
        Fact("Sends", f"{rate}, at most {profile.most:,} in flight over {plan.connections} connections"),
        *(Fact("Beside", f"{what} every {every:g} s") for what, every in profile.disturbances),
        Fact("Verifies", verification(plan.verify_every)),
        Fact(
            "Asks", f"the server's queues every {QUEUES_EVERY:g} s, by {shell.kind} on port {shell.tcp_port}"
        )
        if queues
        else None,
        Fact("Lasts", f"{plan.seconds:g} s, less when the target dies or on Ctrl-C"),
        Fact("Seed", str(plan.seed)),
        Fact(
            "Caps",
            f"{smb.most_connections} connections, {smb.most_in_flight:,} in flight, {limit}, "
            f"{words.seconds(smb.most_seconds)} (of this host)",
        ),
        Fact(
            "Afterwards", f"files are closed, sessions logged off, connections ended; {_left(profile, plan)}"
        ),
    ]


def _left(profile: Profile, plan: LoadPlan) -> str:
    if profile.work is Work.FILES:
        return "the files and their folder are removed"
    return "the file stays for the next load" if plan.keep_files else "the file is removed"


def _offers(security: Security) -> str:
    names = {0x0202: "2.0.2", 0x0210: "2.1", 0x0300: "3.0", 0x0302: "3.0.2", 0x0311: "3.1.1"}
    dialects = ", ".join(names.get(each, f"{each:#06x}") for each in security.dialects)
    return (
        f"offers SMB {dialects}; signing {security.signing}, encryption {security.encryption}, "
        f"log-on by {security.authentication}"
    )


def _files(share: str, files: FileSet) -> str:
    if len(files.names) == 1:
        return f"{share}\\{files.names[0]}, {words.size(files.length)}"
    return (
        f"{share}\\{files.names[0]} to {files.names[-1].rpartition(chr(92))[2]}, {len(files.names)} files of "
        f"{words.size(files.length)}, {words.size(files.size)} in all"
    )


def _reads(profile: Profile) -> str:
    how = "past the server's cache where the dialect can" if profile.unbuffered else "from the server's cache"
    together = f", {profile.compound} in one message" if profile.compound > 1 else ""
    return f"{words.size(profile.size)} each{together}, {how}"


def _phase(slot: Slot) -> tuple[float, float, str, str]:
    phase = slot.phase
    if phase.idle:
        wanted = "nothing"
    elif phase.rises_from is None:
        wanted = f"{phase.in_flight:,} in flight"
    else:
        wanted = f"{phase.rises_from:,} to {phase.in_flight:,} in flight"
    return (round(slot.start, 3), round(slot.end - slot.start, 3), phase.name, wanted)
