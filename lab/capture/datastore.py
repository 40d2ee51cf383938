"""Memory files of a virtual machine as dumps: what a suspend or a checkpoint with memory leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

from lab.capture.source import DumpRef
from lab.machines.vsphere import Vcenter
from lab.machines.vsphere.files import DatastoreFile, StoredFile, folder_of, listing
from lab.model import InfrastructureError

MEMORY = ("*.vmem", "*.vmss", "*.vmsn")


class DatastoreSource:
    """See `lab.capture.source`: DumpSource, Repeatable. Every read is a request of its own to the vCenter."""

    def __init__(self, vcenter: Vcenter, vm: Any, patterns: Sequence[str] = MEMORY) -> None:
        """`vm` as `lab.machines.vsphere.find.machine` gives it."""
        self._vcenter = vcenter
        self._vm = vm
        self._patterns = tuple(patterns)

    def dumps(self) -> list[DumpRef]:
        return [_ref(each) for each in self._files()]

    def open(self, ref: DumpRef) -> DatastoreFile:
        """Raises InfrastructureError when the file is not there any more, or not the same."""
        for each in self._files():
            if _ref(each) == ref:
                return DatastoreFile(self._vcenter.session, each)
        raise InfrastructureError(f"{ref.name} is not on the datastore any more, or was written again")

    def close(self) -> None:
        """The session with the vCenter is others' too, and stays."""

    def another(self) -> Self:
        return type(self)(self._vcenter, self._vm, self._patterns)

    def _files(self) -> tuple[StoredFile, ...]:
        return listing(self._vcenter, self._vm, folder_of(self._vcenter, self._vm), *self._patterns)


def _ref(file: StoredFile) -> DumpRef:
    modified = file.modified.astimezone(UTC) if file.modified else datetime.fromtimestamp(0, UTC)
    return DumpRef(file.name, file.length, modified.isoformat())
