"""The vault: content by its hash, never half-written."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.capture import Vault
from lab.capture.incoming import Incoming
from lab.model import ConfigurationError, InfrastructureError

DATA = bytes(range(256)) * 9000
SHA = hashlib.sha256(DATA).hexdigest()


def pieces(data: bytes = DATA) -> Iterator[bytes]:
    for at in range(0, len(data), 100_000):
        yield data[at : at + 100_000]


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_content_is_found_by_its_hash_and_held_once(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "deep" / "vault")
    assert not vault.has(SHA)
    assert vault.add_stream(pieces()) == SHA
    place = vault.path(SHA)
    assert place == vault.root / SHA[:2] / f"{SHA}.dmp" and place.read_bytes() == DATA
    before = place.stat()
    copy = tmp_path / "copy.dmp"
    copy.write_bytes(DATA)
    assert vault.add_file(copy) == SHA
    assert place.stat().st_ino == before.st_ino and files(vault.root) == [place]
    assert stat.S_IMODE(before.st_mode) == 0o600


def test_a_stream_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"some"
        raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        Vault(tmp_path).add_stream(broken())
    assert files(tmp_path) == []


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    with pytest.raises(ConfigurationError, match=f"holds no dump {SHA[:12]}"):
        vault.path(SHA)
    with pytest.raises(ConfigurationError, match="is not a SHA-256"):
        vault.path("../../etc/passwd")
    with pytest.raises(ConfigurationError, match=r"cannot read .*none\.dmp: no such file"):
        vault.add_file(tmp_path / "none.dmp")
    with pytest.raises(ConfigurationError, match="is a directory"):
        vault.add_file(tmp_path)


def test_a_vault_on_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InfrastructureError, match=r"cannot write to the vault at .*: not a directory"):
        Vault(tmp_path / "file").add_stream([b"x"])


def test_a_second_receiver_of_the_same_dump_is_refused(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    with (
        vault.partial("key", 10, "x"),
        pytest.raises(InfrastructureError, match="another process is receiving"),
    ):
        vault.partial("key", 10, "x")
    vault.partial("key", 10, "x").close()


def test_a_file_that_was_moved_away_before_it_was_locked_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, place = tmp_path / "x.part", tmp_path / "whole.dmp"
    lock = fcntl.flock

    def late(file: int, how: int) -> None:
        if not place.exists():
            path.rename(place)  # the process that had the lock has finished, and given the file its name
        lock(file, how)

    monkeypatch.setattr("lab.capture.incoming.fcntl.flock", late)
    with Incoming(path) as incoming:
        incoming.write_at(0, b"new")
    assert place.read_bytes() == b"" and path.read_bytes() == b"new"


def test_zeros_stay_holes_but_never_leave_what_was_there(tmp_path: Path) -> None:
    with Incoming(tmp_path / "x") as incoming:
        incoming.set_length(8 << 20)
        incoming.write_at(1 << 20, bytes(2 << 20))
        assert (tmp_path / "x").stat().st_blocks == 0
        incoming.write_at(2 << 20, b"torn" * 1000)
        incoming.write_at(2 << 20, bytes(1 << 20))
        incoming.write_at(9 << 20, bytes(100))
    assert (tmp_path / "x").read_bytes() == bytes((9 << 20) + 100)


def test_what_was_fetched_is_known_as_long_as_it_is_here(tmp_path: Path) -> None:
    vault = Vault(tmp_path)
    with vault.partial("key", len(DATA), "x") as partial:
        partial.put(0, DATA)
        while partial.hashed < len(DATA):
            partial.hash_on(1)
        assert vault.known("key", "x") is None
        assert vault.adopt(partial, "key", "x") == SHA
    assert vault.known("key", "x") == SHA
    assert vault.known("key", "y") is None and vault.known("yek", "x") is None
    vault.path(SHA).unlink()
    assert vault.known("key", "x") is None
    (vault.root / "known" / "key").write_bytes(b"\xff ../../etc x")
    assert vault.known("key", "x") is None


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory on a disk of 1 MiB; where none can be mounted, one whose writes fail after 1 MiB."""
    room = tmp_path / "small"
    room.mkdir()
    mounted = (
        os.geteuid() == 0
        and shutil.which("mount") is not None
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(room)], check=False, capture_output=True
        ).returncode
        == 0
    )
    if not mounted:
        real, left = os.pwrite, [1 << 20]

        def write(file: int, data: bytes, offset: int) -> int:
            if left[0] <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            done = real(file, data[: left[0]], offset)
            left[0] -= done
            return done

        monkeypatch.setattr("lab.capture.incoming.os.pwrite", write)
    yield room
    if mounted:
        subprocess.run(["umount", str(room)], check=True)


def test_a_full_disk_leaves_nothing_and_says_so(small_disk: Path) -> None:
    with pytest.raises(InfrastructureError, match="the disk of the vault is full"):
        Vault(small_disk).add_stream(pieces())
    assert files(small_disk) == []


def test_too_little_space_is_known_before_the_fetch(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureError, match="MiB left, but the dump needs"):
        Vault(tmp_path / "not" / "yet").need(1 << 60)
    Vault(tmp_path / "not" / "yet").need(1)
    assert files(tmp_path) == []
