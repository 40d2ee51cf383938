"""Files of a simulated vCenter's datastores, and the bugchecks that ESXi's logs and vCenter's events tell of.

Not proven by it: that ESXi hands out the vmware.log and the memory files of a running machine, how fast, and
that a Windows guest of ESXi writes such lines: they are from Broadcom's articles.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from pyVmomi import vim
from vcsim import Vcsim
from vsphere_clones import post
from vsphere_lab import NAME, PATH, machine_of

from lab.capture import DumpRef, Vault, fetch
from lab.capture.datastore import DatastoreSource
from lab.machines import Witness
from lab.machines.vsphere import Session, Tasks, Vcenter, files, find
from lab.machines.vsphere.files import DatastoreFile, StoredFile, folder_of, listing
from lab.model import Bugcheck, ConfigurationError, InfrastructureError

DATA = random.Random(1).randbytes(3 << 20)
CRASH = """\
2026-11-22T10:00:00.000Z In(05) vmx - Log for VMware ESX pid=1 version=8.0.3 build=build-1
2026-11-22T10:20:30.100Z Wa(03) vcpu-1 - WinBSOD: Synthetic MSR[0x40000100] 0x20
2026-11-22T10:20:30.100Z Wa(03)+ vcpu-1 -
2026-11-22T10:20:30.101Z Wa(03) vcpu-1 - WinBSOD: Synthetic MSR[0x40000101] 0x0
2026-11-22T10:20:30.101Z Wa(03) vcpu-1 - WinBSOD: Synthetic MSR[0x40000102] 0xffff
2026-11-22T10:20:30.101Z Wa(03) vcpu-1 - WinBSOD: Synthetic MSR[0x40000103] 0x0
2026-11-22T10:20:30.101Z Wa(03) vcpu-1 - WinBSOD: Synthetic MSR[0x40000104] 0x1
"""
CRASHED = datetime(2026, 11, 22, 10, 20, 30, 100000, UTC)


@pytest.fixture
def vm(session: Session) -> Any:
    return find.machine(session, PATH)


@pytest.fixture
def folder(session: Session, vm: Any) -> Path:
    """The machine's own, on the disk behind the simulator."""
    url = session.read(lambda: vm.datastore[0].summary.url)
    return Path(url) / NAME


@pytest.fixture
def both(session: Session) -> Vcenter:
    return Vcenter(session, Tasks(session))


def stored(both: Vcenter, vm: Any, name: str) -> StoredFile:
    (found,) = listing(both, vm, folder_of(both, vm), name)
    return found


def test_files_are_listed(both: Vcenter, vm: Any, folder: Path) -> None:
    (folder / "a b&c%20ü.vmem").write_bytes(DATA)
    found = stored(both, vm, "a*.vmem")
    assert (found.name, found.length, found.datacenter) == ("a b&c%20ü.vmem", len(DATA), "/DC0")
    assert found.path == f"[LocalDS_0] {NAME}/a b&c%20ü.vmem"
    assert found.modified is not None and found.modified.tzinfo is not None
    assert DatastoreFile(both.session, found).read_at(0, 100) == DATA[:100]
    assert {each.name for each in listing(both, vm, folder_of(both, vm))} >= {"vmware.log", f"{NAME}.vmx"}
    with pytest.raises(ConfigurationError, match="no files on a datastore 'LocalDS_9'") as caught:
        listing(both, vm, "[LocalDS_9] x")
    assert caught.value.help == "Its datastores: LocalDS_0."
    with pytest.raises(InfrastructureError, match=r"refused the list of \[LocalDS_0\] nowhere"):
        listing(both, vm, "[LocalDS_0] nowhere")


def test_reads_by_position(both: Vcenter, vm: Any, folder: Path) -> None:
    (folder / "x.vmem").write_bytes(DATA)
    file = DatastoreFile(both.session, stored(both, vm, "x.vmem"))
    for offset, size in [(0, 1), (0, len(DATA)), (12345, 2 << 20), (len(DATA) - 5, 5), (len(DATA) - 5, 99)]:
        assert file.read_at(offset, size) == DATA[offset : offset + size]
    assert file.read_at(len(DATA), 1) == b"" and file.read_at(7, 0) == b""
    pieces = list(file.stream(1, len(DATA)))
    assert len(pieces) > 1 and b"".join(pieces) == DATA[1:]
    both.session.close()
    assert file.read_at(1, 4) == DATA[1:5]  # logged on again


def test_a_file_may_grow_and_must_not_shrink(both: Vcenter, vm: Any, folder: Path) -> None:
    path = folder / "x.vmem"
    path.write_bytes(DATA)
    file = DatastoreFile(both.session, stored(both, vm, "x.vmem"))
    path.write_bytes(DATA + b"more")
    assert file.read_at(len(DATA) - 2, 9) == DATA[-2:]
    for shorter in (DATA[:-1], DATA[:10]):
        path.write_bytes(shorter)
        with pytest.raises(InfrastructureError, match="is shorter than before: it was replaced"):
            file.read_at(100, 10)
    path.unlink()
    with pytest.raises(InfrastructureError, match=r"\[LocalDS_0\] .*/x\.vmem of .* is not there any more"):
        file.read_at(0, 10)


class Cutting:
    """A session whose answers end after some bytes, or break."""

    def __init__(self, session: Session, most: int, error: Exception | None = None) -> None:
        self.url = session.url
        self.asked: list[str] = []
        self._session, self._most, self._error = session, most, error

    def get(self, path: str, headers: dict[str, str]) -> Any:
        self.asked.append(headers["Range"])
        answer = self._session.get(path, headers)
        left, error, real = self._most, self._error, answer.read

        def read(size: int) -> bytes:
            nonlocal left
            if not left and error is not None:
                raise error
            data = real(min(size, left))
            left -= len(data)
            return data

        answer.read = read  # type: ignore[method-assign, assignment]
        return answer


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset"), http.client.IncompleteRead(b"")])
def test_a_transfer_goes_on_where_it_ended(
    both: Vcenter, vm: Any, folder: Path, error: Exception | None
) -> None:
    (folder / "x.vmem").write_bytes(DATA)
    cutting = Cutting(both.session, 1_000_000, error)
    file = DatastoreFile(cutting, stored(both, vm, "x.vmem"))  # type: ignore[arg-type]
    assert hashlib.sha256(file.read_at(0, len(DATA))).digest() == hashlib.sha256(DATA).digest()
    assert cutting.asked == [f"bytes={at}-{len(DATA) - 1}" for at in range(0, len(DATA), 1_000_000)]
    nothing = Cutting(both.session, 0, error)
    file = DatastoreFile(nothing, stored(both, vm, "x.vmem"))  # type: ignore[arg-type]
    with pytest.raises(InfrastructureError, match="cannot be read at 0x0"):
        file.read_at(0, 10)
    assert len(nothing.asked) == files.TRIES


def test_memory_files_come_into_the_vault(both: Vcenter, vm: Any, folder: Path, tmp_path: Path) -> None:
    (folder / "x.vmem").write_bytes(DATA)
    (folder / "x.vmss").write_bytes(b"state")
    source = DatastoreSource(both, vm)
    refs = source.dumps()
    assert [(ref.name, ref.length) for ref in refs] == [("x.vmem", len(DATA)), ("x.vmss", 5)]
    vault = Vault(tmp_path / "vault")
    sha = fetch(source, refs[0], vault)
    assert sha == hashlib.sha256(DATA).hexdigest() and vault.path(sha).read_bytes() == DATA
    (folder / "x.vmss").write_bytes(b"other")
    os.utime(folder / "x.vmss", (1, 1))
    with pytest.raises(InfrastructureError, match=r"x\.vmss is not on the datastore any more"):
        source.open(refs[1])
    with pytest.raises(InfrastructureError):
        source.another().open(DumpRef("y.vmem", 1, ""))


# The witness


def test_a_bugcheck_is_read_from_the_log(session: Session, folder: Path) -> None:
    machine = machine_of(session)
    assert isinstance(machine, Witness)
    (folder / "vmware.log").write_text(CRASH)
    (seen,) = machine.stops(CRASHED - timedelta(hours=1))
    assert (seen.at, seen.bugcheck) == (CRASHED, Bugcheck(0x20, (0, 0xFFFF, 0, 1)))
    assert seen.source == f"vmware.log of {PATH}"
    assert machine.stops(CRASHED + timedelta(seconds=1)) == ()


def test_logs_before_the_present_one_are_read_too(session: Session, folder: Path) -> None:
    (folder / "vmware-3.log").write_text(CRASH)
    later = CRASH.replace("T10:", "T11:").replace(" 0x20", " 0xd1")
    (folder / "vmware.log").write_text(later)
    old = folder / "vmware-1.log"
    old.write_text(CRASH.replace("T10:", "T08:"))
    os.utime(old, (1, 1))  # written to its end long before
    stops = machine_of(session).stops(datetime(2026, 11, 22, tzinfo=UTC))
    assert [stop.bugcheck.code for stop in stops] == [0x20, 0xD1]
    assert [stop.source.split()[0] for stop in stops] == ["vmware-3.log", "vmware.log"]


def test_of_a_long_log_the_end_is_read(
    session: Session, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.machines.vsphere.crashes.MOST_LOG", len(CRASH) + 40)
    (folder / "vmware.log").write_text(CRASH.replace("T10:", "T09:") * 50 + CRASH)
    stops = machine_of(session).stops(datetime(2026, 11, 22, tzinfo=UTC))
    assert [stop.at for stop in stops] == [CRASHED]


def test_a_crash_that_only_the_vcenter_saw_has_no_code(session: Session, vm: Any, folder: Path) -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    post(session, vim.event.VmGuestOSCrashedEvent(fullFormattedMessage="crashed"), vm)
    (seen,) = machine_of(session).stops(since)
    assert seen.bugcheck == Bugcheck(0) and seen.source == f"VmGuestOSCrashedEvent of {PATH}"
    assert machine_of(session, "DC0_H0_VM0").stops(since) == ()
    near = seen.at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    (folder / "vmware.log").write_text(
        CRASH.replace("2026-11-22T10:20:30.100Z", near).replace("2026-11-22T10:20:30.101Z", near)
    )
    (seen,) = machine_of(session).stops(since)  # the same stop
    assert seen.bugcheck.code == 0x20


def test_a_log_that_is_gone_or_strange_is_no_error(session: Session, folder: Path) -> None:
    (folder / "vmware.log").unlink()
    assert machine_of(session).stops(CRASHED) == ()
    (folder / "vmware.log").write_bytes(b"\xff\xfe\x00WinBSOD: Synthetic MSR[0x40000100] zz\n" * 3)
    assert machine_of(session).stops(CRASHED) == ()


def test_a_machine_without_a_vcenter_to_ask_says_so(vcenter: Vcsim, session: Session) -> None:
    machine = machine_of(session)
    machine.power_state()
    vcenter.kill()
    with pytest.raises(InfrastructureError, match="could not be reached"):
        machine.stops(CRASHED)
