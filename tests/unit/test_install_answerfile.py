"""The answer file that is made, and what is found in a user's own."""

from __future__ import annotations

import base64
import re
import ssl
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import tree_sitter
import tree_sitter_powershell
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs12
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from install_samples import PASSWORD, settings
from pydantic import ValidationError

from lab.inventory.install import InstallMedia, InstallNetwork, InstallSettings
from lab.inventory.secrets import Secret
from lab.machines.install import BadAnswerFile
from lab.machines.install.answerfile import Answers, answers, setup_password
from lab.machines.install.certificate import GuestCertificate, guest_certificate
from lab.machines.install.drivers import driver_files
from lab.machines.install.validate import validate
from lab.model import ConfigurationError, LabError

NS = "{urn:schemas-microsoft-com:unattend}"
ADAPTER = "00:15:5d:01:02:0f"


@pytest.fixture(scope="module")
def certificate() -> GuestCertificate:
    return guest_certificate("lab1", ["192.0.2.5", "lab1.example", "lab1"])


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSTALL_PASSWORD", PASSWORD)
    monkeypatch.setenv("INSTALL_KEY", "ABCDE-12345-FGHIJ-67890-KLMNO")


def made(certificate: GuestCertificate, **changed: Any) -> Answers:
    return answers(settings(Path("none.iso"), **changed), "lab1", 2, certificate)


def texts(found: Answers) -> dict[str, list[str]]:
    """Texts of all elements by name."""
    by_name: dict[str, list[str]] = {}
    for element in ET.fromstring(found.files["autounattend.xml"]).iter():
        by_name.setdefault(element.tag.removeprefix(NS), []).append((element.text or "").strip())
    return by_name


def test_a_password_as_setup_takes_it() -> None:
    """What answer files in the field have for "P@ssw0rd"."""
    assert setup_password("P@ssw0rd") == (
        "UABAAHMAcwB3ADAAcgBkAEEAZABtAGkAbgBpAHMAdAByAGEAdABvAHIAUABhAHMAcwB3AG8AcgBkAA=="
    )


NETWORKS = [
    None,
    InstallNetwork(
        adapter=ADAPTER, address="192.0.2.5/24", gateway="192.0.2.1", dns=("192.0.2.2", "192.0.2.3")
    ),
    InstallNetwork(adapter=ADAPTER, address="2001:db8::5/64", gateway="2001:db8::1", dns=("2001:db8::2",)),
    InstallNetwork(adapter=ADAPTER, address="192.0.2.5/24"),
]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("firmware", ["uefi", "bios"])
def test_what_is_made_passes_its_own_checks(
    certificate: GuestCertificate, firmware: str, network: InstallNetwork | None
) -> None:
    found = made(
        certificate,
        firmware=firmware,
        network=network,
        drivers=Path("drivers"),
        product_key=Secret("env", "INSTALL_KEY"),
        commands=("echo a & echo 'b' > \"c\"",),
        disk=1,
    )
    assert found.image == ("/IMAGE/INDEX", "2")
    assert found.computer_name == "lab1"
    known = texts(found)
    assert known["Key"] == ["/IMAGE/INDEX", "ABCDE-12345-FGHIJ-67890-KLMNO"]
    assert known["DiskID"] == ["1", "1"]
    hidden = [base64.b64decode(v).decode("utf-16-le") for v in known["Value"] if len(v) > 20]
    assert hidden == [f"{PASSWORD}Password", f"{PASSWORD}AdministratorPassword"]
    assert known["CommandLine"][0] == "echo a & echo 'b' > \"c\""
    assert "D:\\$WinPEDriver$" in known["Path"]
    assert all(len(p) < 260 for p in known["Path"])
    assert ("EFI" in known["Type"]) == (firmware == "uefi")
    if network:
        assert known["Identifier"][0] == "00-15-5D-01-02-0F"
        assert known["IpAddress"] == [network.address, *network.dns]


def test_the_first_log_on(certificate: GuestCertificate) -> None:
    script = made(certificate, dump="active", winrm_port=5987).files["lab/first-logon.ps1"]
    text = script.decode("utf-8-sig")
    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language()))
    assert not parser.parse(text.encode()).root_node.has_error
    assert "Name CrashDumpEnabled -Type DWord -Value 1" in text and "Name FilterPages" in text
    assert "'bootstatuspolicy', 'IgnoreAllFailures'" in text
    assert "Port = 5987" in text and PASSWORD not in text
    kernel = made(certificate).files["lab/first-logon.ps1"].decode("utf-8-sig")
    assert "Name CrashDumpEnabled -Type DWord -Value 2" in kernel and "FilterPages" not in kernel
    assert kernel.index("CrashDumpEnabled") < kernel.index("New-Item @listener")  # WinRM comes last


def test_secrets_are_not_shown(certificate: GuestCertificate) -> None:
    found = made(certificate)
    shown = repr(found) + repr(certificate)
    assert PASSWORD not in shown and setup_password(PASSWORD) not in shown
    assert certificate.password not in shown and "BEGIN" not in shown


def test_the_certificate_is_for_the_guest_and_can_be_trusted(certificate: GuestCertificate) -> None:
    key, leaf, others = pkcs12.load_key_and_certificates(certificate.pfx, certificate.password.encode())
    assert key is not None and leaf is not None and others == []
    assert leaf == x509.load_pem_x509_certificate(certificate.pem)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["lab1", "lab1.example"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.5"]
    ssl.create_default_context(cadata=certificate.pem.decode())


class TestOwnAnswerFile:
    def test_as_it_is(self, certificate: GuestCertificate, tmp_path: Path) -> None:
        own = tmp_path / "autounattend.xml"
        own.write_bytes(made(certificate).files["autounattend.xml"].replace(b">lab1<", b">other<"))
        found = made(certificate, answer_file=own)
        assert found.files["autounattend.xml"] == own.read_bytes()
        assert found.computer_name == "other"

    def test_a_template(self, certificate: GuestCertificate, tmp_path: Path) -> None:
        own = tmp_path / "own.xml.j2"
        text = made(certificate).files["autounattend.xml"].decode()
        text = text.replace(">lab1<", ">{{ computer_name }}<")
        own.write_text(text.replace(setup_password(PASSWORD), "{{ administrator_password }}"))
        assert (
            made(certificate, answer_file=own).files["autounattend.xml"].decode()
            == made(certificate).files["autounattend.xml"].decode()
        )

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("{{ nothing }}", r"own\.xml\.j2 cannot be filled in: 'nothing' is undefined"),
            ("\n{% if %}", r"own\.xml\.j2:2: is no template"),
            ("{{ ''.__class__.__mro__ }}", r"cannot be filled in: access to attribute '__class__'"),
        ],
    )
    def test_templates_that_cannot_be_filled_in(
        self, certificate: GuestCertificate, tmp_path: Path, text: str, sentence: str
    ) -> None:
        own = tmp_path / "own.xml.j2"
        own.write_text(text)
        with pytest.raises(BadAnswerFile, match=sentence):
            made(certificate, answer_file=own)

    def test_not_there(self, certificate: GuestCertificate, tmp_path: Path) -> None:
        with pytest.raises(BadAnswerFile, match="cannot be read: No such file"):
            made(certificate, answer_file=tmp_path / "none.xml")


# Each changes what is good in one place: what to look for, what to put there, the sentence.
FAULTS = [
    (r"<AcceptEula>true</AcceptEula>", "", "the licence terms are not accepted"),
    (
        r"<AcceptEula>true</AcceptEula>",
        "<AcceptEula>false</AcceptEula>",
        "the licence terms are not accepted",
    ),
    (r"<InstallFrom>.*?</InstallFrom>", "", "no edition is chosen"),
    (r"<InstallTo>.*?</InstallTo>", "", "no disk is chosen"),
    (r"/IMAGE/INDEX", "/IMAGE/EDITION", "the edition's Key must be"),
    (r"<Value>2</Value>", "<Value>two</Value>", "the edition's number is 'two'"),
    (r"<Value>2</Value>", "", "the edition has no Value"),
    (r"<UserAccounts>.*?</UserAccounts>", "", "the administrator has no password"),
    (r"<SetupUILanguage>.*?</SetupUILanguage>", "", "no language of Setup is chosen"),
    (r'pass="windowsPE"', 'pass="winPE"', "'winPE' is no configuration pass; there are windowsPE, offline"),
    (r'<settings pass="specialize">', "<settings>", "<settings> lacks its pass"),
    (r"urn:schemas-microsoft-com:unattend", "urn:x", "the root must be <unattend"),
    (r'publicKeyToken="31bf3856ad364e35"', "", 'lacks publicKeyToken="31bf3856ad364e35"'),
    (r'versionScope="nonSxS"', 'versionScope="SxS"', 'has versionScope="SxS" instead of "nonSxS"'),
    (r'language="neutral"', "", 'lacks language="neutral"'),
    (r'processorArchitecture="amd64"', 'processorArchitecture="x64"', "for x64 it is amd64"),
    (r'name="Microsoft-Windows-Setup"', 'name=""', "lacks its name"),
    (r'name="Microsoft-Windows-Deployment"', 'name="Microsoft-Windows-Setup"', "belongs in windowsPE"),
    (r'wcm:action="add"', 'wcm:action="insert"', "is 'insert' instead of 'add'"),
    (r'wcm:action="add"', 'action="add"', "must be wcm:action"),
    (r'<CreatePartition wcm:action="add">', "<CreatePartition>", 'lacks wcm:action="add"'),
    (r"<Order>2</Order>", "<Order>1</Order>", "is taken already, on line"),
    (r"<Order>2</Order>", "<Order>0</Order>", "lacks an Order from 1 to 500"),
    (r"<Order>3</Order>", "<Order>4</Order>", "does not run from 1 without gaps"),
    (r"<Type>EFI</Type>", "<Type>Efi</Type>", "lacks a Type; there are Primary, EFI"),
    (r"<Type>EFI</Type>", "<Type>Primary</Type>", "the disk gets no EFI partition"),
    (r"<Extend>true</Extend>", "", "needs either a Size or Extend"),
    (r"<Size>260</Size>", "<Size>260MB</Size>", "is '260MB' instead of megabytes"),
    (r"<PartitionID>3</PartitionID>(?!.*<PartitionID>)", "<PartitionID>2</PartitionID>", "is of type MSR"),
    (r"<PartitionID>3</PartitionID>(?!.*<PartitionID>)", "<PartitionID>9</PartitionID>", "the disk gets 3"),
    (r"<PartitionID>2</PartitionID>", "<PartitionID>7</PartitionID>", "changes partition 7 of 3"),
    (r"<DiskID>0</DiskID>", "", "<Disk> lacks a DiskID"),
    (r">lab1<", ">a computer with a long name<", "is not 1 to 15 letters"),
    (r"<PlainText>false</PlainText>", "", "lacks PlainText"),
    (r"<Value>UABhAD.*?</Value>", "<Value>secret</Value>", "the password is not in Setup's form"),
    (r"<CommandLine>", "<CommandLine>" + "x" * 1024, "1024 are allowed"),
    (r"<Path>cmd", "<Path>cmd " + "x" * 200, "259 are allowed"),
    (r"<RunSynchronous>", "<RunSynchronous><Command/>", "<Command> is no part of <RunSynchronous>"),
    (r"<FullName>", "<ProductKey><Key>ABC</Key></ProductKey><FullName>", "not five groups of five"),
    (r"<OOBE>", '<OOBE xmlns="">', "is not of the namespace"),
    (r"<ComputerName>.*?</ComputerName>", "<OOBE/>", "OOBE has no effect in the pass specialize"),
    (r"<settings pass=\"oobeSystem\">", '<x/><settings pass="oobeSystem">', "<x> is no part of <unattend>"),
    (r"</unattend>", "", "is not well-formed XML"),
    (r"<unattend ", '<!DOCTYPE x [<!ENTITY a "b">]><unattend ', "has a document type"),
    (r"<OOBE>", "<a>" * 70 + "</a>" * 70 + "<OOBE>", "is nested too deeply"),
    (r'encoding="utf-8"', 'encoding="klingon"', "is not"),
]


@pytest.mark.parametrize(("pattern", "instead", "sentence"), FAULTS, ids=lambda v: str(v)[:50])
def test_what_setup_would_stop_at(
    certificate: GuestCertificate, pattern: str, instead: str, sentence: str
) -> None:
    good = made(certificate).files["autounattend.xml"].decode()
    bad, changes = re.subn(pattern, lambda m: instead, good, count=1, flags=re.DOTALL)
    assert changes == 1
    with pytest.raises(BadAnswerFile) as caught:
        validate(bad.encode(), "own.xml")
    everything = f"{caught.value} {caught.value.help}"
    assert sentence in everything
    assert re.match(r"own\.xml:\d+: ", str(caught.value))


def test_the_line_is_the_users_own(certificate: GuestCertificate) -> None:
    good = made(certificate).files["autounattend.xml"].decode()
    bad = good.replace("<AcceptEula>true", "<AcceptEula>no")
    line = bad[: bad.index("<AcceptEula>")].count("\n") + 1
    with pytest.raises(BadAnswerFile, match=rf"^own\.xml:{line}: the licence terms"):
        validate(bad.encode(), "own.xml")


def test_several_problems_are_told_at_once(certificate: GuestCertificate) -> None:
    good = made(certificate).files["autounattend.xml"].decode()
    bad = good.replace("<AcceptEula>true", "<AcceptEula>no").replace("/IMAGE/INDEX", "/IMAGE/X")
    with pytest.raises(BadAnswerFile, match="Key must be") as caught:
        validate(bad.encode(), "own.xml")
    assert "the licence terms are not accepted" in caught.value.help


def test_what_else_is_fine(certificate: GuestCertificate) -> None:
    """As Windows System Image Manager writes: an element of its own, another encoding, plain text."""
    good = made(certificate).files["autounattend.xml"].decode()
    good = good.replace(setup_password(PASSWORD), "plain").replace(
        "<Value>plain</Value>\n          <PlainText>false", "<Value>plain</Value>\n<PlainText>true"
    )
    image = '<cpi:offlineImage cpi:source="wim:x" xmlns:cpi="urn:schemas-microsoft-com:cpi" /></unattend>'
    good = good.replace("</unattend>", image).replace(">lab1<", ">*<")
    assert validate(good.encode(), "own.xml").computer_name == ""
    assert validate(good.replace("utf-8", "utf-16", 1).encode("utf-16"), "own.xml").image
    available = re.sub(
        r"<InstallTo>.*?</InstallTo>",
        "<InstallToAvailablePartition>true</InstallToAvailablePartition>",
        good,
        flags=re.DOTALL,
    )
    validate(available.encode(), "own.xml")


@given(st.data())
@hypothesis_settings(max_examples=300, deadline=None)
def test_damaged_answer_files_end_in_an_error_of_ours(data: st.DataObject) -> None:
    good = Path(__file__).with_name("install_samples.py")  # any text, and one with XML in it
    base = data.draw(st.sampled_from([good.read_bytes()[:200], SMALL]))
    at = data.draw(st.integers(0, len(base)))
    damaged = base[:at] + data.draw(st.binary(max_size=8)) + base[at + data.draw(st.integers(0, 20)) :]
    try:
        validate(damaged, "own.xml")
    except LabError as error:
        assert str(error).startswith("own.xml:")


SMALL = b"""<unattend xmlns="urn:schemas-microsoft-com:unattend"><settings pass="windowsPE">
<component name="Microsoft-Windows-Setup" processorArchitecture="amd64" publicKeyToken="31bf3856ad364e35"
 language="neutral" versionScope="nonSxS"><UserData><AcceptEula>true</AcceptEula></UserData></component>
</settings></unattend>"""


class TestSettings:
    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"accept_license_terms": False}, "accept_license_terms"),
            ({"computer_name": "a_b"}, "computer_name"),
            ({"firmware": "efi"}, "firmware"),
            ({"language": "english!"}, "language"),
            ({"disk": -1}, "disk"),
        ],
    )
    def test_wrong_ones(self, changed: dict[str, Any], sentence: str) -> None:
        with pytest.raises(ValidationError, match=sentence):
            settings(Path("x"), **changed)

    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"adapter": "00:15"}, "MAC address"),
            ({"address": "192.0.2.5"}, "prefix length"),
            ({"address": "here/24"}, "prefix length"),
            ({"gateway": "router"}, "gateway must be an IP address, not 'router'"),
            ({"dns": ("ns1",)}, "dns must be an IP address, not 'ns1'"),
        ],
    )
    def test_wrong_networks(self, changed: dict[str, Any], sentence: str) -> None:
        with pytest.raises(ValidationError, match=sentence):
            InstallNetwork(**({"adapter": ADAPTER, "address": "192.0.2.5/24"} | changed))

    def test_wrong_media(self) -> None:
        with pytest.raises(ValidationError, match="go together"):
            InstallMedia(listen="127.0.0.1", certificate_file=Path("x"))
        with pytest.raises(ValidationError, match="advertise is needed"):
            InstallMedia(listen="0.0.0.0")
        with pytest.raises(ValidationError, match="exactly one of listen and image_folder"):
            InstallMedia()
        with pytest.raises(ValidationError, match="image_folder and url go together"):
            InstallMedia(image_folder=Path("images"), url="images")

    def test_a_name_that_windows_does_not_take(self, certificate: GuestCertificate) -> None:
        for name in ("", "123", "a-name-that-is-too-long", "a.b", "ä"):
            with pytest.raises(ConfigurationError, match="is no name for a Windows computer"):
                answers(settings(Path("x")), name, 1, certificate)

    def test_a_missing_secret_is_named(
        self, certificate: GuestCertificate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("INSTALL_PASSWORD")
        with pytest.raises(ConfigurationError, match="INSTALL_PASSWORD is not set"):
            made(certificate)

    def test_the_type_is_public(self) -> None:
        assert InstallSettings.model_json_schema()["properties"]["iso"]


class TestDrivers:
    def test_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "net").mkdir()
        (tmp_path / "net" / "A.INF").write_text("x")
        (tmp_path / "net" / "a.sys").write_text("x")
        (tmp_path / "out").symlink_to("/etc/hostname")
        assert sorted(driver_files(tmp_path)) == ["$WinPEDriver$/net/A.INF", "$WinPEDriver$/net/a.sys"]

    def test_without_drivers(self, tmp_path: Path) -> None:
        (tmp_path / "setup.exe").write_text("x")
        with pytest.raises(ConfigurationError, match="has no INF file"):
            driver_files(tmp_path)
        with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
            driver_files(tmp_path / "none")
