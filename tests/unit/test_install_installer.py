"""The installer's steps against a controller played here, that fetches the medium as real ones do."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from install_samples import (
    DATACENTER,
    STANDARD,
    Sample,
    boot_files,
    make_iso,
    missing,
    sample,
    settings,
    wim,
)

from lab.inventory.install import InstallMedia, InstallTimeouts
from lab.machines import BootDevice, BootsFromMedia, Machine
from lab.machines.install import BadAnswerFile, BadImage, Prepared, install, prepare, undo
from lab.model import (
    ConfigurationError,
    CredentialsRefused,
    GuestError,
    InfrastructureError,
    LabError,
    PowerState,
    TimedOut,
)

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
LIMITS = InstallTimeouts(power=60, media=100, install=1000, poll=10)


class FakeClock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Unplugged:
    """A machine without virtual media."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.state = PowerState.ON
        self.done: list[str] = []

    def power_state(self) -> PowerState:
        return self.state

    def power_on(self) -> None:
        self.done.append("on")
        self.state = PowerState.ON

    def power_off(self) -> None:
        self.done.append("off")
        self.state = PowerState.OFF

    def reset(self) -> None:
        self.done.append("reset")

    def interrupt(self) -> None:
        self.done.append("nmi")

    def address(self) -> str:
        return "192.0.2.5"


class Controller(Unplugged):
    """`reads` bytes are fetched when the host starts from it; `fetches` when the medium is inserted."""

    reads = 6 << 20
    fetches = 0

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.medium = ""
        self.next_boot: BootDevice | None = None
        self.fails: dict[str, LabError] = {}
        self.seen = b""

    def _step(self, name: str) -> None:
        self.done.append(name)
        if name in self.fails:
            raise self.fails[name]

    def insert_media(self, source: str) -> None:
        self._step("insert")
        self.medium = source
        self._fetch(self.fetches)

    def eject_media(self) -> None:
        self._step("eject")
        self.medium = ""

    def boot_once(self, device: BootDevice) -> None:
        self._step(f"boot {device}")
        self.next_boot = device

    def power_on(self) -> None:
        super().power_on()
        if self.next_boot is BootDevice.CD and self.medium:
            self._fetch(self.reads)
        self.next_boot = None

    def _fetch(self, size: int) -> None:
        for at in range(0, size, 1 << 20):
            span = {"Range": f"bytes={at}-{min(at + (1 << 20), size) - 1}"}
            answer = httpx.get(self.medium, headers=span, timeout=30, trust_env=False)
            self.seen += answer.raise_for_status().content


class WithConsole(Controller):
    said = b"\x1b[2JStarting\r\nWindows Setup: which disk?\r\n"

    @contextlib.contextmanager
    def console(self) -> Iterator[Any]:
        class Opened:
            def read(self, seconds: float) -> bytes:
                left, WithConsole.said = WithConsole.said, b""
                return left

            def write(self, data: bytes) -> None: ...
            def close(self) -> None: ...

        yield Opened()


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return sample(tmp_path_factory.mktemp("windows"))


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTALL_PASSWORD", "hunter2")


@pytest.fixture
def prepared(windows: Sample) -> Iterator[Prepared]:
    with prepare(settings(windows.iso, timeouts=LIMITS), "lab1", ["192.0.2.5"]) as made:
        yield made


def after(looks: int, error: LabError | None = None) -> Callable[[], bool]:
    """WinRM that answers at that look, and until then fails."""
    left = [looks]

    def answering() -> bool:
        left[0] -= 1
        if left[0] > 0 and error is not None:
            raise error
        return left[0] <= 0

    return answering


def test_the_whole_way(prepared: Prepared) -> None:
    clock = FakeClock()
    machine = Controller(clock)
    assert isinstance(machine, Machine) and isinstance(machine, BootsFromMedia)
    told: list[str] = []
    refused = InfrastructureError("connection refused")
    install(machine, prepared, host="lab1", answering=after(5, refused), clock=clock, told=told.append)
    assert machine.done == ["off", "insert", "boot cd", "on", "boot disk", "eject"]
    assert machine.medium == "" and machine.state is PowerState.ON
    assert machine.seen == prepared.image.read(0, machine.reads)
    assert told == [
        f"lab1: inserts {DATACENTER} (0.0 GB)",
        "lab1: Windows Setup runs as lab1",
        f"lab1: {DATACENTER} is installed, the medium is out",
    ]


def test_a_controller_that_fetches_the_whole_at_once(prepared: Prepared) -> None:
    """When it boots cannot be seen, so the override of the first boot is left alone."""
    clock = FakeClock()
    machine = Controller(clock)
    machine.fetches, machine.reads = prepared.image.size, 0
    install(machine, prepared, host="lab1", answering=after(2), clock=clock)
    assert machine.done == ["off", "insert", "boot cd", "on", "eject"]


def test_a_controller_that_reads_from_a_share(windows: Sample, tmp_path: Path) -> None:
    class OnShare(Controller):
        fetches = reads = 0

        def insert_media(self, source: str) -> None:
            super().insert_media(source)
            (copy,) = tmp_path.iterdir()
            assert source == f"nfs://lab.example/images/{copy.name}"
            self.seen = copy.read_bytes()

    clock = FakeClock()
    machine = OnShare(clock)
    media = InstallMedia(image_folder=tmp_path, url="nfs://lab.example/images/")
    chosen = settings(windows.iso, timeouts=LIMITS, media=media)
    with prepare(chosen, "lab1", []) as prepared:
        install(machine, prepared, host="lab1", answering=after(2), clock=clock)
        assert machine.seen == prepared.image.read(0, prepared.image.size)
        with pytest.raises(TimedOut, match=r"last seen: power on$"):
            install(machine, prepared, host="lab1", answering=after(10**9), clock=clock)
    assert machine.done[-3:] == ["on", "eject", "boot disk"] and list(tmp_path.iterdir()) == []
    gone = settings(windows.iso, media=InstallMedia(image_folder=tmp_path / "none", url="nfs://x/"))
    with (
        prepare(gone, "lab1", []) as prepared,
        pytest.raises(ConfigurationError, match=r"folder .*none of install\.media does not exist"),
    ):
        install(machine, prepared, host="lab1", answering=after(1), clock=clock)


def test_a_second_boot_override_that_is_refused_is_no_harm(prepared: Prepared) -> None:
    clock = FakeClock()
    machine = Controller(clock)
    machine.fails["boot disk"] = InfrastructureError("not while it runs")
    install(machine, prepared, host="lab1", answering=after(2), clock=clock)
    assert machine.done[-1] == "eject"


def test_without_virtual_media(prepared: Prepared) -> None:
    machine = Unplugged(FakeClock())
    with pytest.raises(ConfigurationError, match="machine of host 'lab1' takes no virtual media"):
        install(machine, prepared, host="lab1", answering=after(1), clock=machine.clock)
    assert machine.done == []


def test_a_medium_that_is_never_read(prepared: Prepared) -> None:
    machine = Controller(FakeClock())
    machine.reads = 1 << 20  # looked at, and not booted
    with pytest.raises(
        TimedOut, match=r"100 s for the first boot from the medium of host 'lab1' \(media\)"
    ) as caught:
        install(machine, prepared, host="lab1", answering=after(1), clock=machine.clock)
    assert caught.value.last_seen == "power on, 1 MB of the medium read"
    assert "install.media" in caught.value.help
    assert machine.done[-2:] == ["eject", "boot disk"] and machine.medium == ""


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (None, "power on, 6 MB of the medium read"),
        (InfrastructureError("no route to host"), "no route to host"),
        (GuestError("still starting"), "still starting"),
    ],
)
def test_winrm_that_never_answers(prepared: Prepared, error: LabError | None, seen: str) -> None:
    machine = Controller(FakeClock())
    with pytest.raises(TimedOut, match="waited 1000 s for WinRM of the new Windows of host 'lab1'") as caught:
        install(machine, prepared, host="lab1", answering=after(10**9, error), clock=machine.clock)
    assert seen in caught.value.last_seen
    assert "lab-first-logon.log" in caught.value.help
    assert machine.medium == "" and machine.state is PowerState.ON


def test_the_console_tells_what_was_last_seen(windows: Sample) -> None:
    chosen = settings(windows.iso, timeouts=LIMITS, console=True)
    machine = WithConsole(FakeClock())
    with (
        prepare(chosen, "lab1", []) as prepared,
        pytest.raises(TimedOut, match="console: 'Windows Setup: which disk\\?'"),
    ):
        install(machine, prepared, host="lab1", answering=after(10**9), clock=machine.clock)


def test_a_refused_password_ends_the_wait(prepared: Prepared) -> None:
    machine = Controller(FakeClock())
    with pytest.raises(CredentialsRefused):
        install(
            machine, prepared, host="lab1", answering=after(3, CredentialsRefused("no")), clock=machine.clock
        )
    assert machine.medium == "" and machine.clock.time < LIMITS.media


def test_power_that_never_comes(prepared: Prepared) -> None:
    machine = Controller(FakeClock())
    machine.power_off = lambda: None  # type: ignore[method-assign]
    with pytest.raises(TimedOut, match=r"60 s for the power of host 'lab1' \(power\); last seen: power on"):
        install(machine, prepared, host="lab1", answering=after(1), clock=machine.clock)
    assert "insert" not in machine.done and machine.medium == ""


@pytest.mark.parametrize("step", ["insert", "boot cd"])
def test_a_controller_that_refuses(prepared: Prepared, step: str) -> None:
    machine = Controller(FakeClock())
    machine.fails[step] = InfrastructureError(f"{step} refused")
    with pytest.raises(InfrastructureError, match=f"^{step} refused$"):
        install(machine, prepared, host="lab1", answering=after(1), clock=machine.clock)
    assert machine.done[-2:] == ["eject", "boot disk"] and machine.medium == "" and "on" not in machine.done


def test_what_cannot_be_undone_is_said_too(prepared: Prepared) -> None:
    machine = Controller(FakeClock())
    machine.fails = {"boot cd": InfrastructureError("no"), "eject": InfrastructureError("the drive is busy")}
    told: list[str] = []
    with pytest.raises(InfrastructureError, match=r"^no$") as caught:
        install(machine, prepared, host="lab1", answering=after(1), clock=machine.clock, told=told.append)
    assert "the medium could not be ejected: the drive is busy" in caught.value.help
    assert told[-1] == "the medium could not be ejected: the drive is busy"


def test_ctrl_c_leaves_nothing_inserted(prepared: Prepared) -> None:
    machine = Controller(FakeClock())

    def interrupted() -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(machine, prepared, host="lab1", answering=interrupted, clock=machine.clock)
    assert machine.medium == ""


def test_undo_from_another_process() -> None:
    machine = Controller(FakeClock())
    machine.medium = "http://lab.example/windows.iso"
    undo(machine)
    assert machine.medium == "" and machine.done == ["eject", "boot disk"]
    undo(Unplugged(machine.clock))


def test_a_driver_that_goes_away_meanwhile(windows: Sample, tmp_path: Path) -> None:
    (tmp_path / "a.inf").write_bytes(b"x" * 5000)
    machine = Controller(FakeClock())
    with prepare(settings(windows.iso, timeouts=LIMITS, drivers=tmp_path), "lab1", []) as prepared:
        machine.fetches = prepared.image.size
        (tmp_path / "a.inf").unlink()
        machine._fetch = lambda size: _fetch_all(machine.medium, size)  # type: ignore[method-assign]
        with pytest.raises(InfrastructureError, match=r"a\.inf can no longer be read"):
            install(machine, prepared, host="lab1", answering=after(1), clock=machine.clock)
    assert machine.medium == ""


def _fetch_all(url: str, size: int) -> None:
    with contextlib.suppress(httpx.RemoteProtocolError):
        httpx.get(url, timeout=30, trust_env=False)


class TestPrepare:
    def test_what_is_in_it(self, windows: Sample) -> None:
        with prepare(settings(windows.iso, edition=1), "lab1", ["192.0.2.5"]) as made:
            assert made.edition.name == STANDARD and made.computer_name == "lab1"
            ssl.create_default_context(cadata=made.certificate.pem.decode())
            assert b"<AcceptEula>true</AcceptEula>" in made.image.read(0, made.image.size)
            assert "hunter2" not in repr(made)

    def test_an_edition_that_the_answer_file_asks_for(self, windows: Sample, tmp_path: Path) -> None:
        own = tmp_path / "own.xml"
        with prepare(settings(windows.iso), "lab1", []) as made:
            image = made.image.read(0, made.image.size)
        text = image[image.index(b"<?xml") : image.index(b"</unattend>") + 11].decode()
        for asked, index in (
            (f"/IMAGE/NAME</Key>\n<Value>{STANDARD}", 1),
            ("/IMAGE/INDEX</Key>\n<Value>2", 2),
        ):
            changed = text.replace("/IMAGE/INDEX</Key>\n              <Value>2", asked)
            own.write_text(changed)
            with prepare(settings(windows.iso, answer_file=own), "lab1", []) as made:
                assert made.edition.index == index
        own.write_text(changed.replace("<Value>2", "<Value>7"))
        with pytest.raises(BadAnswerFile, match=r"own\.xml asks for /IMAGE/INDEX 7: .* has no edition '7'"):
            prepare(settings(windows.iso, answer_file=own), "lab1", [])

    @pytest.mark.parametrize(
        ("changed", "sentence", "help"),
        [
            ({"build": 9600}, r"is of build 9600, whose PowerShell is older than 5\.1$", "2016"),
            (
                {"languages": ("fr-FR", "de-DE")},
                r"has no language en-US, so that Setup would ask$",
                "fr-FR, de-DE",
            ),
            ({"languages": ("fr-FR", "EN-us")}, None, ""),
            ({"languages": ()}, None, ""),
        ],
    )
    def test_editions_that_setup_or_the_first_log_on_cannot_do_with(
        self, tmp_path: Path, changed: dict[str, Any], sentence: str | None, help: str
    ) -> None:
        tree = tmp_path / "tree"
        boot_files(tree)
        wim(tree / "sources" / "install.wim", **changed)
        wanted = settings(make_iso(tree, tmp_path / "windows.iso"))
        if sentence is None:
            prepare(wanted, "lab1", []).close()
        else:
            with pytest.raises(ConfigurationError, match=sentence) as caught:
                prepare(wanted, "lab1", [])
            assert help in caught.value.help

    def test_bad_input(self, windows: Sample, tmp_path: Path) -> None:
        (tmp_path / "own.xml").write_text("<unattend/>")
        for changed, error in (
            ({"iso": tmp_path / "none.iso"}, BadImage),
            ({"edition": "Home"}, ConfigurationError),
            ({"answer_file": tmp_path / "own.xml"}, BadAnswerFile),
            ({"drivers": tmp_path}, ConfigurationError),
            ({"computer_name": "12345"}, ConfigurationError),
        ):
            with pytest.raises(error) as caught:
                prepare(settings(**({"iso": windows.iso} | changed)), "lab1", [])
            assert "\n" not in str(caught.value) and caught.value.help
