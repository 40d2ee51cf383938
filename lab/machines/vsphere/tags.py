"""Virtual machines by vSphere tags, over the vCenter's REST interface: the SOAP interface has no tags."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from pyVmomi import vim

from lab.machines.vsphere.session import Session
from lab.model import ConfigurationError, InfrastructureError

MOST_ANSWER = 16 << 20
"""Bytes of one answer."""

HELP = "Tags need a vCenter with this REST interface; name the machine by its path or UUID instead."

_CIS = "/rest/com/vmware/cis"


def machines(session: Session, tag: str) -> list[Any]:
    """The virtual machines that have a tag, "NAME" or "CATEGORY/NAME".

    Raises ConfigurationError when there is no such tag, or several; InfrastructureError.
    """
    with _log_on(session) as ask:
        try:
            known = dict(_tags(ask))
        except (KeyError, TypeError):
            raise InfrastructureError(f"{session.url} tells its tags in an unknown form", help=HELP) from None
        found = [identity for identity, name in known.items() if tag in (name, name.partition("/")[2])]
        if len(found) != 1:
            names = sorted(known.values())
            what = f"has {len(found)} tags '{tag}'" if found else f"has no tag '{tag}'"
            shown = ", ".join(name for name in names if not found or name.endswith(f"/{tag}"))[:500]
            raise ConfigurationError(f"{session.url} {what}", help=f"Known tags: {shown or 'none'}.")
        path = f"/tagging/tag-association/id:{quote(found[0])}?~action=list-attached-objects"
        attached = [(each.get("type"), each.get("id")) for each in ask("POST", path) or []]
    return [session.object(vim.VirtualMachine, str(id)) for kind, id in attached if kind == "VirtualMachine"]


def _tags(ask: Any) -> Iterator[tuple[str, str]]:
    """Identity and CATEGORY/NAME of every tag."""
    categories: dict[str, str] = {}
    for identity in ask("GET", "/tagging/tag") or []:
        tag = ask("GET", f"/tagging/tag/id:{quote(identity)}")
        of = tag["category_id"]
        if of not in categories:
            categories[of] = ask("GET", f"/tagging/category/id:{quote(of)}")["name"]
        yield identity, f"{categories[of]}/{tag['name']}"


@contextmanager
def _log_on(session: Session) -> Iterator[Any]:
    """A function that asks within a session of REST's own."""
    headers = {"vmware-api-session-id": _asked(session, "POST", "/session", {}, log_on=True)}
    try:
        yield lambda method, path: _asked(session, method, path, headers)
    finally:
        _asked(session, "DELETE", "/session", headers)


def _asked(session: Session, method: str, path: str, headers: dict[str, str], *, log_on: bool = False) -> Any:
    body = b"{}" if method == "POST" else None
    with session.request(
        method, _CIS + path, {"Content-Type": "application/json", **headers}, body=body, log_on=log_on
    ) as answer:
        text = answer.read(MOST_ANSWER)
        if answer.status != http.client.OK:
            raise InfrastructureError(
                f"{session.url} answered {answer.status} {answer.reason} to {method} {_CIS}{path}",
                help=HELP,
            )
    try:
        return json.loads(text)["value"] if text else None
    except (ValueError, KeyError, TypeError):
        raise InfrastructureError(
            f"{session.url} answered to {method} {_CIS}{path} in another form than it should", help=HELP
        ) from None
