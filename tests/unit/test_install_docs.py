"""The reference of an installation's settings names every key."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from lab.inventory.install import InstallMedia, InstallNetwork, InstallSettings, InstallTimeouts

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "install.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("install", InstallSettings),
        ("install.media", InstallMedia),
        ("install.network", InstallNetwork),
        ("install.timeouts", InstallTimeouts),
    ],
)
def test_keys_and_defaults(heading: str, model: type[BaseModel]) -> None:
    section = PAGE[PAGE.index(f"## `{heading}`\n") :].partition("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    said = {row[1].strip(" `"): row[3].strip(" `") for row in rows}
    assert set(said) == set(model.model_fields)
    for key, field in model.model_fields.items():
        assert (said[key] == "required") == field.is_required(), key
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert float(said[key]) == field.default, key
