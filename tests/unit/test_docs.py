"""Reference pages name everything there is, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.inventory import json_schema

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_inventory_key_is_on_its_page() -> None:
    page = (ROOT / "docs/reference/inventory.md").read_text("utf-8")
    schema = json_schema()["$defs"]
    rooms = (
        "Host",
        "RedfishMachine",
        "IpmiMachine",
        "FixedMachine",
        "PsrpShell",
        "SshShell",
        "SmbSettings",
        "Timeouts",
    )
    rooms += ("VsphereMachine", "VcenterController")
    rooms += ("Pool", "Acceptance", "VsphereTemplate", "Customization", "CloneNetwork", "JoinDomain")
    rooms += ("InstallSettings", "InstallMedia", "InstallNetwork", "InstallTimeouts")
    keys = {key for room in rooms for key in schema[room]["properties"]}
    assert {key for key in keys if f"| `{key}` |" not in page} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_pictures_exist(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    local = [t for t in targets if "://" not in t]
    assert [t for t in local if not (page.parent / t).exists()] == []
