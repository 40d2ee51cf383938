"""A second independent server: impacket's, which speaks 2.0.2 and answers READs of 64 KiB at most."""

from __future__ import annotations

import multiprocessing
import random
import socket
import time
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import pytest
from smbd import free_port

from lab.model import CredentialsRefused, LoadPlan
from lab.model.clock import SystemClock
from lab.smb.errors import NotOffered, NotThere
from lab.smb.load.run import run_load
from lab.smb.share import connect
from lab.smb.target import Encryption, Security, Signing, SmbTarget

PASSWORD = "Second-1"
SIZE = 1_000_001
STARTS_WITHIN = 30.0  # seconds, on a machine that does much else
ROADS = {"signed": Security(), "plain": Security(signing=Signing.IF_ASKED)}


def serve(port: int, folder: str, reads: Synchronized[int], read_bytes: Synchronized[int]) -> None:
    """impacket's server with a count of the READs it answered well, in a process of its own."""
    from impacket import smb3structs
    from impacket.ntlm import compute_lmhash, compute_nthash
    from impacket.smbserver import SimpleSMBServer

    server = SimpleSMBServer("127.0.0.1", port)
    server.addShare("Data", folder)
    server.setSMB2Support(True)
    server.addCredential("tester", 0, compute_lmhash(PASSWORD), compute_nthash(PASSWORD))

    def counted(connection: Any, serving: Any, packet: Any) -> Any:
        answer = read(connection, serving, packet)
        commands, _, status = answer
        if status == 0:
            with reads.get_lock():
                reads.value += 1
                read_bytes.value += commands[0]["DataLength"]
        return answer

    read = server.getServer().hookSmb2Command(smb3structs.SMB2_READ, counted)
    server.start()


class Impacket:
    def __init__(self, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.folder, self.port = folder, free_port()
        self.reads, self.read_bytes = context.Value("q", 0), context.Value("q", 0)
        arguments = (self.port, str(folder), self.reads, self.read_bytes)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        deadline = time.monotonic() + STARTS_WITHIN
        while not self._answers():
            assert time.monotonic() < deadline and self.process.is_alive(), "impacket's server did not start"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def target(self, security: Security, password: str = PASSWORD) -> SmbTarget:
        return SmbTarget("127.0.0.1", self.port, "tester", password, "Data", "Data", security)


@pytest.fixture(scope="module")
def impacket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Impacket]:
    server = Impacket(tmp_path_factory.mktemp("impacket"))
    yield server
    server.process.kill()
    server.process.join()


@pytest.mark.parametrize("road", ROADS)
def test_files_are_written_listed_read_and_removed(impacket: Impacket, road: str) -> None:
    content = random.Random(road).randbytes(SIZE)
    with connect(impacket.target(ROADS[road]), "Data") as share:
        assert share.connection.dialect == 0x0202 and share.connection.max_read == 1 << 16
        assert (share.session.signer is not None) == (road == "signed")
        share.make_folder("sub")
        with share.create("sub\\some.bin") as file:
            file.write_at(0, content)
        assert (impacket.folder / "sub" / "some.bin").read_bytes() == content
        assert share.stat("sub\\some.bin").length == SIZE
        assert [(each.name, each.length) for each in share.list("sub")] == [("sub\\some.bin", SIZE)]
        with share.open("sub\\some.bin") as file:
            assert file.read_at(0, 2 * SIZE) == content
            assert file.read_at(SIZE - 7, 100) == content[-7:]
            assert b"".join(file.stream(65_535, 65_538)) == content[65_535:][:65_538]
        share.remove("sub\\some.bin")
        share.remove_folder("sub")
        assert not (impacket.folder / "sub").exists()
        with pytest.raises(NotThere):
            share.open("sub\\some.bin")


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("size", [4096, 65536])
def test_a_load_is_counted_alike_on_both_sides(impacket: Impacket, road: str, size: int) -> None:
    before = impacket.reads.value, impacket.read_bytes.value
    plan = LoadPlan(profile="steady", seconds=1.0, connections=2, in_flight=8, size=size, keep_files=False)
    report = run_load(impacket.target(ROADS[road]), plan, clock=SystemClock())
    assert report.reads_sent == report.reads_answered > 0
    assert (report.failed, report.lost, report.short, report.reconnects) == ((), 0, 0, 0)
    assert report.bytes_read == report.reads_answered * size
    assert impacket.reads.value - before[0] == report.reads_answered
    assert impacket.read_bytes.value - before[1] == report.bytes_read
    assert list(impacket.folder.iterdir()) == []


def test_a_wrong_password_is_refused(impacket: Impacket) -> None:
    with pytest.raises(CredentialsRefused, match="'tester'"):
        connect(impacket.target(ROADS["signed"], "not this"), "Data")


def test_encryption_that_it_does_not_have_is_not_done_without(impacket: Impacket) -> None:
    with pytest.raises(NotOffered):
        connect(impacket.target(Security(encryption=Encryption.REQUIRED)), "Data")
