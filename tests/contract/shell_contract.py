"""What every shell into a guest keeps to, whatever its protocol. Its runners give it a guest.

The scripts are those of `shell_scripts`: no PowerShell runs; what is tested is the way to it and back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from lab.model import CredentialsRefused, GuestError, InfrastructureError, TimedOut
from lab.windows import shell as windows_shell
from lab.windows.shell import Script, Shell

LONG = 60
"""Seconds that are plenty for anything that should work."""


@dataclass(frozen=True)
class Said(Script):
    """A script whose text is given."""

    what: str = ""

    def text(self) -> str:
        return self.what


def said(what: str) -> Said:
    return Said("Said", what)


class ShellGuest(Protocol):
    """A guest that a runner of this contract provides."""

    disk: Path
    """Its folder, where `count` leaves its traces."""

    def shell(self, *, script: float = LONG, **changed: Any) -> Shell:
        """A new shell. `script` is its time-out; `password` and `user` may be changed."""
        ...

    def cut(self) -> None:
        """Break every connection, as a guest that stops does; then answer again."""
        ...

    def gone(self) -> None: ...
    def back(self) -> None: ...


class ShellContract:
    """To be inherited by a class `Test…` with a fixture `guest`."""

    WRONG = "hunter2-nope"

    @pytest.fixture
    def guest(self) -> Iterator[ShellGuest]:
        raise NotImplementedError

    @pytest.fixture
    def shell(self, guest: ShellGuest) -> Iterator[Shell]:
        shell = guest.shell()
        yield shell
        shell.close()

    def test_parameters_arrive_as_what_they_are(self, shell: Shell) -> None:
        sent = {
            "Text": "Größe \"quoted\" & $(calc) | ; `n 100% \\ 'x'\nsecond line",
            "Empty": "",
            "Number": 4_000_000_000,
            "Negative": -1,
            "Yes": True,
            "No": False,
            "Names": ["BadDriver", "", "a b", "日本語 🧪"],
            "Starts": [0, 4],
            "Nothing": [],
        }
        assert shell.run(said("echo"), **sent) == [sent]

    def test_rows_come_back_as_they_were_written(self, shell: Shell) -> None:
        row = (
            '{"unicode":"Größe 日本語 🧪 \\u0000 \\\\","nested":{"list":[1,[2,{"deep":null}]]},"null":null,'
            '"date":"2026-01-02T03:04:05.0000000Z","old":"/Date(1700000000000)/","big":18446744073709551615,'
            '"real":1.5,"yes":true,"empty":[],"tags":"<a>&amp;</a> ]]> _x000A_"}'
        )
        (found,) = shell.run(said(f"say [{row}]"))
        assert found == {
            "unicode": "Größe 日本語 🧪 \0 \\",
            "nested": {"list": [1, [2, {"deep": None}]]},
            "null": None,
            "date": "2026-01-02T03:04:05.0000000Z",
            "old": "/Date(1700000000000)/",
            "big": 18446744073709551615,
            "real": 1.5,
            "yes": True,
            "empty": [],
            "tags": "<a>&amp;</a> ]]> _x000A_",
        }

    def test_no_rows(self, shell: Shell) -> None:
        assert shell.run(said("say []")) == []

    def test_many_rows_and_a_row_of_megabytes(self, shell: Shell) -> None:
        rows = shell.run(said("large 50000 40"))
        assert [row["number"] for row in rows] == list(range(50_000))
        (row,) = shell.run(said("large 1 12000000"))
        assert row["text"] == "0" * 12_000_000

    def test_too_much_output_is_not_collected(self, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(windows_shell, "MOST_OUTPUT", 4 << 20)
        with pytest.raises(GuestError, match="script Said wrote more than 4 MiB of output"):
            shell.run(said("large 12 1000000"))
        assert shell.run(said("echo")) == [{}]

    def test_a_large_script(self, shell: Shell) -> None:
        assert shell.run(said("echo\n" + "# Kommentar äöü\n" * 30_000), A=1) == [{"A": 1}]

    def test_a_script_that_fails_says_why_and_spoils_nothing(self, shell: Shell) -> None:
        with pytest.raises(GuestError, match="script Said failed: there is no service Nöpe") as caught:
            shell.run(said("throw there is no service Nöpe"))
        assert "\n" not in str(caught.value)
        assert shell.run(said("echo")) == [{}]

    @pytest.mark.parametrize(
        "text",
        [
            *("Loading module… [{}]", "", "{}", "[1]", "null", "[{}] [{}]", '[{"a":'),
            pytest.param("[" * 100_000, id="nested without end"),
        ],
    )
    def test_what_is_no_array_of_objects_is_refused(self, shell: Shell, text: str) -> None:
        with pytest.raises(GuestError, match="did not answer with a JSON array of objects"):
            shell.run(said(f"say {text}"))
        assert shell.run(said("echo")) == [{}]

    def test_a_script_that_takes_too_long_is_named_and_its_shell_replaced(self, guest: ShellGuest) -> None:
        shell = guest.shell(script=1)
        with pytest.raises(TimedOut, match="waited 1 s for script; last seen: Said still runs") as caught:
            shell.run(said("hang 4"))
        assert caught.value.wait == "script"
        shell.close()
        again = guest.shell()
        assert again.run(said("echo")) == [{}]
        again.close()

    def test_wrong_credentials_are_told_without_the_secret(self, guest: ShellGuest) -> None:
        shell = guest.shell(password=self.WRONG)
        with pytest.raises(CredentialsRefused, match="refused the credentials of") as caught:
            shell.run(said("echo"))
        assert self.WRONG not in f"{caught.value} {caught.value.help} {shell!r}"
        shell.close()

    def test_a_lost_connection_is_an_error_once_and_the_script_is_not_repeated(
        self, guest: ShellGuest
    ) -> None:
        shell = guest.shell()
        assert shell.run(said("echo")) == [{}]
        failures: list[Exception] = []

        def ask() -> None:
            try:
                shell.run(said("count 5"))
            except Exception as error:
                failures.append(error)

        running = threading.Thread(target=ask)
        running.start()
        wait_for(lambda: (guest.disk / "runs").exists())
        guest.cut()
        running.join(LONG)
        assert not running.is_alive()
        (failure,) = failures
        assert type(failure) is InfrastructureError and "\n" not in str(failure)
        assert shell.run(said("count"))[0]["runs"] == 2  # that one, and this one; over a new connection
        shell.close()

    def test_an_idle_connection_that_was_lost_is_replaced_unseen(self, guest: ShellGuest) -> None:
        shell = guest.shell()
        assert shell.run(said("echo")) == [{}]
        guest.cut()
        assert shell.run(said("count")) == [{"runs": 1}]
        shell.close()

    def test_a_guest_that_goes_and_comes_back(self, guest: ShellGuest) -> None:
        shell = guest.shell()
        assert shell.run(said("echo")) == [{}]
        guest.gone()
        for _ in range(2):
            with pytest.raises(InfrastructureError, match="could not be reached"):
                shell.run(said("echo"))
        guest.back()
        assert shell.run(said("echo")) == [{}]
        shell.close()

    def test_several_threads_share_a_shell(self, shell: Shell) -> None:
        found: list[Any] = []
        threads = [
            threading.Thread(target=lambda n=n: found.append(shell.run(said("echo"), N=n)[0]["N"]))
            for n in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        assert sorted(found) == list(range(6))

    def test_closing_twice_and_going_on(self, shell: Shell) -> None:
        shell.close()
        shell.close()
        assert shell.run(said("echo")) == [{}]


def wait_for(what: Any, seconds: float = LONG) -> None:
    """Until `what` is true."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.02)
