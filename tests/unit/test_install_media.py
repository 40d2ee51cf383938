"""The image over HTTP(S), as management controllers fetch it; the clients are httpx and plain sockets."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from lab.inventory.install import InstallMedia
from lab.machines.install import media
from lab.machines.install.certificate import guest_certificate
from lab.machines.install.image import Image, Piece
from lab.machines.install.media import MediaServer
from lab.model import ConfigurationError

SECONDS = 20.0


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Image]:
    """Ten MiB of a file, a sector replaced, and bytes after it."""
    base = tmp_path / "base.iso"
    base.write_bytes(bytes(range(251)) * 41773)
    size = base.stat().st_size
    added = [Piece(size + 100, 3000, b"a" * 3000)]
    with Image(base, size + 5000, {7: b"p" * 2048}, added) as made:
        yield made


@pytest.fixture
def server(image: Image) -> Iterator[MediaServer]:
    with MediaServer(image, InstallMedia(listen="127.0.0.1")) as running:
        yield running


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, timeout=SECONDS, trust_env=False)


def test_the_whole_and_its_length(server: MediaServer, image: Image) -> None:
    whole = image.read(0, image.size)
    head = httpx.head(server.url, timeout=SECONDS, trust_env=False)
    assert (head.status_code, head.headers["content-length"]) == (200, str(image.size))
    assert head.headers["accept-ranges"] == "bytes" and head.content == b""
    assert server.sent == 0
    assert get(server.url).content == whole
    assert server.sent == image.size


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=14330-16400", 14330, 16401),
        ("bytes=10485000-", 10485000, None),
        ("bytes=-3000", -3000, None),
        ("bytes=10485000-99999999999", 10485000, None),
        ("bytes=-99999999999", 0, None),
    ],
)
def test_ranges(server: MediaServer, image: Image, asked: str, start: int, end: int | None) -> None:
    expected = image.read(0, image.size)[start:end]
    answer = get(server.url, Range=asked)
    first = start if start >= 0 else image.size + start
    assert answer.status_code == 206 and answer.content == expected
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(expected) - 1}/{image.size}"


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=9-3", "bytes=-", "lines=1-2", "bytes=x-"])
def test_what_is_no_single_range_gets_the_whole(server: MediaServer, image: Image, asked: str) -> None:
    answer = get(server.url, Range=asked)
    assert answer.status_code == 200 and len(answer.content) == image.size


def test_a_range_after_the_end(server: MediaServer, image: Image) -> None:
    answer = get(server.url, Range=f"bytes={image.size}-")
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{image.size}")


def test_many_at_once(server: MediaServer, image: Image) -> None:
    whole = image.read(0, image.size)
    with httpx.Client(timeout=SECONDS, trust_env=False) as client, ThreadPoolExecutor(8) as pool:
        parts = pool.map(
            lambda at: client.get(server.url, headers={"Range": f"bytes={at}-{at + 99_999}"}).content,
            range(0, image.size, 100_000),
        )
        assert b"".join(parts) == whole


def test_only_the_named_file_under_its_secret_path(server: MediaServer) -> None:
    root, secret, name = server.url.rsplit("/", 2)
    assert len(secret) >= 32 and name == "windows.iso"
    for path in (
        "",
        "/",
        f"/{secret}",
        f"/{secret}/",
        f"/{secret[:-1]}/{name}",
        f"/{secret}/../{name}",
        "/%2e",
    ):
        assert get(root + path).status_code == 404
    assert httpx.post(server.url, timeout=SECONDS, trust_env=False).status_code == 501
    assert server.sent == 0


def test_every_server_has_another_path(image: Image) -> None:
    settings = InstallMedia(listen="127.0.0.1")
    with MediaServer(image, settings) as one, MediaServer(image, settings) as other:
        assert one.url.split("/")[3] != other.url.split("/")[3]
        assert get(one.url.replace(one.url.split("/")[3], other.url.split("/")[3])).status_code == 404


def test_over_with_the_installation(image: Image) -> None:
    with MediaServer(image, InstallMedia(listen="127.0.0.1")) as server:
        url = server.url
        assert get(url, Range="bytes=0-9").status_code == 206
    with pytest.raises(httpx.ConnectError):
        get(url)


def test_a_transfer_under_way_is_cut(tmp_path: Path) -> None:
    base = tmp_path / "large.iso"
    with base.open("wb") as file:
        file.truncate(256 << 20)  # more than all buffers between the two
    with Image(base, 256 << 20, {}, []) as image:
        with MediaServer(image, InstallMedia(listen="127.0.0.1")) as server:
            url = httpx.URL(server.url)
            peer = socket.create_connection((url.host, url.port or 0), timeout=SECONDS)
            peer.sendall(f"GET {url.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            got = len(peer.recv(1000))
        with peer, contextlib.suppress(ConnectionError):
            while data := peer.recv(1 << 20):
                got += len(data)
        assert got < image.size


def test_a_silent_peer_blocks_nobody(image: Image) -> None:
    with MediaServer(image, InstallMedia(listen="127.0.0.1")) as server:
        url = httpx.URL(server.url)
        with socket.create_connection((url.host, url.port or 0), timeout=SECONDS):
            assert get(server.url, Range="bytes=0-9").status_code == 206


def test_too_many_peers_are_turned_away(image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MOST_CONNECTIONS", 2)
    with MediaServer(image, InstallMedia(listen="127.0.0.1")) as server:
        url = httpx.URL(server.url)
        address = (url.host, url.port or 0)
        with (
            socket.create_connection(address, SECONDS) as one,
            socket.create_connection(address, SECONDS) as two,
        ):
            for each in (one, two):  # both are being served
                each.sendall(f"HEAD {url.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert each.recv(20).startswith(b"HTTP/1.1 200")
            with socket.create_connection(address, SECONDS) as third:
                assert third.recv(1) == b""


def certificate(folder: Path) -> tuple[Path, Path]:
    made = guest_certificate("media", ["127.0.0.1"])
    key, _, _ = pkcs12.load_key_and_certificates(made.pfx, made.password.encode())
    assert key is not None
    (folder / "media.pem").write_bytes(made.pem)
    (folder / "media.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return folder / "media.pem", folder / "media.key"


def test_over_tls(image: Image, tmp_path: Path) -> None:
    pem, key = certificate(tmp_path)
    settings = InstallMedia(listen="127.0.0.1", certificate_file=pem, certificate_key_file=key)
    with MediaServer(image, settings) as server:
        assert server.url.startswith("https://127.0.0.1:")
        url = httpx.URL(server.url)
        with socket.create_connection((url.host, url.port or 0), timeout=SECONDS):  # shakes no hands
            context = ssl.create_default_context(cafile=str(pem))
            answer = httpx.get(server.url, verify=context, timeout=SECONDS, trust_env=False)
        assert answer.content == image.read(0, image.size)


def test_what_cannot_be_listened_on(image: Image, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = InstallMedia(listen="127.0.0.1", port=port)
        with (
            pytest.raises(ConfigurationError, match=f"cannot listen on 127.0.0.1 port {port}"),
            MediaServer(image, settings),
        ):
            pass
    with (
        pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1 port \d+: Cannot assign"),
        MediaServer(image, InstallMedia(listen="192.0.2.1")),
    ):
        pass
    (tmp_path / "x.pem").write_text("nothing")
    settings = InstallMedia(
        listen="127.0.0.1", certificate_file=tmp_path / "x.pem", certificate_key_file=tmp_path / "x.pem"
    )
    with pytest.raises(ConfigurationError, match="cannot use the certificate"), MediaServer(image, settings):
        pass


def test_the_advertised_name(image: Image) -> None:
    with MediaServer(image, InstallMedia(listen="127.0.0.1", advertise="lab.example")) as server:
        assert server.url.startswith("http://lab.example:")
    if socket.has_ipv6:
        with MediaServer(image, InstallMedia(listen="::1")) as server:
            assert server.url.startswith("http://[::1]:")
            assert get(server.url, Range="bytes=0-3").status_code == 206


def test_what_becomes_unreadable_is_kept_for_the_installer(tmp_path: Path) -> None:
    driver = tmp_path / "a.sys"
    driver.write_bytes(b"x" * 5000)
    base = tmp_path / "base.iso"
    base.write_bytes(bytes(4096))
    with Image(base, 9096, {}, [Piece(4096, 5000, driver)]) as image:
        driver.unlink()
        with MediaServer(image, InstallMedia(listen="127.0.0.1")) as server:
            with pytest.raises(httpx.RemoteProtocolError):
                get(server.url)
            assert "can no longer be read" in str(server.problem)
