"""The inventory: what is accepted, and what each mistake is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.inventory import (
    PsrpShell,
    RedfishMachine,
    Secret,
    SmbSettings,
    json_schema,
    load,
    register_secret_source,
    secrets,
)
from lab.model import ConfigurationError, Refused

GOOD = """\
hosts:
  web:
    address: 192.0.2.1
    machine: {kind: fixed}
    guest: {shell: {kind: psrp, user: crash, password: {env: WEB_PASSWORD}}}
"""


def write(folder: Path, text: str, name: str = "lab.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_the_inventories_that_come_with_the_project_are_valid() -> None:
    root = Path(__file__).parents[2] / "inventory"
    twin = load([root]).host("twin", for_use=True)
    assert isinstance(twin.machine, RedfishMachine) and twin.machine.url == "https://127.0.0.1:18443"
    assert isinstance(twin.guest.shell, PsrpShell) and twin.guest.shell.tcp_port == 15985
    assert twin.smb.port == 14445 and twin.smb_user == twin.guest.shell.user
    examples = load([root / "examples"])
    assert {"rack7-slot3", "desk-pc", "ws2019-1"} <= set(examples.hosts)
    # a relative path starts at the file that names it
    assert isinstance(examples.host("rack7-slot3").machine, RedfishMachine)
    assert examples.host("rack7-slot3").machine.ca_file == root / "examples/certificates/lab-ca.pem"


def test_defaults(tmp_path: Path) -> None:
    host = load([write(tmp_path, GOOD)]).host("web")
    assert host.name == "web" and not host.expendable
    assert host.guest.shell.tcp_port == 5986  # TLS unless said otherwise
    assert (host.timeouts.boot, host.timeouts.dump) == (600, 900)
    assert (host.smb.data_share, host.smb.admin_share, host.smb_user) == ("LabData", "ADMIN$", "crash")


def smb(folder: Path, settings: str) -> SmbSettings:
    return load([write(folder, f"{GOOD}    smb: {settings}\n")]).host("web").smb


def test_what_smb_offers_and_insists_on(tmp_path: Path) -> None:
    plain = smb(tmp_path, "{}")
    assert plain.dialects == ("2.0.2", "2.1", "3.0", "3.0.2", "3.1.1")
    assert (plain.signing, plain.encryption, plain.authentication) == ("required", "if-asked", "negotiate")
    # unquoted, YAML takes 2.1 and 3.0 for numbers and off for false
    set_ = smb(tmp_path, "{dialects: [2.1, 3.0, 3.0.2], signing: if-asked, encryption: off}")
    assert (set_.dialects, set_.signing, set_.encryption) == (("2.1", "3.0", "3.0.2"), "if-asked", "off")


def test_caps_of_a_load(tmp_path: Path) -> None:
    plain = smb(tmp_path, "{}")
    assert (plain.most_connections, plain.most_in_flight, plain.most_reads_per_second) == (64, 8192, None)
    assert plain.most_seconds == 7 * 24 * 3600
    assert smb(tmp_path, "{most_reads_per_second: 500}").most_reads_per_second == 500


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("{dialects: []}", "hosts.web.smb: dialects must name at least one"),
        ("{dialects: [1.0]}", "dialects\\[0\\]: must be '2.0.2', '2.1'"),
        ("{signing: always}", "hosts.web.smb.signing: must be 'required' or 'if-asked'"),
        ("{encryption: on}", "hosts.web.smb.encryption: must be 'required', 'if-asked' or 'off'"),
        ("{dialects: [2.1], encryption: required}", "encryption needs dialect 3.0"),
        ("{most_connections: 0}", "hosts.web.smb.most_connections: must be greater"),
        ("{most_seconds: 1.0e+9}", "hosts.web.smb.most_seconds: must be less"),
        ("{most_in_flights: 3}", "most_in_flights is not a known key; did you mean 'most_in_flight'"),
    ],
)
def test_smb_settings_that_are_refused(tmp_path: Path, settings: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        smb(tmp_path, settings)


MISTAKES = {
    "unknown key": (GOOD + "    machin: 3\n", 6, "hosts.web.machin is not a known key", "'machine'"),
    "wrong type": (GOOD + "    smb: {port: '445'}\n", 6, "hosts.web.smb.port: must be a valid integer", ""),
    "out of range": (GOOD + "    timeouts: {boot: 0}\n", 6, "hosts.web.timeouts.boot: must be greater", ""),
    "duplicate host": (GOOD + "  web: {}\n", 6, "hosts.web is given twice (first on line 2)", ""),
    "duplicate key": (GOOD + "    address: x\n", 6, "hosts.web.address is given twice", ""),
    "missing key": (GOOD.replace("address: 192.0.2.1", "notes: x"), 2, "hosts.web.address is missing", ""),
    "missing deep": (GOOD.replace("user: crash, ", ""), 5, "hosts.web.guest.shell.user is missing", ""),
    "unknown kind": (GOOD.replace("fixed", "snmp"), 4, "hosts.web.machine: kind must be one of 'red", ""),
    "no kind": (GOOD.replace("kind: psrp, ", ""), 5, "hosts.web.guest.shell.kind is missing", ""),
    "secret in clear": (GOOD.replace("{env: WEB_PASSWORD}", "hunter2"), 5, "not the secret itself", ""),
    "secret's place": (GOOD.replace("env:", "vault:"), 5, "known are env, file, keyring, prefect", ""),
    "no password": (GOOD.replace(", password: {env: WEB_PASSWORD}", ""), 5, "password is needed", ""),
    "plain http": (
        GOOD.replace("{kind: fixed}", "{kind: redfish, url: 'http://b', user: u, password: {env: B}}"),
        4,
        "url must be https",
        "",
    ),
    "name inside": (GOOD + "    name: other\n", 6, "hosts.web.name is not a key", ""),
    "not a mapping": ("- web\n", 1, "must be a mapping", ""),
    "empty": ("", 1, "hosts is missing", ""),
    "not yaml": ("hosts: [\n", 2, "is not YAML", ""),
    "not text": (GOOD + "    1: x\n", 6, "the key 1 is not text", ""),
    "endless alias": ("hosts: &a\n  web: *a\n", 1, "an alias repeats", ""),
    "bad date": ("hosts: 2024-99-99\n", 1, "hosts: month must be", ""),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_file_line_and_key(tmp_path: Path, mistake: str) -> None:
    text, line, says, guess = MISTAKES[mistake]
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load([path])
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert says in str(caught.value) and guess in str(caught.value)
    assert "hunter2" not in str(caught.value) + caught.value.help
    assert "\n" not in str(caught.value)


def test_every_problem_is_told_the_first_one_first(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("user: crash, ", "") + "    timeouts: {boot: -1, dmp: 3}\n")
    with pytest.raises(ConfigurationError, match=r"lab\.yaml:5: .*user is missing$") as caught:
        load([path])
    assert "timeouts.boot" in caught.value.help and "did you mean 'dump'" in caught.value.help


def test_the_same_host_in_two_files_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "a.yaml")
    write(tmp_path, GOOD.replace("web:", "WEB:"), "b.yaml")
    with pytest.raises(ConfigurationError, match=r"b\.yaml:2: the host 'WEB' is already at .*a\.yaml:2"):
        load([tmp_path])


def test_aliases_that_multiply_are_stopped(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigurationError, match="an alias repeats"):
        load([write(tmp_path, "\n".join(lines))])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load([tmp_path / "none.yaml"])
    (tmp_path / "latin.yaml").write_bytes(b"hosts: \xe4\n")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load([tmp_path / "latin.yaml"])
    with pytest.raises(ConfigurationError, match="no inventory file"):
        load([])


def test_only_an_expendable_host_may_be_used(tmp_path: Path) -> None:
    inventory = load([write(tmp_path, GOOD)])
    assert inventory.host("web").address == "192.0.2.1"
    with pytest.raises(Refused, match="'web' is not marked 'expendable: true'"):
        inventory.host("web", for_use=True)
    expendable = load([write(tmp_path, GOOD + "    expendable: true\n")])
    assert expendable.host("web", for_use=True).expendable


@pytest.mark.parametrize("value", ["'true'", "yes please", "1"])
def test_expendable_is_the_boolean_true_and_nothing_like_it(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"hosts\.web\.expendable: must be a valid boolean"):
        load([write(tmp_path, GOOD + f"    expendable: {value}\n")])


def test_an_unknown_host_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no host 'wep'") as caught:
        load([write(tmp_path, GOOD)]).host("wep")
    assert "Known hosts: web" in caught.value.help and "did you mean 'web'?" in caught.value.help


def secret(folder: Path, reference: str) -> Secret:
    return load([write(folder, GOOD.replace("{env: WEB_PASSWORD}", reference))]).host("web").smb_password


def test_a_secret_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_PASSWORD", "hunter2")
    host = load([write(tmp_path, GOOD)]).host("web")
    assert host.smb_password.reveal() == "hunter2"
    for shown in (repr(host), str(host), str(host.smb_password), f"{host.smb_password!r}"):
        assert "hunter2" not in shown
    assert "•••" in repr(host) and "•••" in host.model_dump_json()
    assert host.smb_password.reference == "env: WEB_PASSWORD"


def test_a_missing_variable_names_itself_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEB_PASSWORD", raising=False)
    with pytest.raises(ConfigurationError, match=r"lab\.yaml:5: .*WEB_PASSWORD is not set") as caught:
        secret(tmp_path, "{env: WEB_PASSWORD}").reveal()
    assert "Set WEB_PASSWORD" in caught.value.help
    monkeypatch.setenv("WEB_PASSWORD", "")
    with pytest.raises(ConfigurationError, match="is empty"):
        secret(tmp_path, "{env: WEB_PASSWORD}").reveal()


def test_a_secret_file_must_be_private(tmp_path: Path) -> None:
    file = tmp_path / "web.secret"
    file.write_text("hunter2\n")
    file.chmod(0o640)
    with pytest.raises(ConfigurationError, match="may be read by others"):
        secret(tmp_path, "{file: web.secret}").reveal()
    file.chmod(0o600)
    assert secret(tmp_path, "{file: web.secret}").reveal() == "hunter2"
    file.unlink()
    with pytest.raises(ConfigurationError, match=r"web\.secret cannot be read: No such file"):
        secret(tmp_path, "{file: web.secret}").reveal()


def test_a_missing_keyring_entry_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    with pytest.raises(ConfigurationError, match="keyring") as caught:
        secret(tmp_path, "{keyring: {service: lab, user: web}}").reveal()
    assert "keyring set lab web" in caught.value.help
    with pytest.raises(ConfigurationError, match="exactly 'service' and 'user'"):
        secret(tmp_path, "{keyring: {service: lab}}")


def test_another_source_of_secrets_can_be_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {name: source for name, source in secrets._SOURCES.items() if name != "prefect"}
    monkeypatch.setattr(secrets, "_SOURCES", known)
    found = secret(tmp_path, "{prefect: web-password}")
    with pytest.raises(ConfigurationError, match="kind 'prefect'"):
        found.reveal()
    register_secret_source("prefect", lambda block, where: f"secret of {block}")
    assert found.reveal() == "secret of web-password"


def test_the_schema_documents_every_key_of_a_host() -> None:
    schema = json.loads(json.dumps(json_schema()))
    host = schema["$defs"]["Host"]
    assert host["additionalProperties"] is False and "name" not in host["properties"]
    assert "expendable" in host["properties"] and "address" in host["required"]
    for name in ("RedfishMachine", "PsrpShell", "SshShell", "SmbSettings", "Timeouts"):
        keys = schema["$defs"][name]["properties"]
        undocumented = [k for k, v in keys.items() if "description" not in v and k not in ("kind", "port")]
        assert undocumented == []
