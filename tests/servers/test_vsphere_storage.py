"""Clones in a datastore cluster, against a simulated vCenter.

What the simulator does not show: it recommends every datastore of the cluster, whatever a clone needs; ours
(tests/servers/vcsim) only puts the emptiest first. So nothing here proves how Storage DRS weighs space and
load, spreads clones that begin at the same time, keeps rules of affinity, or words its reasons; nor that a
linked clone may lie on another datastore than its parent: the simulator leaves disks where they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyVmomi", reason="no pyvmomi: install the extra 'vsphere'")

from pyVmomi import vim
from vcsim import Vcsim
from vsphere_clones import POOL, RUN, TOMORROW, answering, clones_of, customized, linked, order
from vsphere_lab import LONG, running, session_of

from lab.machines.vsphere import Session, Tasks, VcenterFault, clone, find, storage
from lab.machines.vsphere.files import split
from lab.model import ConfigurationError, InfrastructureError

CLUSTER = "DC0_POD0"
GIB = 1 << 30


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Vcsim]:
    """A vCenter with LocalDS_0, and with LocalDS_1 and LocalDS_2 in a datastore cluster."""
    with running(tmp_path, templates=["ws2019"], pod=["LocalDS_1", "LocalDS_2"]) as vcenter:
        answering(vcenter, "srv1", "srv2")
        vcenter.control(free={"LocalDS_0": 100, "LocalDS_1": 5, "LocalDS_2": 12})
        yield vcenter


@pytest.fixture
def connected(pods: Vcsim) -> Iterator[Session]:
    session = session_of(pods)
    yield session
    session.close()


def wanted(name: str = "srv1", **change: Any) -> Any:
    """A linked clone that needs 3 GiB: 2 to begin with, 1 to swap."""
    return linked(name, datastore=CLUSTER, memory_mb=1024, **change)


def lies_on(session: Session, path: str) -> str:
    """The datastore with the machine's own files."""
    vm = find.machine(session, path)
    return split(session.read(lambda: vm.config.files.vmPathName))[0]


def test_a_clone_goes_where_storage_drs_recommends(pods: Vcsim, connected: Session) -> None:
    clones = clones_of(connected)
    made = clones.make(wanted(), RUN, TOMORROW)
    assert lies_on(connected, made.path) == "LocalDS_2"  # the emptier one
    pods.control(free={"LocalDS_2": 4})
    full = clones.make(order("srv2", datastore=f"/DC0/datastore/{CLUSTER}"), RUN, TOMORROW)
    assert lies_on(connected, full.path) == "LocalDS_1"
    assert len(pods.calls("RecommendDatastores")) == 2
    assert clones.unmake(made.path) and clones.unmake(full.path)


def test_a_datastore_by_name_is_taken_as_it_is(pods: Vcsim, connected: Session) -> None:
    clones = clones_of(connected)
    made = clones.make(linked(datastore="LocalDS_1", memory_mb=1024), RUN, TOMORROW)
    assert lies_on(connected, made.path) == "LocalDS_1" and not pods.calls("RecommendDatastores")
    assert clones.unmake(made.path)


def test_space_is_that_of_whole_machines_on_single_datastores(pods: Vcsim, connected: Session) -> None:
    """5 and 12 GiB have room for 1 + 4 machines of 3 GiB, though 17 GiB would be enough for 5.67."""
    clones = clones_of(connected)
    clones.check(wanted(), 5)
    free = r"has 5\.0 GiB free on LocalDS_1, 12\.0 GiB free on LocalDS_2"
    with pytest.raises(InfrastructureError, match=rf"^the datastore cluster {CLUSTER} {free}, and 6 mach"):
        clones.check(wanted(), 6)
    with pytest.raises(InfrastructureError, match=r"srv1 would need 14\.0 GiB each on one of them$"):
        clones.check(linked(datastore=CLUSTER, memory_mb=12 << 10))
    assert not pods.calls("RecommendDatastores") and not pods.calls("CloneVM_Task")


def test_a_cluster_that_is_not_there_is_named_with_what_is(connected: Session) -> None:
    with pytest.raises(ConfigurationError, match="no datastore or datastore cluster 'DC0_POD'") as caught:
        clones_of(connected).check(linked(datastore="DC0_POD"))
    assert caught.value.help == f"Known: {CLUSTER}, LocalDS_0, LocalDS_1, LocalDS_2."
    with pytest.raises(ConfigurationError, match="is no datastore or datastore cluster but a Folder"):
        clones_of(connected).check(linked(datastore="/DC0/datastore"))


def test_a_cluster_without_storage_drs(connected: Session) -> None:
    cluster = find.storage(connected, CLUSTER)
    manager = connected.content.storageResourceManager
    off = vim.storageDrs.ConfigSpec(podConfigSpec=vim.storageDrs.PodConfigSpec(enabled=False))
    Tasks(connected).run(lambda: manager.ConfigureStorageDrsForPod_Task(cluster, off, True), "off", LONG)
    with pytest.raises(ConfigurationError, match=rf"Storage DRS is off for .* {CLUSTER} of") as caught:
        clones_of(connected).check(wanted())
    assert caught.value.help == "Turn it on, or name one of its datastores: LocalDS_1, LocalDS_2."


def test_a_cluster_that_the_hosts_do_not_reach(connected: Session) -> None:
    cluster, pool = find.storage(connected, CLUSTER), find.resource_pool(connected, POOL)
    with pytest.raises(ConfigurationError, match=f"{POOL} reach no datastore of the .* {CLUSTER}") as caught:
        storage._members(connected, cluster, CLUSTER, pool, {})
    assert "LocalDS_1, LocalDS_2" in caught.value.message


@pytest.mark.parametrize("method", ["RecommendDatastores", "CloneVM_Task"])
def test_a_fault_of_it_leaves_nothing(pods: Vcsim, connected: Session, method: str) -> None:
    pods.control(faults=[{"method": method, "fault": "NoDiskSpace", "message": "It is full."}])
    with pytest.raises(VcenterFault, match=r"It is full\. \(NoDiskSpace\)$"):
        clones_of(connected).make(wanted(), RUN, TOMORROW)
    with pytest.raises(ConfigurationError):
        find.machine(connected, "srv1")


def test_storage_drs_that_recommends_nothing_says_why(connected: Session) -> None:
    """Played: the simulator always recommends something."""
    fault = vim.fault.NoDiskSpace(msg="Not enough room for the disk.", datastore="LocalDS_1", file="x")
    of_vm = vim.cluster.DrsFaults.FaultsByVm(fault=[fault])
    nothing = vim.storageDrs.StoragePlacementResult(
        drsFault=vim.cluster.DrsFaults(reason="storagePlacement", faultsByVm=[of_vm])
    )
    assert storage._reason(nothing.drsFault) == ": Not enough room for the disk."
    assert storage._reason(vim.cluster.DrsFaults(reason="other")) == ": other"
    assert storage._reason(None) == ""


def test_what_storage_drs_is_told_has_no_password(pods: Vcsim, connected: Session) -> None:
    spec = clone.placement(clones_of(connected).check(customized(datastore=CLUSTER)))
    assert spec.customization is None and spec.config is None and spec.snapshot is not None
