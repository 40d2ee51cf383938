"""What a pool of a vCenter says of its clones, as orders."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from lab.inventory import load
from lab.machines.vsphere.customize import Customization, Domain, FixedAddress
from lab.machines.vsphere.place import Order, Serial
from lab.model import ConfigurationError, SystemClock
from lab.provision import Lab
from lab.provision.cloned import Cloned

SYSPREP: dict[str, Any] = {
    "computer_name": "lab-{n}",
    "administrator_password": {"env": "ADMINISTRATOR"},
    "domain": {"name": "lab.example", "user": "joiner", "password": {"env": "JOINER"}},
    "network": {
        "addresses": ["192.0.2.11", "192.0.2.12"],
        "netmask": "255.255.255.0",
        "gateways": ["192.0.2.1"],
    },
    "dns_servers": ["192.0.2.2"],
    "dns_suffixes": ["lab.example"],
    "per_server": None,
    "autologon": 2,
}
INVENTORY: dict[str, Any] = {
    "controllers": {
        "vc": {"kind": "vcenter", "url": "https://vc.example", "user": "lab", "password": {"env": "VC"}}
    },
    "pools": {
        "ws2019": {
            "expendable": True,
            "most": 2,
            "guest": {"shell": {"kind": "psrp", "user": "u", "password": {"env": "ADMINISTRATOR"}}},
            "timeouts": {"clone": 100, "customization": 200, "first_boot": 300, "delete": 400},
            "machine": {
                "kind": "vsphere",
                "controller": "vc",
                "clone_of": "golden",
                "snapshot": "base",
                "secure_boot": False,
                "serial": "telnet://debugger.example:2300",
                "customization": SYSPREP,
            },
        }
    },
}


def pool(folder: Path, **sysprep: Any) -> Cloned:
    content = copy.deepcopy(INVENTORY)
    content["pools"]["ws2019"]["machine"]["customization"] |= sysprep
    path = folder / "lab.yaml"
    path.write_text(yaml.safe_dump(content))
    return Cloned(load([path]).pool("ws2019"), Lab("lab-1", folder), SystemClock())


def sysprep_of(order: Order) -> Customization:
    assert order.customization is not None
    return order.customization


def test_an_order_is_as_the_pool_says(tmp_path: Path) -> None:
    maker = pool(tmp_path)
    order = maker._order("2")
    assert (order.name, order.source, order.snapshot) == ("ws2019-2", "golden", "base")
    assert order.secure_boot is False
    assert order.serial == Serial("telnet://debugger.example:2300", "client")
    sysprep = sysprep_of(order)
    assert sysprep.computer_name == "lab-2"
    assert sysprep.network == FixedAddress("192.0.2.12", "255.255.255.0", ("192.0.2.1",))
    assert isinstance(sysprep.domain, Domain) and sysprep.domain.user == "joiner"
    assert (sysprep.dns_servers, sysprep.dns_suffixes) == (("192.0.2.2",), ("lab.example",))
    assert (sysprep.per_server, sysprep.autologon) == (None, 2)
    limits = maker._clones.limits
    assert (limits.clone, limits.customization, limits.first_boot, limits.delete) == (100, 200, 300, 400)


def test_each_host_has_an_address_of_its_own(tmp_path: Path) -> None:
    maker = pool(tmp_path)
    found = [sysprep_of(maker._order(number)).network for number in ("1", "2")]
    assert [each and each.address for each in found] == ["192.0.2.11", "192.0.2.12"]
    with pytest.raises(ConfigurationError, match="pool 'ws2019' has no address for its host 3"):
        maker._order("3")
    assert sysprep_of(pool(tmp_path, network=None)._order("3")).network is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"addresses": ["192.0.2.11"]}, "most is 2, and customization.network has fewer addresses"),
        ({"addresses": ["192.0.2.11", "192.0.2.300"]}, "'192.0.2.300' is no IPv4 address"),
        ({"netmask": "24"}, "'24' is no IPv4 address"),
    ],
)
def test_networks_that_cannot_be(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        pool(tmp_path, network=SYSPREP["network"] | change)
