"""A dump is analysed where it lies, on a real Samba server: same findings, a small part of its bytes."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from smbd import Smbd

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.crashes import dispatch_crash
from benchmarks.repack import BITMAP_KERNEL, read_pages, stretched, write_bitmap
from lab.analysis import triage
from lab.capture import Fetch, ShareSource, Vault
from lab.capture.source import RandomAccessFile
from lab.dumps import DefectiveDump, RemoteSource, open_dump
from lab.model import InfrastructureError, Triage
from lab.symbols import symbol_store
from lab.twin.crash import CrashState, Image, Instance, Stop
from lab.twin.memory import write_dump, write_symbols

SYSTEM = ("ntoskrnl.exe", "hal.dll", "fltmgr.sys", "Ntfs.sys", "srv2.sys")
THIRD = ("BadDriver.sys", "Other.sys")
IMAGES = tuple(Image(name, name in THIRD) for name in SYSTEM + THIRD)
FILLER = 24_000  # pages that nobody should read: 94 MiB


class Counted:
    """A remote file that counts what is asked of it."""

    def __init__(self, file: RandomAccessFile) -> None:
        self._file = file
        self.requests = self.bytes = 0

    def read_at(self, offset: int, size: int) -> bytes:
        data = self._file.read_at(offset, size)
        self.requests += 1
        self.bytes += len(data)
        return data

    def close(self) -> None:
        self._file.close()


def _placeless(found: Triage) -> Triage:
    return replace(found, dump=replace(found.dump, path=""))


@pytest.mark.parametrize("build", [7601, 20348])  # a summary dump and a bitmap dump
def test_triage_over_the_network_equals_triage_of_a_copy(smbd: Smbd, tmp_path: Path, build: int) -> None:
    state = CrashState(
        build,
        3,
        Stop.DISPATCH_CHANGED_APC,
        IMAGES,
        7,
        dispatch_owner="fltmgr.sys",
        instances=(Instance("BadDriver.sys Instance", "189600", "BadDriver.sys"),),
        verifier_level=0x810,
        verified=("BadDriver.sys", "Other.sys"),
    )
    path = smbd.admin / "MEMORY.DMP"
    write_dump(state, path, filler_pages=FILLER)
    write_symbols(build, tmp_path)
    local = triage(path, symbol_store([tmp_path]))
    assert [suspect.image for suspect in local.suspects] == ["BadDriver.sys"]
    with ShareSource(smbd.target()) as share:
        (ref,) = share.dumps()
        counted = Counted(share.open(ref))
        remote = triage(RemoteSource(counted, ref.length), symbol_store([tmp_path]))
        assert _placeless(remote) == _placeless(local)
        assert ref.length > FILLER * 4096
        assert counted.bytes < 0.015 * ref.length, f"{counted.bytes} of {ref.length} bytes were read"
        assert counted.requests < 100


def test_of_a_dump_of_four_gib_hardly_anything_is_read(smbd: Smbd, tmp_path: Path) -> None:
    """As on a server with 16 GiB of memory: a bitmap of half a MiB, a million pages behind it."""
    small = tmp_path / "small.dmp"
    write_dump(dispatch_crash(20348), small, filler_pages=0)
    pages = stretched(read_pages(small), 16 << 30)
    write_bitmap(pages, smbd.admin / "MEMORY.DMP", BITMAP_KERNEL, lambda f: f * 2654435761 >> 30 & 3 == 0)
    with ShareSource(smbd.target()) as share:
        (ref,) = share.dumps()
        assert ref.length > 4 << 30
        with Fetch(share, ref, Vault(tmp_path / "vault")) as fetch:
            counted = Counted(fetch.in_place())
            found = triage(RemoteSource(counted, ref.length), name=ref.name)
            assert [suspect.image for suspect in found.suspects][:1] == ["BadDriver.sys"]
            assert counted.bytes == fetch.received
        assert counted.bytes < 0.001 * ref.length, f"{counted.bytes} bytes were read"
        assert counted.requests < 60
        with Fetch(share, ref, Vault(tmp_path / "vault")) as fetch:
            file = fetch.in_place()
            assert triage(RemoteSource(file, ref.length), name=ref.name) == found
            assert file.bytes_read == 0, "what was read once is here"


def test_opening_alone_reads_next_to_nothing(smbd: Smbd) -> None:
    write_dump(CrashState(20348, 3, Stop.NMI, IMAGES, 7), smbd.admin / "MEMORY.DMP", filler_pages=2000)
    with ShareSource(smbd.target()) as share:
        (ref,) = share.dumps()
        counted = Counted(share.open(ref))
        with open_dump(RemoteSource(counted, ref.length), name=ref.name) as dump:
            assert dump.path.name == "MEMORY.DMP"
            assert dump.bugcheck.code == 0x80
            assert dump.physical is not None
            # Header, page bitmap of 5 GiB of memory, and the root of the page tables.
            assert counted.bytes < 0x2038 + dump.physical.map.limit // 8 + 3 * RemoteSource.BLOCK
            assert counted.requests <= 5


def test_a_copy_in_progress_on_the_share(smbd: Smbd) -> None:
    """What the server has written so far is what can be read; the rest is named."""
    path = smbd.admin / "MEMORY.DMP"
    write_dump(CrashState(20348, 3, Stop.NMI, IMAGES, 7), path, filler_pages=100)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with ShareSource(smbd.target()) as share:
        (ref,) = share.dumps()
        with pytest.raises(DefectiveDump, match=r"MEMORY\.DMP: the dump is cut off: .* \(66 %\)"):
            open_dump(RemoteSource(share.open(ref), ref.length), name=ref.name)


def test_a_server_that_goes_away_is_not_taken_for_a_damaged_dump(smbd: Smbd) -> None:
    write_dump(CrashState(20348, 3, Stop.NMI, IMAGES, 7), smbd.admin / "MEMORY.DMP", filler_pages=2000)
    with ShareSource(smbd.target()) as share:
        (ref,) = share.dumps()
        with open_dump(RemoteSource(share.open(ref), ref.length), name=ref.name) as dump:
            smbd.kill()
            with pytest.raises(InfrastructureError):
                dump.memory.read(dump.header.module_list or 0, 16)
                for frame in range(dump.physical.map.limit):  # type: ignore[union-attr]
                    if dump.physical.map.offset_of(frame) is not None:  # type: ignore[union-attr]
                        dump.physical.page(frame)  # type: ignore[union-attr]
