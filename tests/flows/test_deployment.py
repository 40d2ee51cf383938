"""`prefect.yaml` really loads: deployed by Prefect's own command into a database of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lab.cli import engine

ROOT = Path(__file__).parents[2]


def prefect(url: str, *arguments: str) -> None:
    environment = {
        **os.environ,
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
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


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_deployments_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with engine.running():
        from prefect.client.orchestration import get_client
        from prefect.settings import PREFECT_API_URL

        url = PREFECT_API_URL.value()
        prefect(url, "work-pool", "create", "lab", "--type", "process")
        prefect(url, "deploy", "--all")
        with get_client(sync_client=True) as client:
            soak = client.read_deployment_by_name("soak/nightly")
            provision = client.read_deployment_by_name("provision/hosts")
    assert [each.schedule.model_dump()["cron"] for each in soak.schedules] == ["0 22 * * 1-5"]
    assert soak.entrypoint == "flows/soak.py:soak"
    assert provision.entrypoint == "flows/provision.py:provision"
    # parameters of the flow, which Prefect has checked
    assert provision.parameters.keys() >= {"what", "inventory", "count"}
