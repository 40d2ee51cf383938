"""`prefect.yaml` really loads: deployed by Prefect's own command into a database of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def prefect(home: Path, *arguments: str) -> str:
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")},
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
        "COLUMNS": "200",
    }
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_deployments_load(tmp_path: Path) -> None:
    prefect(tmp_path, "work-pool", "create", "lab", "--type", "process")
    prefect(tmp_path, "deploy", "--all")
    shown = prefect(tmp_path, "deployment", "inspect", "soak/nightly")
    assert "0 22 * * 1-5" in shown
    assert "flows/soak.py:soak" in shown
    shown = prefect(tmp_path, "deployment", "inspect", "provision/hosts")
    assert "flows/provision.py:provision" in shown
    for name in ("what", "inventory", "count"):  # parameters of the flow, which Prefect has checked
        assert f"'{name}'" in shown
