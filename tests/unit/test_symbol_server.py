"""A symbol server over real HTTP: what it may send, and what is told and kept of each."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cabinets import cabinet, mszip
from pdb_samples import content, pdb_id
from symbol_servers import Fake, Reply, self_signed, serve

from lab.symbols import PdbId, symbol_store
from lab.symbols.cache import Cache
from lab.symbols.download import USER_AGENT, SymbolTimeouts
from lab.symbols.server import Server

PDB = pdb_id("layouts")
FOLDER = f"/layouts.pdb/{PDB.folder}"
PLAIN, PACKED, POINTER = f"{FOLDER}/layouts.pdb", f"{FOLDER}/layouts.pd_", f"{FOLDER}/file.ptr"
WHOLE = content("layouts.pdb")
OTHER = content("classes.pdb")


@pytest.fixture
def make() -> Iterator[Callable[[], Fake]]:
    servers = []

    def start() -> Fake:
        fake = Fake()
        servers.append(serve(fake))
        return fake

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def fake(make: Callable[[], Fake]) -> Fake:
    return make()


def kept(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


IN_CACHE = [f"layouts.pdb/{PDB.folder}/layouts.pdb"]


# --- what is found ---------------------------------------------------------------------------


def test_a_pdb_is_fetched_checked_and_kept(fake: Fake, tmp_path: Path) -> None:
    fake.put(PLAIN, WHOLE)
    store = symbol_store([fake.url], cache=tmp_path)
    found = store.find(PDB)
    assert found is not None and found.rva("Visible") == 0x1000 and found.source == "PDB layouts.pdb"
    assert store.answers(PDB) == (f"folder {tmp_path}: not there", f"{fake.url}: fetched into {tmp_path}")
    assert store.notes == ()
    assert kept(tmp_path) == IN_CACHE and (tmp_path / IN_CACHE[0]).read_bytes() == WHOLE
    assert fake.paths == ["/index2.txt", PLAIN]
    assert {headers["User-Agent"] for _, headers in fake.asked} == {USER_AGENT}


def test_what_is_kept_is_not_fetched_again(fake: Fake, tmp_path: Path) -> None:
    fake.put(PLAIN, WHOLE)
    assert symbol_store([f"srv*{tmp_path}*{fake.url}"]).find(PDB) is not None
    before = len(fake.asked)
    assert symbol_store([f"srv*{tmp_path}*{fake.url}"]).find(PDB) is not None
    assert symbol_store([tmp_path]).find(PDB) is not None  # it is a symbol store like any other
    assert len(fake.asked) == before


def test_no_http_client_is_loaded_for_what_is_kept(tmp_path: Path) -> None:
    """It costs more than a triage. Offline it is never needed."""
    path = tmp_path / IN_CACHE[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(WHOLE)
    script = (
        "import sys; from pathlib import Path; from lab.symbols import PdbId, symbol_store\n"
        "name, guid, age, cache = sys.argv[1:]\n"
        "store = symbol_store(['https://symbols.invalid'], cache=Path(cache))\n"
        "assert store.find(PdbId(name, guid, int(age))) is not None\n"
        "other = symbol_store(['https://symbols.invalid'], cache=Path(cache), offline=True)\n"
        "assert other.find(PdbId(name, guid, 99)) is None\n"
        "assert not {'httpx', 'ssl'} & set(sys.modules)\n"
    )
    arguments = (PDB.name, PDB.guid, str(PDB.age), str(tmp_path))
    subprocess.run([sys.executable, "-c", script, *arguments], check=True)


def test_compressed_files(fake: Fake, tmp_path: Path) -> None:
    fake.put(PACKED, cabinet(mszip(WHOLE), "layouts.pdb", method=1))
    assert symbol_store([fake.url], cache=tmp_path).find(PDB) is not None
    assert kept(tmp_path) == IN_CACHE and (tmp_path / IN_CACHE[0]).read_bytes() == WHOLE
    assert fake.paths == ["/index2.txt", PLAIN, PACKED]


def test_a_pointer_to_another_server(make: Callable[[], Fake], tmp_path: Path) -> None:
    first, second = make(), make()
    first.put(POINTER, f"PATH:{second.url}/elsewhere.pdb\r\n".encode())
    second.put("/elsewhere.pdb", WHOLE)
    assert symbol_store([first.url], cache=tmp_path).find(PDB) is not None
    assert first.paths == ["/index2.txt", PLAIN, PACKED, POINTER] and kept(tmp_path) == IN_CACHE


def test_redirects_as_the_public_server_sends_them(make: Callable[[], Fake], tmp_path: Path) -> None:
    front, blobs = make(), make()
    front.put(PLAIN, status=302, headers={"Location": f"{blobs.url}/blob?sig=x"})
    blobs.put("/blob?sig=x", WHOLE)
    assert symbol_store([front.url + "/"], cache=tmp_path).find(PDB) is not None


def test_two_tiers(fake: Fake, tmp_path: Path) -> None:
    fake.put("/index2.txt", b"")
    fake.put(f"/la{PLAIN}", WHOLE)
    assert symbol_store([fake.url], cache=tmp_path).find(PDB) is not None
    assert kept(tmp_path) == IN_CACHE  # the cache has one tier


def test_the_first_server_that_has_it_wins(make: Callable[[], Fake], tmp_path: Path) -> None:
    lacks, broken, has, unasked = make(), make(), make(), make()
    broken.put(PLAIN, b"oops", 500)
    has.put(PLAIN, WHOLE)
    store = symbol_store([s.url for s in (lacks, broken, has, unasked)], cache=tmp_path)
    assert store.find(PDB) is not None
    assert store.answers(PDB)[1:] == (
        f"{lacks.url}: does not have it (HTTP 404)",
        f"{broken.url}: HTTP 500 Internal Server Error",
        f"{has.url}: fetched into {tmp_path}",
    )
    assert unasked.asked == []
    (note,) = store.notes  # one that lacks a file is no trouble; one that is broken is
    assert note.endswith(f"{broken.url}: HTTP 500 Internal Server Error")


def test_user_password_and_query_of_a_url_are_used_and_not_shown(fake: Fake, tmp_path: Path) -> None:
    fake.put(f"{PLAIN}?sig=token", WHOLE)
    server = Server(fake.url.replace("//", "//user:secret@") + "?sig=token", Cache(tmp_path))
    answer = server.look(PDB)
    assert answer.symbols is not None and server.name == fake.url
    assert fake.asked[-1][1]["Authorization"].startswith("Basic ")


def test_a_password_is_not_carried_to_another_server(make: Callable[[], Fake], tmp_path: Path) -> None:
    front, blobs = make(), make()
    front.put(PLAIN, status=302, headers={"Location": f"{blobs.url}/blob"})
    blobs.put("/blob", WHOLE)
    server = Server(front.url.replace("//", "//user:secret@"), Cache(tmp_path))
    assert server.look(PDB).symbols is not None
    assert "Authorization" in front.asked[-1][1] and "Authorization" not in blobs.asked[-1][1]


def test_proxies_come_from_the_environment(
    make: Callable[[], Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = make()
    proxy.put(f"http://symbols.invalid{PLAIN}", WHOLE)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    assert symbol_store(["http://symbols.invalid"], cache=tmp_path).find(PDB) is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:9"),  # what desktops write; no proxy that HTTP clients know
        ("HTTP_PROXY", "ftp://127.0.0.1:9"),
        ("SSL_CERT_FILE", "/no/such/file"),
    ],
)
def test_an_environment_that_no_client_can_use(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    store = symbol_store([fake.url], cache=tmp_path)
    assert store.find(PDB) is None and fake.asked == []
    assert ": cannot be asked: proxy or certificates of the environment: " in store.answers(PDB)[1]


# --- what is not, and how it is told ---------------------------------------------------------

PAGE = b"\r\n<!DOCTYPE html><html><body>Please log in</body></html>"


@pytest.mark.parametrize(
    ("replies", "said"),
    [
        ({}, "does not have it (HTTP 404)"),
        ({PLAIN: Reply(status=503)}, "HTTP 503 Service Unavailable"),
        ({PLAIN: Reply(status=403)}, "HTTP 403 Forbidden"),
        ({PLAIN: Reply(PAGE)}, "sent a web page instead of the file, perhaps a log-in"),
        (
            {PLAIN: Reply(b"hello", headers={"Content-Type": "text/html"})},
            "sent a web page instead of the file, perhaps a log-in",
        ),
        ({PLAIN: Reply(b"MZ and more")}, "sent something that is neither a PDB nor a cabinet"),
        ({PLAIN: Reply(b"")}, "sent an empty file"),
        ({PLAIN: Reply(OTHER)}, "sent another PDB: layouts.pdb has another id: "),
        (
            {PLAIN: Reply(WHOLE[:50_000])},
            "layouts.pdb is damaged: it is cut off: 50000 of 73728 bytes are there",
        ),
        ({PLAIN: Reply(WHOLE[:50_000], length=len(WHOLE))}, "broke off: "),
        ({PACKED: Reply(cabinet(mszip(OTHER), "layouts.pdb", method=1))}, "sent another PDB: "),
        (
            {PACKED: Reply(cabinet(mszip(WHOLE), "layouts.pdb", method=1)[:-9])},
            "the cabinet of layouts.pdb cannot be unpacked: it is cut off",
        ),
        ({POINTER: Reply(b"MSG: moved to the\x07 archive")}, "file.ptr says: moved to the  archive"),
        (
            {POINTER: Reply(b"PATH:\\\\server\\share\\layouts.pdb")},
            "its file.ptr points to \\\\server\\share\\layouts.pdb, which cannot be fetched",
        ),
        (
            {POINTER: Reply(b"PATH:/etc/passwd")},
            "its file.ptr points to /etc/passwd, which cannot be fetched",
        ),
        ({POINTER: Reply(b"x" * 5000)}, "sent a file.ptr of more than 4096 bytes"),
        ({POINTER: Reply(PAGE)}, "sent a web page instead of the file, perhaps a log-in"),
        ({PLAIN: Reply(status=302, headers={"Location": PLAIN})}, "redirects more than 5 times"),
        ({PLAIN: Reply(status=302, headers={"Location": "file:///etc/passwd"})}, "cannot be asked: "),
        ({PLAIN: Reply(status=302)}, "HTTP 302 Found"),
        ({PLAIN: Reply(status=302, headers={"Location": "http://a..b/x"})}, "cannot be asked: "),
        ({POINTER: Reply(b"PATH:http://[/x")}, "its file.ptr points to http://[/x, which cannot be fetched"),
        (
            {PLAIN: Reply(WHOLE, headers={"Content-Encoding": "zstd"})},
            "sent a file in the encoding 'zstd', which was not asked for",
        ),
        (
            {PLAIN: Reply(b"BSJB" + bytes(99))},
            "sent something that is neither a PDB nor a cabinet; it is a portable PDB",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_is_not_the_file(fake: Fake, tmp_path: Path, replies: dict[str, Reply], said: str) -> None:
    fake.replies.update(replies)
    store = symbol_store([fake.url], cache=tmp_path)
    assert store.find(PDB) is None
    assert store.answers(PDB)[1].startswith(f"{fake.url}: {said}")
    assert kept(tmp_path) == []  # neither the file nor a part of it


def test_what_a_server_lacks_is_asked_for_again_only_after_minutes(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = symbol_store([fake.url], cache=tmp_path)
    for _ in range(2):
        assert store.find(PDB) is None
    assert fake.paths == ["/index2.txt", PLAIN, PACKED, POINTER]
    assert store.find(PdbId(PDB.name, PDB.guid, 2)) is None
    assert len(fake.asked) == 7  # how the server is laid out is known by now
    fake.put(PLAIN, WHOLE)  # it has it since; a watched folder meets the same PDBs for weeks
    assert store.find(PDB) is None and len(fake.asked) == 7
    soon = time.monotonic() + 301
    monkeypatch.setattr(time, "monotonic", lambda: soon)
    assert store.find(PDB) is not None and "fetched" in store.answers(PDB)[1]


def test_a_server_in_trouble_says_nothing_of_its_layout(fake: Fake, tmp_path: Path) -> None:
    server = Server(fake.url, Cache(tmp_path))
    fake.put("/index2.txt", status=503)
    assert server.look(PDB).symbols is None
    fake.put("/index2.txt", b"")
    fake.put(f"/la{PLAIN}", WHOLE)
    assert server.look(PDB).symbols is not None


def test_a_server_that_cannot_be_reached_costs_one_attempt(make: Callable[[], Fake], tmp_path: Path) -> None:
    url = "http://127.0.0.1:9"  # discard: nobody listens
    store = symbol_store([url], cache=tmp_path)
    assert store.find(PDB) is None and store.find(pdb_id("classes")) is None
    assert store.answers(PDB)[1].startswith(f"{url}: cannot be asked: ")
    assert store.answers(pdb_id("classes"))[1].startswith(f"{url}: not asked again: cannot be asked: ")


def test_time_outs_have_names(fake: Fake, tmp_path: Path) -> None:
    never = threading.Event()
    fake.put(PLAIN, WHOLE, wait=never)
    server = Server(fake.url, Cache(tmp_path), timeouts=SymbolTimeouts(read=0.2))
    assert server.look(PDB).said == "no answer within the 0.2 s of 'read'"
    never.set()


@pytest.mark.parametrize("reply", [{}, {"heads": True}, {"length": -1}], ids=["body", "headers", "no length"])
@pytest.mark.parametrize("encrypted", [False, True])
def test_a_server_that_drips_is_left_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: dict[str, object], encrypted: bool
) -> None:
    """Each byte comes within the time of 'read', the whole would take hours."""
    fake, certificate = Fake(), self_signed(tmp_path)
    fake.put(PLAIN, WHOLE, drip=0.05, **reply)
    server = serve(fake, certificate if encrypted else None)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    try:
        place = Server(fake.url, Cache(tmp_path / "cache"), timeouts=SymbolTimeouts(read=2, download=0.3))
        began = time.monotonic()
        assert place.look(PDB).said == "sent no whole file in the 0.3 s of 'download'"
        assert time.monotonic() - began < 60 and kept(tmp_path / "cache") == []
        fake.put(PLAIN, WHOLE)
        assert place.look(PDB).symbols is not None  # only what was too slow is left
    finally:
        server.shutdown()
        server.server_close()


def test_certificates_are_verified_and_encryption_is_never_left(
    make: Callable[[], Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path)
    plain, fake = make(), Fake()
    plain.put(PLAIN, WHOLE)
    fake.put(PLAIN, status=302, headers={"Location": plain.url + PLAIN})
    fake.put(PACKED, WHOLE)
    server = serve(fake, certificate)
    cache = Cache(tmp_path / "cache")
    try:
        said = Server(fake.url, cache).look(PDB).said
        assert "CERTIFICATE_VERIFY_FAILED" in said and fake.asked == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        trusted = Server(fake.url, cache)
        assert trusted.look(PDB).said == f"redirects to {plain.url}{PLAIN}, which is not encrypted"
        fake.replies = {POINTER: Reply(f"PATH:{plain.url}{PLAIN}".encode())}
        said = trusted.look(PDB).said
        assert said == f"its file.ptr points to {plain.url}{PLAIN}, which is not encrypted"
        fake.replies = {PACKED: Reply(WHOLE)}
        assert trusted.look(PDB).symbols is not None and plain.asked == []
    finally:
        server.shutdown()
        server.server_close()


def test_offline_nothing_is_asked(fake: Fake, tmp_path: Path) -> None:
    fake.put(PLAIN, WHOLE)
    store = symbol_store([fake.url], cache=tmp_path, offline=True)
    assert store.find(PDB) is None and fake.asked == []
    assert store.answers(PDB)[1] == f"{fake.url}: not asked: offline"
    assert symbol_store([fake.url], cache=tmp_path).find(PDB) is not None
    assert symbol_store([fake.url], cache=tmp_path, offline=True).find(PDB) is not None


@pytest.mark.parametrize(
    "name", ["../x.pdb", "a/b.pdb", "a\\b.pdb", "a\r\nHost: x", "", ".", "x" * 300, "a?b=c", "%2e"]
)
def test_names_out_of_a_dump_are_never_paths_or_urls(fake: Fake, tmp_path: Path, name: str) -> None:
    store = symbol_store([fake.url], cache=tmp_path)
    assert store.find(PdbId(name, "A" * 32, 1)) is None
    assert store.find(PdbId("x.pdb", "../" + "A" * 29, 1)) is None
    assert fake.asked == [] and kept(tmp_path) == []


def test_names_with_other_characters_are_quoted(fake: Fake, tmp_path: Path) -> None:
    symbol_store([fake.url], cache=tmp_path).find(PdbId("a +é[1].pdb", "A" * 32, 1))
    assert fake.paths[1] == f"/a%20%2B%C3%A9%5B1%5D.pdb/{'A' * 32}1/a%20%2B%C3%A9%5B1%5D.pdb"


# --- the cache -------------------------------------------------------------------------------


def test_a_cache_that_holds_something_else_under_the_id(fake: Fake, tmp_path: Path) -> None:
    """Neither is used: not the damaged file, not one of another id. The server's takes its place."""
    fake.put(PLAIN, WHOLE)
    path = tmp_path / IN_CACHE[0]
    path.parent.mkdir(parents=True)
    for bad in (WHOLE[:-1], OTHER, b""):
        path.write_bytes(bad)
        store = symbol_store([fake.url], cache=tmp_path)
        found = store.find(PDB)
        assert found is not None and found.rva("Visible") == 0x1000
        assert "fetched" in store.answers(PDB)[-1] and len(store.answers(PDB)) == 2


def test_many_at_once_leave_one_whole_file(fake: Fake, tmp_path: Path) -> None:
    fake.put(PLAIN, WHOLE)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: symbol_store([fake.url], cache=tmp_path).find(PDB), range(16)))
    assert all(f is not None and f.rva("Visible") == 0x1000 for f in found)
    assert kept(tmp_path) == IN_CACHE


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written(fake: Fake, tmp_path: Path) -> None:
    fake.put(PLAIN, WHOLE)
    tmp_path.chmod(0o500)
    store = symbol_store([fake.url], cache=tmp_path / "cache")
    assert store.find(PDB) is None and "cannot be written" in store.answers(PDB)[1]


def test_a_cache_whose_place_is_taken(fake: Fake, tmp_path: Path) -> None:
    fake.put(PLAIN, WHOLE)
    (tmp_path / "file").touch()
    store = symbol_store([fake.url], cache=tmp_path / "file" / "cache")
    assert store.find(PDB) is None and "cannot be written" in store.answers(PDB)[1]


def test_the_usual_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert symbol_store(["http://127.0.0.1:9"]).places[0] == f"folder {tmp_path}/bugcheck-lab/symbols"
