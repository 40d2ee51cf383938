"""Controllers off the standard, each in its maker's own way: the emulator behind a front that plays them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sushy_tools", reason="no sushy-tools: install the extra 'twin'")

from redfish_emulator import Emulator, images
from redfish_front import THE_SYSTEM, Front, Steps, made_by, managed_by

from lab.machines import BootDevice
from lab.model import InfrastructureError, TimedOut


@pytest.fixture
def image(tmp_path: Path) -> Iterator[str]:
    with images(tmp_path, "one.iso") as server:
        yield f"{server}/one.iso"


def test_supermicro_is_told_everything_each_time(emulator: Emulator, front: Front) -> None:
    def once(system: dict[str, Any]) -> None:
        system["Boot"]["BootSourceOverrideEnabled"] = "Once"

    front.alter += [made_by("Supermicro"), (THE_SYSTEM, once)]
    emulator.machine(url=front.url, clock=Steps()).boot_once(BootDevice.DISK)
    (sent,) = front.asked("PATCH")
    assert {name: value for name, value in sent["Boot"].items() if value} == {
        "BootSourceOverrideTarget": "Hdd",
        "BootSourceOverrideEnabled": "Once",
        "BootSourceOverrideMode": "UEFI",
    }


@pytest.mark.parametrize("at", [".*/Oem/Dell/DellAttributes/[^/]+", ".*/[^D][^/]*/Attributes"])
def test_the_virtual_cd_of_an_idrac(emulator: Emulator, front: Front, at: str) -> None:
    front.alter += [made_by("Dell Inc."), managed_by("17G Monolithic")]
    wanted = {"ServerBoot.1.BootOnce": "Enabled", "ServerBoot.1.FirstBootDevice": "VCD-DVD"}
    front.answers[f"PATCH {at}"] = (200, {})
    front.answers[f"GET {at}"] = (200, {"Attributes": wanted})
    front.answers["GET .*Attributes.*"] = (404, {"error": {"message": "not found"}})
    machine = emulator.machine(url=front.url)
    machine.boot_once(BootDevice.CD)
    assert front.asked("PATCH") == [{"Attributes": wanted}]
    front.answers[f"GET {at}"] = (200, {"Attributes": wanted | {"ServerBoot.1.BootOnce": "Disabled"}})
    with pytest.raises(InfrastructureError, match=r"took ServerBoot\.1\.BootOnce, but does not hold"):
        machine.boot_once(BootDevice.CD)


def test_an_idrac_without_its_attributes(emulator: Emulator, front: Front) -> None:
    front.alter += [made_by("Dell Inc."), managed_by("14G Monolithic")]
    front.answers["GET .*Attributes.*"] = (404, {"error": {"message": "not found"}})
    with pytest.raises(InfrastructureError, match=r"does not show the attributes of its manager$"):
        emulator.machine(url=front.url).boot_once(BootDevice.CD)


def test_an_idrac_8_says_what_it_cannot(emulator: Emulator, front: Front) -> None:
    front.alter += [made_by("Dell Inc."), managed_by("13G Monolithic")]
    with pytest.raises(InfrastructureError, match=r"cannot be told to boot from its virtual CD: an iDRAC 8"):
        emulator.machine(url=front.url).boot_once(BootDevice.CD)
    assert not front.asked("PATCH")


IN_POST = {
    "error": {
        "code": "iLO.0.10.ExtendedInfo",
        "message": "See @Message.ExtendedInfo for more information.",
        "@Message.ExtendedInfo": [
            {
                "MessageArgs": ["BootSourceOverrideTarget"],
                "MessageId": "iLO.2.37.UnableToModifyDuringSystemPOST",
            }
        ],
    }
}


def test_an_ilo_whose_server_is_in_post_is_asked_again(emulator: Emulator, front: Front) -> None:
    tries = []

    class Patient(Steps):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            tries.append(seconds)
            if len(tries) == 3:
                front.answers.clear()

    front.answers[f"PATCH {THE_SYSTEM}"] = (400, IN_POST)
    emulator.machine(url=front.url, clock=Patient()).boot_once(BootDevice.PXE)
    assert len(front.asked("PATCH")) == 4
    assert emulator.seen()["Boot"]["BootSourceOverrideTarget"] == "Pxe"


def test_an_ilo_whose_server_stays_in_post_is_quoted(emulator: Emulator, front: Front) -> None:
    """It gives no message, but its name."""
    front.answers[f"PATCH {THE_SYSTEM}"] = (400, IN_POST)
    with pytest.raises(
        TimedOut, match=r"UnableToModifyDuringSystemPOST BootSourceOverrideTarget \(HTTP 400\)"
    ):
        emulator.machine(url=front.url, clock=Steps(), power_seconds=9).boot_once(BootDevice.PXE)


def test_a_hint_of_the_makers(emulator: Emulator, front: Front, image: str) -> None:
    front.alter.append(made_by("Supermicro"))
    with pytest.raises(InfrastructureError, match=r"did not take the image .*missing\.iso: .*404") as caught:
        emulator.machine(url=front.url).insert_media(image.replace("one", "missing"))
    assert "over HTTP" in caught.value.help


def test_lenovos_drives_that_take_no_image_are_left_alone(
    emulator: Emulator, front: Front, image: str
) -> None:
    """Three drives that look alike; the first two are for uses of its own."""
    drives = f"{THE_SYSTEM}/VirtualMedia"
    ejected = emulator.seen(f"{drives}/Cd")
    names = ("RDOC1", "Remote1", "EXT1")

    def show(**changed: Any) -> None:
        for name in names:
            insert = {"target": f"{drives}/{name}/Insert"}
            own = {"Id": name, "Actions": {"#VirtualMedia.InsertMedia": insert}}
            front.answers[f"GET {drives}/{name}"] = (200, ejected | own | changed)

    class Inserting(Steps):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            show(Inserted=True, Image=image)

    show()
    members = [{"@odata.id": f"{drives}/{name}"} for name in names]
    front.alter += [made_by("Lenovo"), (drives, lambda found: found.update(Members=members))]
    front.answers["POST .*"] = (204, {})
    emulator.machine(url=front.url, clock=Inserting()).insert_media(image)
    assert [path for method, path, _ in front.seen if method == "POST"] == [f"{drives}/EXT1/Insert"]
