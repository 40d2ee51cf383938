"""What every machine must do, and every capability that it has: lab.machines.port as tests.

A back end is tried by one class with one fixture, `rig`, which yields a Rig: the machine, and an independent
view of what it does (test_machine_contract.py has them all). A capability that the machine has is tried, one
that it has not is skipped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from lab.machines import (
    BootDevice,
    BootOverride,
    BootsFromMedia,
    Checkpoint,
    Interference,
    Machine,
    OutOfBandStop,
    Restorable,
    Screen,
    SerialConsole,
    Witness,
)
from lab.model import Bugcheck, ConfigurationError, InfrastructureError, LabError, PowerState, TimedOut

LONG = 60.0
"""Seconds for what takes far less, on a busy computer."""

CAPABILITIES = (BootOverride, BootsFromMedia, Interference, Restorable, Screen, SerialConsole, Witness)


@dataclass
class Rig:
    """One machine, and what another observer sees of it."""

    machine: Machine
    address: str
    """What the guest's address must be."""
    powered: Callable[[], bool]
    boots: Callable[[], int]
    """How often it has begun to boot: grows with each switching on and each reset."""
    gone: Callable[[], Machine]
    """A machine of the same kind that nobody answers for."""
    secret: str = ""
    """What it logs on with."""
    nmis: Callable[[], int] | None = None
    """How many NMIs have reached it; None when the other side cannot do it, and says so."""
    boot_device: Callable[[], str] | None = None
    """What it would boot from; None when the other side does not hold a boot override."""
    boot_names: dict[BootDevice, str] | None = None
    """How `boot_device` names them."""
    images: tuple[str, ...] = ()
    """Two images that it can be given."""
    missing_image: str = ""
    """One that does not exist where it should."""
    drive: Callable[[], str] | None = None
    """The image in its drive, "" for none."""
    stop: Callable[[Bugcheck], None] | None = None
    """Lets the other side see that the guest stops now, of this bugcheck; every witness needs one."""


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def switched(rig: Rig, state: PowerState) -> Machine:
    """The machine, seen in that state by both sides."""
    machine = rig.machine
    machine.power_on() if state is PowerState.ON else machine.power_off()
    until(lambda: machine.power_state() is state and rig.powered() is (state is PowerState.ON))
    return machine


def having(rig: Rig, capability: type) -> Any:
    if not isinstance(rig.machine, capability):
        pytest.skip(f"it is no {capability.__name__}")
    return rig.machine


class MachineContract:
    """Subclass it with a fixture `rig`."""

    def test_it_is_a_machine(self, rig: Rig) -> None:
        assert isinstance(rig.machine, Machine)
        assert rig.machine.address() == rig.address

    def test_a_capability_is_there_as_a_whole_or_not_at_all(self, rig: Rig) -> None:
        names = {name for name in dir(rig.machine) if not name.startswith("_")}
        for capability in CAPABILITIES:
            own = {name for name in vars(capability) if not name.startswith("_")}
            assert own <= names or not own & names, f"{capability.__name__} in part"

    def test_power(self, rig: Rig) -> None:
        switched(rig, PowerState.OFF)
        boots = rig.boots()
        switched(rig, PowerState.ON)
        assert rig.boots() == boots + 1
        switched(rig, PowerState.OFF)
        assert rig.boots() == boots + 1

    @pytest.mark.parametrize("state", [PowerState.ON, PowerState.OFF])
    def test_the_state_that_it_is_in_already_is_no_error(self, rig: Rig, state: PowerState) -> None:
        switched(rig, state)
        boots = rig.boots()
        switched(rig, state)
        switched(rig, state)
        assert rig.boots() == boots

    def test_a_reset_is_another_boot(self, rig: Rig) -> None:
        machine = switched(rig, PowerState.ON)
        boots = rig.boots()
        machine.reset()
        until(lambda: rig.boots() == boots + 1 and rig.powered())
        until(lambda: machine.power_state() is PowerState.ON)

    def test_a_reset_of_a_machine_that_is_off_starts_it_or_is_refused(self, rig: Rig) -> None:
        machine = switched(rig, PowerState.OFF)
        boots = rig.boots()
        try:
            machine.reset()
        except InfrastructureError as refused:
            assert refused.message and refused.help
            assert machine.power_state() is PowerState.OFF
            assert rig.boots() == boots
        else:
            assert machine.power_state() in (PowerState.ON, PowerState.OFF)

    def test_an_interrupt_is_done_or_refused_in_words(self, rig: Rig) -> None:
        machine = switched(rig, PowerState.ON)
        boots = rig.boots()
        if rig.nmis is None:
            with pytest.raises(InfrastructureError) as refused:
                machine.interrupt()
            assert refused.value.message and refused.value.help
            assert machine.power_state() is PowerState.ON
            assert rig.boots() == boots
        else:
            before, nmis = rig.nmis(), rig.nmis
            machine.interrupt()
            until(lambda: nmis() == before + 1)

    def test_when_nobody_answers_it_says_so_in_time(self, rig: Rig) -> None:
        began = time.monotonic()
        with pytest.raises((InfrastructureError, TimedOut)) as caught:
            rig.gone().power_state()
        assert time.monotonic() - began < LONG
        assert caught.value.message and caught.value.help
        self._tells_no_secret(rig, caught.value)

    def test_it_shows_no_secret(self, rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG):
            rig.machine.power_state()
        if rig.secret:
            assert rig.secret not in f"{rig.machine!r} {rig.machine!s} {caplog.text}"

    # Restorable

    def test_a_checkpoint_brings_its_power_state_back(self, rig: Rig) -> None:
        machine = having(rig, Restorable)
        switched(rig, PowerState.ON)
        machine.checkpoint("running", memory=True)
        machine.checkpoint("disks")
        found = {each.name: each for each in machine.checkpoints()}
        assert set(found) >= {"running", "disks"}
        assert all(isinstance(each, Checkpoint) for each in found.values())
        assert (found["running"].memory, found["disks"].memory) == (True, False)
        for name, other in (("disks", PowerState.ON), ("running", PowerState.OFF)):
            switched(rig, other)
            machine.restore(name)
            # Not later: done when it returns.
            assert machine.power_state() is found[name].power
            assert rig.powered() is (found[name].power is PowerState.ON)
        for name in ("disks", "running"):
            machine.remove_checkpoint(name)
        assert not {"running", "disks"} & {each.name for each in machine.checkpoints()}

    def test_a_checkpoint_that_is_there_or_not(self, rig: Rig) -> None:
        machine = having(rig, Restorable)
        machine.checkpoint("one")
        with pytest.raises(ConfigurationError, match="one"):
            machine.checkpoint("one")
        for act in (machine.restore, machine.remove_checkpoint):
            with pytest.raises(ConfigurationError, match="other") as caught:
                act("other")
            assert "one" in caught.value.message + caught.value.help  # what there is instead
        machine.remove_checkpoint("one")

    # Screen

    def test_a_screenshot_is_a_png(self, rig: Rig) -> None:
        machine = having(rig, Screen)
        switched(rig, PowerState.ON)
        assert machine.screenshot().startswith(b"\x89PNG\r\n\x1a\n")
        switched(rig, PowerState.OFF)
        with pytest.raises(InfrastructureError):
            machine.screenshot()

    # SerialConsole

    def test_a_console_echoes_and_has_one_holder(self, rig: Rig) -> None:
        machine = having(rig, SerialConsole)
        switched(rig, PowerState.ON)
        with machine.console() as console:
            assert console.read(0) == b""
            sent = bytes(range(32, 127)) * 3
            console.write(sent)
            got = bytearray()
            until(lambda: got.extend(console.read(0.2)) or len(got) >= len(sent))
            assert bytes(got) == sent
            with pytest.raises(InfrastructureError), machine.console():
                pass
            assert machine.power_state() is PowerState.ON  # which is a session of its own
        with machine.console() as console:
            console.close()
            with pytest.raises(InfrastructureError):
                console.write(b"x")

    # BootOverride, BootsFromMedia

    @pytest.mark.parametrize("device", list(BootDevice))
    def test_it_boots_once_from_what_it_is_told_or_says_that_it_will_not(
        self, rig: Rig, device: BootDevice
    ) -> None:
        machine = having(rig, BootOverride)
        if rig.boot_device is None:
            with pytest.raises(InfrastructureError) as refused:
                machine.boot_once(device)
            assert device in refused.value.message and refused.value.help
        else:
            machine.boot_once(device)
            assert rig.boot_device() == (rig.boot_names or {}).get(device, device)

    def test_media_go_in_and_out(self, rig: Rig) -> None:
        machine = having(rig, BootsFromMedia)
        assert rig.drive is not None and len(rig.images) == 2
        machine.eject_media()  # an empty drive is no error
        for image in rig.images:  # the second one takes the place of the first
            machine.insert_media(image)
            assert rig.drive() == image
        machine.eject_media()
        assert rig.drive() == ""

    def test_media_that_cannot_be_read(self, rig: Rig) -> None:
        machine = having(rig, BootsFromMedia)
        assert rig.drive is not None
        with pytest.raises(LabError) as caught:
            machine.insert_media(rig.missing_image)
        assert rig.missing_image in caught.value.message and caught.value.help
        assert rig.drive() == ""

    # Witness, Interference

    def test_a_witness_tells_of_each_stop_once_and_in_order(self, rig: Rig) -> None:
        machine = having(rig, Witness)
        assert rig.stop is not None, "there is nothing that it could be seen to witness"
        switched(rig, PowerState.ON)
        began = datetime.now(UTC) - timedelta(seconds=1)  # observers round times
        assert machine.stops(began) == ()
        seen = [Bugcheck(0x20, (0, 0xFFFF, 0, 1)), Bugcheck(0xD1, (0xFFFF8000_00001000, 2, 0, 0))]
        for count, bugcheck in enumerate(seen, 1):
            rig.stop(bugcheck)
            stops = machine.stops(began)
            assert [each.bugcheck for each in stops] == seen[:count]
            assert all(isinstance(each, OutOfBandStop) and each.source for each in stops)
        assert began <= stops[0].at <= stops[1].at <= datetime.now(UTC)  # so all have a time zone
        switched(rig, PowerState.OFF)
        assert machine.stops(began) == stops  # the guest is not asked
        assert machine.stops(began.astimezone(timezone(timedelta(hours=-8)))) == stops
        assert machine.stops(datetime.now(UTC) + timedelta(days=1)) == ()

    def test_a_witness_that_cannot_be_asked_says_so(self, rig: Rig) -> None:
        """To see nothing would mean that nothing happened."""
        having(rig, Witness)
        gone = rig.gone()
        assert isinstance(gone, Witness)
        with pytest.raises((InfrastructureError, TimedOut)) as caught:
            gone.stops(datetime.now(UTC))
        assert caught.value.message and caught.value.help
        self._tells_no_secret(rig, caught.value)

    def test_meddlers_are_sentences(self, rig: Rig) -> None:
        machine = having(rig, Interference)
        assert all(text.endswith(".") or " " in text for text in machine.meddlers())

    def _tells_no_secret(self, rig: Rig, error: LabError) -> None:
        if rig.secret:
            assert rig.secret not in error.message + error.help
