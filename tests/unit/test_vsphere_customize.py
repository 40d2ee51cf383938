"""Sysprep's specification as it goes to a vCenter, and what is run at the first log-on."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from pyVmomi.SoapAdapter import Serialize
from test_scripts import problems

from lab.inventory import Secret
from lab.machines import first_boot
from lab.machines.vsphere import customize
from lab.machines.vsphere.customize import (
    MOST_COMMAND,
    RUN_SCRIPT,
    SCRIPT_KEY,
    Customization,
    Domain,
    FixedAddress,
    specification,
)
from lab.model import ConfigurationError

SCRIPT = Path(first_boot.__file__).with_name("scripts") / f"{first_boot.SCRIPT}.ps1"


@pytest.fixture
def wanted(monkeypatch: pytest.MonkeyPatch) -> Customization:
    monkeypatch.setenv("ADMINISTRATOR", "Sysprep-1 & <ü>")
    monkeypatch.setenv("JOINER", "Joins-1")
    monkeypatch.setenv("KEY", "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE")
    return Customization("lab-1", Secret("env", "ADMINISTRATOR"))


def sent(wanted: Customization, adapters: int = 1) -> ET.Element:
    """What a vCenter gets, without name spaces."""
    text = Serialize(specification(wanted, adapters), version="vim.version.v8_0_0_1").decode()
    root = ET.fromstring(text)
    for each in root.iter():
        each.tag = each.tag.rpartition("}")[2]
    return root


def kind(element: ET.Element | None) -> str:
    assert element is not None
    return element.attrib["{http://www.w3.org/2001/XMLSchema-instance}type"]


def test_what_a_vcenter_gets(wanted: Customization) -> None:
    spec = sent(wanted)
    identity = spec.find("identity")
    assert (
        kind(identity) == "CustomizationSysprep" and kind(spec.find("options")) == "CustomizationWinOptions"
    )
    texts = {
        "options/changeSID": "true",
        "options/deleteAccounts": "false",
        "options/reboot": "reboot",
        "identity/guiUnattended/password/value": "Sysprep-1 & <ü>",
        "identity/guiUnattended/password/plainText": "true",
        "identity/guiUnattended/timeZone": "85",
        "identity/guiUnattended/autoLogon": "true",
        "identity/guiUnattended/autoLogonCount": "1",
        "identity/userData/computerName/name": "lab-1",
        "identity/userData/productId": None,
        "identity/guiRunOnce/commandList": RUN_SCRIPT,
        "identity/identification/joinWorkgroup": "WORKGROUP",
        "identity/licenseFilePrintData/autoMode": "perServer",
        "identity/licenseFilePrintData/autoUsers": "5",
    }
    assert {path: spec.findtext(path) or None for path in texts} == texts
    assert kind(spec.find("nicSettingMap/adapter/ip")) == "CustomizationDhcpIpGenerator"


def test_a_fixed_address_is_the_first_adapters(wanted: Customization) -> None:
    fixed = FixedAddress("192.0.2.7", "255.255.255.0", ("192.0.2.1",))
    spec = sent(replace(wanted, network=fixed, dns_servers=("192.0.2.2",), dns_suffixes=("lab.example",)), 2)
    first, second = spec.findall("nicSettingMap/adapter")
    assert kind(first.find("ip")) == "CustomizationFixedIp"
    assert [first.findtext(key) for key in ("ip/ipAddress", "subnetMask", "gateway", "dnsServerList")] == [
        "192.0.2.7",
        "255.255.255.0",
        "192.0.2.1",
        "192.0.2.2",
    ]
    assert kind(second.find("ip")) == "CustomizationDhcpIpGenerator"
    assert spec.findtext("globalIPSettings/dnsSuffixList") == "lab.example"


def test_a_domain_is_joined_with_its_own_password(wanted: Customization) -> None:
    domain = Domain("lab.example", "joiner", Secret("env", "JOINER"))
    spec = sent(replace(wanted, domain=domain, per_server=None, product_key=Secret("env", "KEY")))
    identification = spec.find("identity/identification")
    assert identification is not None
    found = {each.tag: "".join(each.itertext()) for each in identification}
    assert found == {
        "joinDomain": "lab.example",
        "domainAdmin": "joiner",
        "domainAdminPassword": "Joins-1true",
    }
    assert spec.findtext("identity/licenseFilePrintData/autoMode") == "perSeat"
    assert spec.findtext("identity/userData/productId") == "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE"


def test_secrets_are_not_shown(wanted: Customization) -> None:
    domain = Domain("lab.example", "joiner", Secret("env", "JOINER"))
    shown = repr(replace(wanted, domain=domain, product_key=Secret("env", "KEY")))
    assert not [secret for secret in ("Sysprep-1", "Joins-1", "AAAAA") if secret in shown]


def test_own_commands_come_after_the_labs(wanted: Customization) -> None:
    spec = sent(replace(wanted, run_once=("one.cmd", "two.cmd")))
    commands = [each.text for each in spec.findall("identity/guiRunOnce/commandList")]
    assert commands == [RUN_SCRIPT, "one.cmd", "two.cmd"]
    spec = sent(replace(wanted, open_winrm=False))
    assert spec.find("identity/guiRunOnce") is None
    assert replace(wanted, open_winrm=False).extra == {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"computer_name": ""}, "'' is no name for a Windows computer"),
        ({"computer_name": "a" * 16}, "is no name for a Windows computer"),
        ({"computer_name": "123"}, "'123' is no name"),
        ({"computer_name": "-a"}, "'-a' is no name"),
        ({"computer_name": "a.b"}, "'a.b' is no name"),
        ({"autologon": 0}, "run-once commands of lab-1 need an autologon"),
        ({"run_once": ("x" * 260,)}, "a run-once command of lab-1 has 260 characters"),
        ({"time_zone": 999}, "999 is no time zone for lab-1"),
    ],
)
def test_what_sysprep_would_refuse(wanted: Customization, change: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)):
        customize.check(replace(wanted, **change))


@pytest.mark.parametrize("name", ["a", "lab-1", "1a", "a" * 15])
def test_names_that_windows_takes(wanted: Customization, name: str) -> None:
    customize.check(replace(wanted, computer_name=name))


# The script of the first log-on


def test_it_parses() -> None:
    assert problems(SCRIPT.read_bytes()) == []
    assert SCRIPT.read_bytes().isascii() and SCRIPT.read_text("utf-8") == first_boot.script()
    assert first_boot.script().startswith(f"#Requires -Version 5.1\n# Script: {first_boot.SCRIPT}\n")


def test_the_command_that_runs_it_parses_and_is_short_enough(wanted: Customization) -> None:
    found = re.fullmatch(r'powershell\.exe -NoProfile -ExecutionPolicy Bypass -Command "([^"]+)"', RUN_SCRIPT)
    assert found and problems(found[1].encode()) == []
    assert len(RUN_SCRIPT) <= MOST_COMMAND
    assert f"info-get {SCRIPT_KEY}'" in RUN_SCRIPT
    assert base64.b64decode(wanted.extra[SCRIPT_KEY]).decode() == first_boot.script()


def test_it_tells_where_the_lab_listens() -> None:
    source = first_boot.script()
    prefix = re.search(r"info-set (guestinfo\.\w+\.)\$Key", source)
    assert prefix is not None
    assert {prefix[1] + key for key in re.findall(r"Send-GuestInfo -Key '(\w+)'", source)} == {
        first_boot.CERTIFICATE,
        first_boot.TROUBLE,
    }


def test_it_opens_https_only() -> None:
    source = first_boot.script()
    assert "Transport             = 'HTTPS'" in source and "[int] $Port = 5986" in source
    assert not re.search(r"5985|AllowUnencrypted|Enable-PSRemoting|TrustedHosts|Basic", source)
