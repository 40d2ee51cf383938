"""Ownership marks, and cleaning up after interrupted runs, against a simulated vCenter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from cli_runs import lab_in
from pyVmomi import vim
from vcsim import PASSWORD, USER, Vcsim
from vsphere_clones import LAB, POOL, RUN, TOMORROW, YESTERDAY, answering, clones_of, linked, machines
from vsphere_lab import LONG

from lab.journal import open_journal
from lab.machines.vsphere import Session, Tasks, find, marks
from lab.machines.vsphere.marks import Mark
from lab.machines.vsphere.reap import Known, Orphan, reap
from lab.model import InfrastructureError, PowerState

NOW = datetime.now(UTC)


def nobody() -> Known:
    return Known(frozenset())


@pytest.fixture
def srv1(vcenter: Vcsim, session: Session) -> Any:
    answering(vcenter, "srv1")
    return find.machine(session, clones_of(session).make(linked(), RUN, TOMORROW).path)


def test_marks_are_custom_attributes_that_people_see(session: Session, srv1: Any) -> None:
    fields = session.read(lambda: session.content.customFieldsManager.field)
    names = {each.key: each.name for each in fields}
    shown = session.read(lambda: {names[each.key]: each.value for each in srv1.customValue})
    until = TOMORROW.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert shown == {
        "bugcheck-lab.owner": LAB,
        "bugcheck-lab.run": RUN,
        "bugcheck-lab.host": "srv1",
        "bugcheck-lab.until": until,
    }
    (found,) = marks.marked(session, LAB)
    assert found.until == TOMORROW.replace(microsecond=0) and found.power is PowerState.ON
    assert marks.marked(session, "another lab") == ()


@pytest.mark.parametrize(
    ("known", "now", "why"),
    [
        (Known(frozenset({"srv1"})), NOW, ""),
        (Known(frozenset(), going=frozenset({RUN})), NOW, ""),  # it is being made
        (Known(frozenset({"srv1"}), over=frozenset({"other"})), NOW, ""),
        (Known(frozenset({"srv2"}), going=frozenset({"other"})), NOW, "no inventory knows it"),
        (Known(frozenset({"srv1"}), over=frozenset({RUN})), NOW, f"its run {RUN} is over"),
        (
            Known(frozenset({"srv1"}), going=frozenset({RUN})),
            TOMORROW + timedelta(hours=1),
            f"it was wanted until {TOMORROW:%Y-%m-%d %H:%M} UTC",
        ),
    ],
)
def test_what_is_an_orphan(session: Session, srv1: Any, known: Known, now: datetime, why: str) -> None:
    vcenter = clones_of(session).vcenter
    found = reap(vcenter, LAB, lambda: known, now, dry_run=True)
    assert [each.why for each in found] == ([why] if why else [])
    assert "srv1" in machines(session)
    assert reap(vcenter, LAB, lambda: known, now) == found
    assert ("srv1" in machines(session)) is not bool(why)


def test_one_in_use_is_left_and_said(session: Session, srv1: Any) -> None:
    """In use as of the list, or since: then it cannot be leased."""
    vcenter = clones_of(session).vcenter
    used = Known(frozenset({"srv1"}), busy={"srv1": "leased by me until noon"})
    (left,) = reap(vcenter, LAB, lambda: used, TOMORROW + timedelta(1))
    assert (left.host, left.error) == ("srv1", "leased by me until noon")

    def take(orphan: Orphan, delete: Callable[[], None]) -> None:
        raise InfrastructureError(f"host {orphan.host} is leased")

    (left,) = reap(vcenter, LAB, nobody, NOW, take=take)
    assert left.error == "host srv1 is leased" and "srv1" in machines(session)


def test_a_machine_that_is_written_down_meanwhile_is_none(session: Session, srv1: Any) -> None:
    """What is known is asked after what is there: a host is written down before it is made."""
    asked: list[int] = []
    read = marks.marked

    def known() -> Known:
        asked.append(len(listed))
        return Known(frozenset({"srv1"}))

    listed: list[object] = []

    def marked(*which: Any) -> Any:
        listed.append(which)
        return read(*which)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marks, "marked", marked)
        assert reap(clones_of(session).vcenter, LAB, known, NOW) == ()
    assert asked == [1]


def test_machines_without_our_marks_are_never_touched(vcenter: Vcsim, session: Session, srv1: Any) -> None:
    strangers = machines(session) - {"srv1"}
    other = clones_of(session, lab="another lab")
    answering(vcenter, "srv2")
    other.make(linked("srv2"), RUN, YESTERDAY)
    reap(clones_of(session).vcenter, LAB, nobody, TOMORROW + timedelta(days=9))
    assert machines(session) == strangers | {"srv2"}


def test_what_people_made_of_our_machine_is_theirs(vcenter: Vcsim, session: Session, srv1: Any) -> None:
    """A clone of ours has copies of our marks; a renamed one or a template is wanted."""
    tasks = Tasks(session)
    folder = find.folder(session, "/DC0/vm")
    where = vim.vm.RelocateSpec(pool=find.resource_pool(session, POOL))
    spec = vim.vm.CloneSpec(location=where, config=vim.vm.ConfigSpec(annotation=srv1.config.annotation))
    copy = tasks.run(lambda: srv1.CloneVM_Task(folder, "mine", spec), "a copy", LONG)
    marks.put(session, copy, Mark(LAB, RUN, "srv1", TOMORROW))
    tasks.run(lambda: srv1.Rename_Task("kept"), "another name", LONG)
    assert reap(clones_of(session).vcenter, LAB, nobody, TOMORROW) == ()
    tasks.run(lambda: srv1.Rename_Task("srv1"), "its name", LONG)
    tasks.run(srv1.PowerOffVM_Task, "power off", LONG)
    session.act(srv1.MarkAsTemplate, "a template")
    assert reap(clones_of(session).vcenter, LAB, nobody, TOMORROW) == ()
    assert {"mine", "srv1"} <= machines(session)


def test_custom_attributes_overrule_the_notes(session: Session, srv1: Any) -> None:
    """So a machine can be kept in the vSphere Client."""
    marks.put(session, srv1, Mark("ours, keep it", RUN, "srv1", TOMORROW))
    assert reap(clones_of(session).vcenter, LAB, nobody, TOMORROW) == ()


def test_notes_that_people_wrote_in_are_still_read(session: Session, srv1: Any) -> None:
    marks.put(session, srv1, Mark("", "", "", TOMORROW))  # as if they had never been set
    keys = {each.key for each in session.content.customFieldsManager.field}
    for key in keys:
        session.act(lambda key=key: session.content.customFieldsManager.RemoveCustomFieldDef(key), "removal")
    notes = session.read(lambda: srv1.config.annotation)
    spec = vim.vm.ConfigSpec(annotation=f"Ask before use!\n{notes}\nIt is slow.")
    Tasks(session).run(lambda: srv1.ReconfigVM_Task(spec), "notes", LONG)
    (found,) = marks.marked(session, LAB)
    assert (found.run, found.host) == (RUN, "srv1")


@pytest.mark.parametrize("notes", ["", marks.NOTES, f"{marks.NOTES}[1]", f"{marks.NOTES}" + '{"owner": 7}'])
def test_notes_that_are_none_of_ours(session: Session, notes: str) -> None:
    vm = find.machine(session, "DC0_H0_VM0")
    spec = vim.vm.ConfigSpec(annotation=notes)
    Tasks(session).run(lambda: vm.ReconfigVM_Task(spec), "notes", LONG)
    assert marks.mark_of(session, vm) is None
    assert marks.marked(session, LAB) == ()


# The command


INVENTORY = """\
controllers:
  vc: {{kind: vcenter, url: "{url}", user: "{user}", password: {{env: VC_PASSWORD}}, ca_file: vcenter.pem}}
hosts:
  srv2:
    address: 192.0.2.1
    machine: {{kind: vsphere, controller: vc, vm: srv2}}
    guest: {{shell: {{kind: psrp, user: crash, password: {{env: GUEST}}}}}}
"""


def test_the_command_deletes_what_nobody_knows(
    vcenter: Vcsim,
    session: Session,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VC_PASSWORD", PASSWORD)
    (lab,) = lab_in(tmp_path, monkeypatch, capsys)
    inventory = tmp_path / "lab.yaml"
    inventory.write_text(INVENTORY.format(url=vcenter.url, user=USER))
    names = [f"srv{n}" for n in range(1, 6)]
    answering(vcenter, *names)
    data = tmp_path / "data"
    data.mkdir()
    with open_journal(data / "journal.db") as journal:
        clones = clones_of(session, lab=journal.lab_id())
        journal.provision_ready(journal.provision_begin("srv3", "pool", "a clone", "me"))
        journal.acquire("srv4", "elsewhere:1", 60)
    for name in names:
        clones.make(linked(name), RUN, TOMORROW)
    reaping = ("machine", "reap", "--data", data, "-i", inventory)
    orphans = [f"/DC0/vm/templates/{name}" for name in ("srv1", "srv5")]
    said = [f"{path} would be taken back: no inventory knows it" for path in orphans]
    used = "/DC0/vm/templates/srv4 is left: no inventory knows it, and leased by elsewhere:1 until "
    tried = lab(*reaping, "--dry-run")
    assert tried.code == 4 and [tried.lines[0], tried.lines[2]] == said and tried.lines[1].startswith(used)
    assert set(names) <= machines(session)
    vcenter.control(
        faults=[{"method": "Destroy_Task", "vm": "srv5", "fault": "ResourceInUse", "message": "x"}]
    )
    done = lab(*reaping)
    assert done.code == 4 and done.lines[0] == f"{orphans[0]} is taken back"
    assert done.lines[1].startswith(used)
    assert done.lines[2].startswith(f"{orphans[1]} is left: ") and "(ResourceInUse)" in done.lines[2]
    assert machines(session) & set(names) == {"srv2", "srv3", "srv4", "srv5"}
    vcenter.kill()
    done = lab(*reaping)
    assert done.code == 4 and "what is in vc is left: " in done.out and "could not be reached" in done.out
