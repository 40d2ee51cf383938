"""Files of datastores: lists, and reading by position over the vCenter's own web server."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from pyVmomi import vim

from lab.machines.vsphere import Vcenter, find
from lab.machines.vsphere.faults import LOST
from lab.machines.vsphere.session import Session
from lab.model import ConfigurationError, InfrastructureError

PIECE = 1 << 20
"""Bytes that are handed on at a time."""

TRIES = 5
"""So often is a transfer taken up again without a single new byte."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a datastore. `path` as vSphere writes it: "[datastore] folder/name"."""

    path: str
    length: int
    modified: datetime | None
    """With a time zone, by the datastore's clock."""

    datacenter: str
    """Inventory path of the datacenter that the datastore is looked for in."""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def split(path: str) -> tuple[str, str]:
    """Datastore and path of "[datastore] folder/name". Raises ConfigurationError."""
    found = re.fullmatch(r"\[([^\]]+)\] ?(.*)", path)
    if found is None:
        raise ConfigurationError(
            f"'{path}' is no path of a datastore", help="Write '[datastore] folder/name'."
        )
    return found[1], found[2].strip("/")


def folder_of(vcenter: Vcenter, vm: Any) -> str:
    """Where a machine writes its logs, as "[datastore] folder"."""
    files = vcenter.session.read(lambda: vm.config.files, "the places of a machine's files")
    return str(files.logDirectory or files.vmPathName.rpartition("/")[0]).rstrip("/")


def listing(
    vcenter: Vcenter, vm: Any, folder: str, *patterns: str, seconds: float = 60
) -> tuple[StoredFile, ...]:
    """Files of a folder on one of the machine's datastores whose names match, by name.

    Raises ConfigurationError when the machine has no such datastore, VcenterFault when there is no folder.
    """
    session = vcenter.session
    wanted, _ = split(folder)
    stores = session.read(lambda: {each.name: each for each in vm.datastore}, "a machine's datastores")
    if wanted not in stores:
        raise ConfigurationError(
            f"the machine has no files on a datastore '{wanted}'",
            help=f"Its datastores: {find.shown(wanted, stores)}.",
        )
    browser = session.read(lambda: stores[wanted].browser)
    types = vim.host.DatastoreBrowser
    spec = types.SearchSpec(
        details=types.FileInfo.Details(fileSize=True, modification=True, fileType=False, fileOwner=False),
        matchPattern=list(patterns) or ["*"],
    )
    start = partial(browser.SearchDatastore_Task, folder, spec)
    found = vcenter.tasks.run(start, f"the list of {folder}", seconds, limit="connect")
    datacenter = find.path_of(session, find.datacenter_of(session, vm))
    files = [
        StoredFile(f"{folder}/{each.path}", each.fileSize or 0, each.modification, datacenter)
        for each in found.file or ()
    ]
    return tuple(sorted(files, key=lambda each: each.name))


class DatastoreFile:
    """A file that is read by position; for one thread at a time. It may grow meanwhile, but not shrink.

    Raises InfrastructureError when it cannot be read, or is another, shorter one by now.
    """

    def __init__(self, session: Session, stored: StoredFile) -> None:
        store, path = split(stored.path)
        query = {"dcPath": stored.datacenter.strip("/"), "dsName": store}
        self._url = f"/folder/{quote(path)}?{urlencode(query, quote_via=quote)}"
        self._session = session
        self.path = stored.path
        self.length = stored.length

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes; fewer only at the end of the file."""
        return b"".join(self.stream(offset, size))

    def stream(self, offset: int, size: int) -> Iterator[bytes]:
        """The same in pieces. A connection that breaks is made anew, and goes on where the last one ended."""
        end = min(offset + size, self.length)
        tries = 0
        while offset < end:
            before = offset
            why = "it ended too early"
            try:
                for piece in self._pieces(offset, end):
                    offset += len(piece)
                    yield piece
            except LOST as error:
                why = " ".join(str(error).split())[:200] or type(error).__name__
            tries = 0 if offset > before else tries + 1
            if offset < end and tries >= TRIES:
                raise InfrastructureError(
                    f"{self.path} of {self._session.url} cannot be read at {offset:#x}: {why}",
                    help="Look at the datastore, and at the connection to the vCenter and its ESXi hosts.",
                )

    def close(self) -> None:
        """Nothing is held open between two reads."""

    def _pieces(self, offset: int, end: int) -> Iterator[bytes]:
        with self._session.get(self._url, {"Range": f"bytes={offset}-{end - 1}"}) as answer:
            self._check(answer, offset)
            left = end - offset
            while left > 0 and (piece := answer.read(min(PIECE, left))):
                left -= len(piece)
                yield piece

    def _check(self, answer: http.client.HTTPResponse, offset: int) -> None:
        here = f"{self.path} of {self._session.url}"
        if answer.status == http.client.NOT_FOUND:
            raise InfrastructureError(f"{here} is not there any more")
        said = answer.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", said)
        beyond = answer.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE
        if beyond or (found is not None and int(found[3]) < self.length):
            raise InfrastructureError(f"{here} is shorter than before: it was replaced", help="Begin anew.")
        if answer.status == http.client.OK and offset == 0:
            return
        if answer.status == http.client.PARTIAL_CONTENT and found and int(found[1]) == offset:
            return
        raise InfrastructureError(
            f"{here} is not handed out from {offset:#x} on (status {answer.status} {said})".rstrip()
        )
