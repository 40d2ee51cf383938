"""Objects of a simulated vCenter: found, or missed with a sentence on what there is instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from vsphere_lab import NAME, PATH, running, session_of

from lab.machines.vsphere import Session, find, tags
from lab.model import ConfigurationError

UUID = "42424242-1111-2222-3333-444444444444"


def test_a_machine_by_path_uuid_and_name(session: Session) -> None:
    vm = find.machine(session, PATH)
    config = session.read(lambda: vm.config)
    for wanted in (NAME, f"DC0/vm/{NAME}", config.uuid, config.instanceUuid.upper()):
        assert find.machine(session, wanted) == vm
    assert find.path_of(session, vm) == PATH
    assert session.read(lambda: find.datacenter_of(session, vm).name) == "DC0"


@pytest.mark.parametrize(
    ("look", "says", "knows"),
    [
        (lambda s: find.machine(s, "/DC0/vm/lab/x"), "there is no 'lab' in /DC0/vm", "In /DC0/vm are: "),
        (lambda s: find.machine(s, "/DC9/vm/x"), "there is no 'DC9' in /", "In / are: DC0."),
        (lambda s: find.machine(s, "ws2018"), "has no virtual machine 'ws2018'", "Known: ws2019, ws2022"),
        (lambda s: find.machine(s, "/DC0/vm"), "/DC0/vm in .* is no virtual machine but a Folder", "ws2019"),
        (
            lambda s: find.machine(s, "42" * 4 + "-1111-2222-3333-" + "4" * 12),
            "no virtual machine with",
            "path",
        ),
        (lambda s: find.template(s, NAME), f"'{NAME}' in .* is a virtual machine and not", "ws2019, ws2022"),
        (lambda s: find.network(s, "VM network"), "has no network 'VM network'", "VM Network"),
        (lambda s: find.storage(s, "ssd"), "has no datastore or datastore cluster 'ssd'", "Known: LocalDS_0"),
        (lambda s: find.folder(s, "/DC0/vm/lab"), "there is no 'lab' in /DC0/vm", "templates"),
        (
            lambda s: find.resource_pool(s, "Resources"),
            "has 2 objects of the kind resource pool",
            "/DC0/host/",
        ),
        (
            lambda s: find.snapshot(s, find.template(s, "ws2019"), "bas"),
            "/DC0/vm/templates/ws2019 has no snapshot 'bas'",
            "Its snapshots: base.",
        ),
    ],
)
def test_what_is_missing_is_named_with_what_there_is(
    session: Session, look: Callable[[Session], object], says: str, knows: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        look(session)
    assert knows in caught.value.help


def test_what_is_there_is_found(session: Session) -> None:
    template = find.template(session, "/DC0/vm/templates/ws2019")
    assert find.snapshot(session, template, "base").name == "base"
    for kind, wanted in (
        (find.network, "VM Network"),
        (find.network, "/DC0/network/DC0_DVPG0"),
        (find.storage, "LocalDS_0"),
        (find.folder, "templates"),
        (find.resource_pool, "/DC0/host/DC0_C0/Resources"),
    ):
        found = kind(session, wanted)
        assert session.read(lambda found=found: found.name) == wanted.rpartition("/")[2]


def test_at_most_eight_names_are_shown(tmp_path: Path) -> None:
    with running(tmp_path, vms=8) as vcenter, pytest.raises(ConfigurationError) as caught:
        find.machine(session_of(vcenter), "DC0_C0_RP0_VM9")
    assert caught.value.help.count("VM") == 8 and caught.value.help.endswith("and 8 more.")
    assert caught.value.help.startswith("Known: DC0_C0_RP0_VM")  # those that look like it first


def rest(session: Session, method: str, path: str, headers: dict[str, str], **body: Any) -> Any:
    path = f"/rest/com/vmware/cis{path}"
    made = session.request(method, path, headers, body=json.dumps(body).encode(), log_on=not headers)
    with made as answer:
        return (json.loads(answer.read() or b"{}") or {}).get("value")


def make_tag(session: Session, category: str, name: str, machines: list[str]) -> None:
    """As an administrator does."""
    headers = {"vmware-api-session-id": rest(session, "POST", "/session", {})}
    spec = {"name": category, "description": "", "cardinality": "MULTIPLE", "associable_types": []}
    of = rest(session, "POST", "/tagging/category", headers, create_spec=spec)
    spec = {"name": name, "description": "", "category_id": of}
    tag = rest(session, "POST", "/tagging/tag", headers, create_spec=spec)
    for machine in machines:
        where = {"type": "VirtualMachine", "id": find.machine(session, machine)._moId}
        path = f"/tagging/tag-association/id:{tag}?~action=attach"
        rest(session, "POST", path, headers, object_id=where)


def test_a_machine_by_its_tag(session: Session) -> None:
    make_tag(session, "lab", "one", [NAME])
    make_tag(session, "lab2", "many", [NAME, "DC0_C0_RP0_VM1"])
    vm = find.machine(session, PATH)
    assert find.machine(session, "tag:one") == find.machine(session, "tag:lab/one") == vm
    assert {session.read(lambda m=m: m.name) for m in tags.machines(session, "many")} == {
        NAME,
        "DC0_C0_RP0_VM1",
    }
    with pytest.raises(ConfigurationError, match="has 2 virtual machines with the tag 'many'") as caught:
        find.machine(session, "tag:many")
    assert PATH in caught.value.help
    with pytest.raises(ConfigurationError, match="has no tag 'lab/two'") as caught:
        find.machine(session, "tag:lab/two")
    assert caught.value.help == "Known tags: lab/one, lab2/many."
    make_tag(session, "other", "one", [])
    with pytest.raises(ConfigurationError, match="has 2 tags 'one'") as caught:
        find.machine(session, "tag:one")
    assert caught.value.help == "Known tags: lab/one, other/one."
