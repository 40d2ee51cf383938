"""Where symbols are looked for, as users write it: on the command line, in inventories, in symbol paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.inventory import load
from lab.model import ConfigurationError
from lab.symbols import resolve_spec, split_symbol_path, symbol_store

URL = "https://symbols.example/store"


@pytest.mark.parametrize(
    ("specs", "places"),
    [
        ([], []),
        (["/a", Path("b")], ["folder /a", "folder b"]),
        ([URL + "/"], ["folder /cache", URL]),
        ([f"srv*/s*{URL}"], ["folder /s", URL]),
        ([f"SRV*/s*/t*{URL}"], ["folder /s", "folder /t", URL]),
        ([f"srv*{URL}"], ["folder /cache", URL]),
        ([f"srv**{URL}"], ["folder /cache", URL]),
        (["srv*/s"], ["folder /s"]),
        ([f"symsrv*symsrv.dll*/s*{URL}"], ["folder /s", URL]),
        (["cache*/c", f"srv*{URL}", "/a"], ["folder /c", URL, "folder /a"]),
        (["/a", "/a", URL, URL], ["folder /a", "folder /cache", URL]),
        ([f"{URL}?sig=a", f"{URL}?sig=b"], ["folder /cache", URL, URL]),  # what one may see, another may not
        ([Path("srv*x")], ["folder srv*x"]),
        (
            ["https://user:secret@symbols.example/s?sig=secret"],
            ["folder /cache", "https://symbols.example/s"],
        ),
    ],
)
def test_places_in_order(specs: list[str | Path], places: list[str]) -> None:
    store = symbol_store(specs, cache=Path("/cache"))
    assert list(store.places) == [*places, "the built-in tables"]


@pytest.mark.parametrize(
    "spec",
    [
        "",
        " ",
        "srv*",
        "cache*",
        "cache*/a*/b",
        f"cache*/a*{URL}",
        f"srv*{URL}*/a",
        "ftp://symbols.example",
        "file:///symbols",
        "https://",
        "https://symbols.example:port/",
        "https://symbols.example/ x",
        "http://user:secret@symbols.example/",
        f"srv*/a*{URL}*{URL}",
        f"srv*C:\\symbols*{URL}",
        "\\\\server\\symbols",
    ],
)
def test_what_is_no_place_is_said_without_its_password(spec: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        symbol_store([spec])
    assert "secret" not in str(told.value) and told.value.help


def test_a_symbol_path_of_a_debugger() -> None:
    text = f" cache*C:\\sym ;; srv*{URL};\\\\server\\share; "
    assert split_symbol_path(text) == ("cache*C:\\sym", f"srv*{URL}", "\\\\server\\share")


def test_folders_of_a_spec_are_resolved_and_urls_are_not() -> None:
    def below(text: str) -> Path:
        return Path("/base") / text

    assert resolve_spec("symbols", below) == "/base/symbols"
    assert resolve_spec(URL, below) == URL
    assert resolve_spec(f"srv*kept*{URL}", below) == f"srv*/base/kept*{URL}"
    assert resolve_spec(f"srv*{URL}", below) == f"srv*{URL}"
    assert resolve_spec("cache*kept", below) == "cache*/base/kept"


def _inventory(folder: Path, symbols: str) -> Path:
    path = folder / "lab.yaml"
    path.write_text(
        "hosts:\n  web:\n    address: 192.0.2.1\n    machine: {kind: fixed}\n"
        "    guest: {shell: {kind: psrp, user: crash, password: {env: WEB_PASSWORD}}}\n"
        f"    symbols:\n      - isf\n      - {symbols}\n"
    )
    return path


def test_symbols_of_a_host_start_at_the_inventory(tmp_path: Path) -> None:
    host = load([_inventory(tmp_path, f"srv*kept*{URL}")]).host("web")
    assert host.symbols == (f"{tmp_path}/isf", f"srv*{tmp_path}/kept*{URL}")


def test_a_wrong_place_in_an_inventory_is_shown(tmp_path: Path) -> None:
    path = _inventory(tmp_path, "ftp://symbols.example")
    with pytest.raises(ConfigurationError, match=r"lab.yaml:8: hosts.web.symbols\[1\]: 'ftp://"):
        load([path])
