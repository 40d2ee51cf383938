"""Is a host fit for work? Every thing that a trial will need, looked at one by one, changing nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from lab.inventory import Host
from lab.model import Boot, Clock, CrashControl, LabError, PowerState
from lab.windows import open_guest

GIB = 1 << 30
MOST_KERNEL_DUMP = 32 * GIB
"""Windows sizes the page file for an automatic dump up to this (or the memory, if less)."""

DUMP_KINDS = {0: "none", 1: "complete", 2: "kernel", 3: "small", 7: "automatic"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `help` says what to do when it is not ok."""

    name: str
    ok: bool
    detail: str
    help: str = ""


class Powered(Protocol):
    """The part of a machine that a check needs."""

    def power_state(self) -> PowerState: ...


Meddlers = Callable[[Host], Sequence[str] | None]


def check_host(
    host: Host,
    open_machine: Callable[[Host], Powered] | None = None,
    open_share: Callable[[Host, str], None] | None = None,
    open_dumps: Callable[[Host], None] | None = None,
    *,
    meddlers: Meddlers | None = None,
    clock: Clock | None = None,
) -> list[Check]:
    """Look at a host. `open_machine` opens its power control (`lab.machines.open_machine`).

    `open_share` logs on over SMB, opens the share of that name and closes it again; what it raises is a
    LabError. `open_dumps` does so with a host whose dumps are fetched over SFTP, and lists them. `meddlers`
    gives a sentence on each thing that would reset the host when it crashes, or None when its machine does
    not know; it is asked when the power control answers. Without one of these, what it would look at is left
    out.

    Never raises a LabError: what goes wrong is a check that is not ok.
    """
    found = [_expendable(host)]
    if open_machine is not None:
        found += _machine(host, open_machine, meddlers)
    shell = host.guest.shell
    port = _port(host, f"{shell.kind} port", shell.tcp_port)
    smb_port, secret = _port(host, "smb port", host.smb.port), _secret(host)
    found += [port, smb_port, secret]
    if open_share is not None and smb_port.ok and secret.ok:
        found.append(_share(host, "smb data share", host.smb.data_share, open_share))
        if host.dumps == "share":
            found.append(_share(host, "smb admin share", host.smb.admin_share, open_share))
    if open_dumps is not None and port.ok and host.dumps == "sftp":
        found.append(_dumps(host, open_dumps))
    found += _guest(host, clock) if port.ok else []
    return found


def _expendable(host: Host) -> Check:
    if host.expendable:
        return Check("expendable", True, "may be crashed and changed")
    return Check(
        "expendable",
        False,
        "not marked 'expendable: true'",
        "Mark it so only if it may be crashed at any time.",
    )


def _machine(
    host: Host, open_machine: Callable[[Host], Powered], meddlers: Meddlers | None
) -> Iterator[Check]:
    name = f"machine ({host.machine.kind})"
    try:
        state = open_machine(host).power_state()
    except LabError as error:
        yield _failed(name, error)
        return
    off = state is PowerState.OFF
    yield Check(name, not off, f"power is {state}", "Power it on." if off else "")
    if meddlers is not None:
        yield from _left_alone(host, meddlers)


def _left_alone(host: Host, meddlers: Meddlers) -> Iterator[Check]:
    """Whether a crashed guest has the time to write its dump."""
    name = "left alone when it crashes"
    try:
        found = meddlers(host)
    except LabError as error:
        yield _failed(name, error)
        return
    if found:
        yield Check(name, False, "; ".join(found), "A reset while a dump is written spoils it: stop that.")
    elif found is not None:
        yield Check(name, True, "nothing known would reset it")


def _port(host: Host, name: str, port: int) -> Check:
    where = f"{host.address}:{port}"
    try:
        socket.create_connection((host.address, port), timeout=host.timeouts.connect).close()
    except TimeoutError:
        why = f"no answer within {host.timeouts.connect:g} s"
    except OSError as error:
        why = error.strerror or str(error)
    else:
        return Check(name, True, f"{where} accepts connections")
    return Check(
        name, False, f"{where}: {why}", "Check address and port, the guest's service and its firewall."
    )


def _secret(host: Host) -> Check:
    try:
        host.smb_password.reveal()
    except LabError as error:
        return _failed("smb password", error)
    return Check("smb password", True, f"found ({host.smb_password.reference})")


def _share(host: Host, name: str, share: str, open_share: Callable[[Host, str], None]) -> Check:
    try:
        open_share(host, share)
    except LabError as error:
        return _failed(name, error)
    return Check(name, True, f"{share} opened as {host.smb_user}")


def _dumps(host: Host, open_dumps: Callable[[Host], None]) -> Check:
    try:
        open_dumps(host)
    except LabError as error:
        return _failed("dumps over sftp", error)
    return Check("dumps over sftp", True, f"{host.dump_folder} opened as {host.guest.shell.user}")


def _guest(host: Host, clock: Clock | None) -> list[Check]:
    try:
        guest = open_guest(host, clock)
    except LabError as error:
        return [_failed("shell", error)]
    with guest:
        try:
            boot = guest.boot()
        except LabError as error:
            return [_failed("shell", error)]
        found = [
            Check("shell", True, f"logged on as {host.guest.shell.user}"),
            Check(
                "guest",
                True,
                f"{boot.computer}: {boot.os_name}, build {boot.build}, {boot.processors} processors, "
                f"{boot.memory_bytes / GIB:.0f} GiB, up since {boot.started}",
            ),
        ]
        try:
            control = guest.crash_control()
        except LabError as error:
            return [*found, _failed("crash dump", error)]
    return [*found, _dump(control), _space(control, boot)]


def _dump(control: CrashControl) -> Check:
    """Whether a stop would leave a dump that can be analysed, and the host come back by itself."""
    kind = DUMP_KINDS.get(control.crash_dump_enabled, "unknown")
    detail = f"{kind} dump to {control.dump_file}"
    if control.dump_initialization_failed:
        return Check(
            "crash dump",
            False,
            f"{detail}, but Windows could not prepare for it (event 46 of volmgr)",
            "Check the page file and the storage driver of the boot disk.",
        )
    wrong = []
    if control.crash_dump_enabled not in (1, 2, 7):
        wrong.append(f"the dump kind is '{kind}'")
    if not control.auto_reboot:
        wrong.append("it does not restart by itself")
    if not control.overwrite:
        wrong.append("an old dump is not overwritten")
    if wrong:
        return Check(
            "crash dump",
            False,
            f"{detail}: {', '.join(wrong)}",
            "A case sets this right, and back when it ends.",
        )
    return Check("crash dump", True, f"{detail}, then a restart")


def _space(control: CrashControl, boot: Boot) -> Check:
    """Room for the dump file: all of the memory for a complete dump, else at most 32 GiB."""
    needed = boot.memory_bytes
    if control.crash_dump_enabled != 1:
        needed = min(needed, MOST_KERNEL_DUMP)
    free = control.system_drive_free_bytes
    detail = f"{free / GIB:.1f} GiB free on the system drive, up to {needed / GIB:.1f} GiB needed for a dump"
    return Check(
        "disk space", free >= needed, detail, "" if free >= needed else "Free some space in the guest."
    )


def _failed(name: str, error: LabError) -> Check:
    return Check(name, False, error.message, error.help)
