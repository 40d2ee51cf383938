"""Redfish controllers in trouble or off the standard: the emulator behind a front that misbehaves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sushy_tools", reason="no sushy-tools: install the extra 'twin'")

from redfish_emulator import PASSWORD, SYSTEM, Emulator, images
from redfish_front import THE_SYSTEM, Front, Steps, made_by

from lab.inventory import Timeouts
from lab.machines import BootDevice
from lab.machines.power import wait_for_power
from lab.model import ConfigurationError, CredentialsRefused, InfrastructureError, PowerState, TimedOut

ADMITTED = f"POST {THE_SYSTEM}/VirtualMedia/Cd/Actions/VirtualMedia.InsertMedia"


def showing(state: str) -> tuple[str, Any]:
    return THE_SYSTEM, lambda system: system.update(PowerState=state)


def offering(*kinds: str) -> tuple[str, Any]:
    def change(system: dict[str, Any]) -> None:
        system["Actions"]["#ComputerSystem.Reset"]["ResetType@Redfish.AllowableValues"] = list(kinds)

    return THE_SYSTEM, change


def test_a_controller_that_is_busy_for_a_while(emulator: Emulator, front: Front) -> None:
    machine = emulator.machine(url=front.url, clock=Steps())
    assert machine.power_state() in PowerState
    front.busy = 5
    machine.power_on()
    front.busy = 5
    machine.boot_once(BootDevice.PXE)
    assert not front.busy
    assert emulator.seen()["Boot"]["BootSourceOverrideTarget"] == "Pxe"


def test_a_controller_that_stays_busy(emulator: Emulator, front: Front) -> None:
    front.busy = 1000
    with pytest.raises(TimedOut, match=r"for power; last seen: .*The service is starting \(HTTP 503\)"):
        emulator.machine(url=front.url, clock=Steps(), power_seconds=5).power_state()


def test_power_that_never_comes(emulator: Emulator, front: Front) -> None:
    front.alter.append(showing("PoweringOn"))
    clock = Steps()
    machine = emulator.machine(url=front.url, clock=clock)
    machine.power_on()
    with pytest.raises(TimedOut, match=r"waited 7 s for power; last seen: srv1 is off"):
        wait_for_power(machine, PowerState.ON, "srv1", Timeouts(power=7), clock)


def test_a_restart_of_the_controller_between_two_calls(tmp_path: Path) -> None:
    emulator = Emulator(tmp_path)
    emulator.start()
    try:
        machine = emulator.machine()
        assert machine.power_state() is PowerState.OFF
        emulator.kill()
        with pytest.raises(InfrastructureError, match=r"could not be reached: Connection refused"):
            machine.power_state()
        emulator.start()
        assert machine.power_state() is PowerState.OFF
        machine.power_on()
        emulator.kill()
        emulator.start(other_certificate=True)
        with pytest.raises(InfrastructureError, match=r"certificate verify failed") as caught:
            machine.power_off()
        assert "machine.ca_file" in caught.value.help
    finally:
        emulator.kill()


def test_an_account_without_the_rights(emulator: Emulator, front: Front) -> None:
    front.answers["POST .*"] = (403, {"error": {"message": "Insufficient privilege"}})
    with pytest.raises(
        InfrastructureError, match=r"does not let lab do this: Insufficient privilege"
    ) as caught:
        emulator.machine(url=front.url).power_on()
    assert not isinstance(caught.value, CredentialsRefused)
    assert PASSWORD not in caught.value.message


@pytest.mark.parametrize("answer", [{}, {"Id": "x", "PowerState": {}}, {"Id": "x", "PowerState": 7}, []])
def test_answers_that_are_no_systems(emulator: Emulator, front: Front, answer: Any) -> None:
    front.answers[f"GET {THE_SYSTEM}"] = (200, answer)
    machine = emulator.machine(url=front.url, system=SYSTEM)
    try:
        assert machine.power_state() is PowerState.UNKNOWN
    except InfrastructureError as error:
        assert front.url in error.message


def test_a_controller_that_always_has_one_more(emulator: Emulator, front: Front) -> None:
    """Each answer is small, quick and right, and names more to look at than there is time for."""

    class Ticking(Steps):
        def now(self) -> float:
            self.time += 1
            return self.time

    many = [{"@odata.id": f"/redfish/v1/Managers/m{n}"} for n in range(5000)]
    front.alter.append((THE_SYSTEM, lambda system: system["Links"].update(ManagedBy=many)))
    front.answers[r"GET /redfish/v1/Managers/m\d+"] = (200, {"Id": "m", "Name": "m", "UUID": "u"})
    machine = emulator.machine(url=front.url, clock=Ticking(), power_seconds=5)
    with pytest.raises(TimedOut, match=r"waited 65 s for power; .*and each answer leads to another$"):
        machine.boot_once(BootDevice.PXE)
    assert len(front.seen) < 100
    assert machine.power_state() in PowerState


def test_a_reset_that_is_redirected_was_not_done(emulator: Emulator, front: Front) -> None:
    """Followed by a GET, it would look like a success."""
    front.answers["POST .*Reset"] = (302, {"Location": THE_SYSTEM})
    machine = emulator.machine(url=front.url)
    with pytest.raises(InfrastructureError, match=r"answers POST /.*Reset with a redirection to https://"):
        machine.interrupt()
    front.answers["POST .*Reset"] = (307, {"Location": f"{THE_SYSTEM}/elsewhere"})
    front.answers["POST .*elsewhere"] = (204, {})
    machine.interrupt()  # the same order at another place of the same controller
    assert front.asked("POST") == [{"ResetType": "Nmi"}] * 3


def test_answers_of_another_computer_are_not_taken(emulator: Emulator, front: Front) -> None:
    front.answers[f"GET {THE_SYSTEM}"] = (302, {"Location": f"{emulator.url}/redfish/v1/"})
    with pytest.raises(InfrastructureError, match=r"with a redirection to https://127"):
        emulator.machine(url=front.url, system=SYSTEM).power_state()


# Resets


def test_power_is_cycled_when_there_is_no_reset(emulator: Emulator, front: Front) -> None:
    front.alter.append(offering("On", "ForceOff", "PowerCycle"))
    front.answers["POST .*Reset"] = (204, {})
    emulator.machine(url=front.url).reset()
    assert front.asked("POST") == [{"ResetType": "PowerCycle"}]


def test_off_and_on_when_there_is_neither(emulator: Emulator, front: Front) -> None:
    front.alter.append(offering("On", "ForceOff"))
    emulator.machine(url=front.url).reset()
    assert front.asked("POST") == [{"ResetType": "ForceOff"}, {"ResetType": "On"}]


def test_what_is_not_offered_is_not_asked_for(emulator: Emulator, front: Front) -> None:
    front.alter.append(offering("On", "ForceOff"))
    with pytest.raises(InfrastructureError, match=r"does not offer Nmi; it offers ForceOff, On$"):
        emulator.machine(url=front.url).interrupt()
    assert not front.asked("POST")


def test_a_controller_that_refuses_what_is_done_already(emulator: Emulator, front: Front) -> None:
    refusal = {"error": {"message": "InvalidOperationForSystemState"}}
    front.answers["POST .*Reset"] = (409, refusal)
    for state, name in ((PowerState.ON, "On"), (PowerState.OFF, "Off")):
        front.alter[:] = [showing(name)]
        machine = emulator.machine(url=front.url)
        same, other = machine.power_on, machine.power_off
        if state is PowerState.OFF:
            same, other = other, same
        same()
        with pytest.raises(
            InfrastructureError, match=r"refused: InvalidOperationForSystemState \(HTTP 409\)"
        ):
            other()


@pytest.mark.parametrize("shown", [None, []])
def test_a_controller_that_hides_its_reset_types(emulator: Emulator, front: Front, shown: Any) -> None:
    """The list is optional in the standard: then what is wanted is asked for, and the answer counts."""

    def hide(system: dict[str, Any]) -> None:
        action = system["Actions"]["#ComputerSystem.Reset"]
        if shown is None:
            del action["ResetType@Redfish.AllowableValues"]
        else:
            action["ResetType@Redfish.AllowableValues"] = shown

    front.alter.append((THE_SYSTEM, hide))
    front.answers["POST .*Reset"] = (204, {})
    emulator.machine(url=front.url).interrupt()
    assert front.asked("POST") == [{"ResetType": "Nmi"}]
    front.answers["POST .*Reset"] = (400, {"error": {"message": "ActionParameterNotSupported: Nmi"}})
    with pytest.raises(InfrastructureError, match=r"refused: ActionParameterNotSupported: Nmi \(HTTP 400\)"):
        emulator.machine(url=front.url).interrupt()


# Boot overrides


def test_a_boot_override_that_does_not_hold(emulator: Emulator, front: Front) -> None:
    front.alter.append((THE_SYSTEM, lambda system: system["Boot"].update(BootSourceOverrideTarget="None")))
    with pytest.raises(InfrastructureError, match=r"boot from Cd once, but reads back as None, Continuous"):
        emulator.machine(url=front.url, clock=Steps()).boot_once(BootDevice.CD)


def test_continuous_instead_of_once_is_the_emulators_quirk_alone(emulator: Emulator, front: Front) -> None:
    front.alter.append(made_by("Contoso"))
    with pytest.raises(InfrastructureError, match=r"boot from Pxe once, but reads back as Pxe, Continuous"):
        emulator.machine(url=front.url, clock=Steps()).boot_once(BootDevice.PXE)


# Virtual media


@pytest.fixture
def image(tmp_path: Path) -> Iterator[str]:
    with images(tmp_path, "one.iso") as server:
        yield f"{server}/one.iso"


def test_a_path_is_no_address(emulator: Emulator) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot reach the file '/images/windows.iso'"):
        emulator.machine().insert_media("/images/windows.iso")


def test_a_controller_that_wants_to_be_asked_again(emulator: Emulator, front: Front, image: str) -> None:
    tries = []

    class Patient(Steps):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            tries.append(seconds)
            if len(tries) == 3:
                front.answers.clear()

    front.answers[ADMITTED] = (500, {"error": {"message": "IDRAC.1.6.SYS446: retry after a few minutes"}})
    machine = emulator.machine(url=front.url, clock=Patient())
    machine.insert_media(image)
    assert emulator.image() == image and len(tries) == 3
    machine.eject_media()


def test_a_controller_that_never_takes_the_image(emulator: Emulator, front: Front, image: str) -> None:
    front.answers[ADMITTED] = (500, {"error": {"message": "SYS446"}})
    with pytest.raises(TimedOut, match=r"for media; last seen: .*SYS446 \(HTTP 500\)"):
        emulator.machine(url=front.url, clock=Steps(), media_seconds=20).insert_media(image)


def test_success_without_an_image(emulator: Emulator, front: Front, image: str) -> None:
    """As iLO does it; only looking at the drive shows it."""
    front.answers[ADMITTED] = (204, {})
    with pytest.raises(TimedOut, match=r"for media; last seen: .*the drive is empty"):
        emulator.machine(url=front.url, clock=Steps(), media_seconds=20).insert_media(image)


def test_an_image_that_does_not_go_away(emulator: Emulator, front: Front) -> None:
    front.alter.append(
        (f"{THE_SYSTEM}/VirtualMedia/Cd", lambda drive: drive.update(Inserted=True, Image="x"))
    )
    with pytest.raises(TimedOut, match=r"for media; last seen: .*the image is still there"):
        emulator.machine(url=front.url, clock=Steps(), media_seconds=20).eject_media()


def test_no_drive_at_all(emulator: Emulator, front: Front) -> None:
    front.alter.append((r".*/VirtualMedia/\w+", lambda drive: drive.update(MediaTypes=["Floppy"])))
    with pytest.raises(InfrastructureError, match=r"has no virtual drive for an ISO image"):
        emulator.machine(url=front.url).eject_media()
