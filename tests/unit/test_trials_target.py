"""From a host of the inventory to what its SMB connections offer, and the caps of its loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.inventory import Host, load
from lab.model import ConfigurationError, LoadPlan, Refused
from lab.smb.profiles import PROFILES
from lab.smb.target import Authentication, Encryption, Signing
from lab.trials import target_of, within_caps

HOST = """\
hosts:
  srv1:
    address: 192.0.2.1
    machine: {{kind: fixed}}
    guest: {{shell: {{kind: psrp, user: crash, password: {{env: SRV1_PASSWORD}}}}}}
    smb: {{port: 4450, {smb}}}
"""


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRV1_PASSWORD", "Not-To-Be-Shown-1")


def host(folder: Path, smb: str = "") -> Host:
    path = folder / "i.yaml"
    path.write_text(HOST.format(smb=smb))
    return load([path]).host("srv1")


def test_a_host_without_settings_signs_and_offers_every_dialect(tmp_path: Path) -> None:
    target = target_of(host(tmp_path))
    assert (target.place, target.user, target.data_share) == ("192.0.2.1:4450", "crash", "LabData")
    assert target.security.dialects == (0x0202, 0x0210, 0x0300, 0x0302, 0x0311)
    assert target.security.signing is Signing.REQUIRED
    assert target.security.encryption is Encryption.IF_ASKED
    assert target.security.authentication is Authentication.NEGOTIATE
    assert "Not-To-Be-Shown" not in repr(target)


def test_its_settings_reach_the_wire(tmp_path: Path) -> None:
    said = "dialects: [3.1.1, 2.1, 2.1], signing: if-asked, encryption: off, authentication: kerberos"
    security = target_of(host(tmp_path, said)).security
    assert security.dialects == (0x0210, 0x0311)
    assert (security.signing, security.encryption) == (Signing.IF_ASKED, Encryption.OFF)
    assert security.authentication is Authentication.KERBEROS


def test_a_missing_password_is_told_before_any_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SRV1_PASSWORD")
    with pytest.raises(ConfigurationError, match="SRV1_PASSWORD"):
        target_of(host(tmp_path))


CAPS = "most_connections: 4, most_in_flight: 100, most_seconds: 60, most_reads_per_second: 500"


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (LoadPlan(connections=5), "a load of 5 connections .* srv1 .* smb.most_connections is 4"),
        (LoadPlan(connections=1, in_flight=101), "101 READs in flight .* smb.most_in_flight is 100"),
        (LoadPlan(seconds=60.5, connections=1), "60.5 seconds .* smb.most_seconds is 60"),
    ],
)
def test_more_than_a_host_may_get_is_refused(tmp_path: Path, plan: LoadPlan, says: str) -> None:
    with pytest.raises(Refused, match=says):
        within_caps(host(tmp_path, CAPS), plan)


def test_a_profile_that_wants_more_in_flight_is_scaled_down(tmp_path: Path) -> None:
    capped = host(tmp_path, CAPS)
    assert PROFILES["burst"].most > 100 > PROFILES["steady"].most
    assert within_caps(capped, LoadPlan("burst")).in_flight == 100
    assert within_caps(capped, LoadPlan("steady")).in_flight is None
    assert within_caps(capped, LoadPlan("burst", in_flight=7)).in_flight == 7
    with pytest.raises(ConfigurationError, match="tsunami"):
        within_caps(capped, LoadPlan("tsunami"))


def test_the_rate_is_lowered_to_its_cap(tmp_path: Path) -> None:
    capped = host(tmp_path, CAPS)
    assert within_caps(capped, LoadPlan()).rate == 500
    assert within_caps(capped, LoadPlan(rate=700)).rate == 500
    assert within_caps(capped, LoadPlan(rate=20)).rate == 20
    assert within_caps(host(tmp_path), LoadPlan(rate=700)).rate == 700
    assert within_caps(host(tmp_path), LoadPlan()).rate is None
