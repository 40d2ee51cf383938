"""What importing brings in: nothing that takes long to load where an answer comes in less."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
before = set(sys.modules)
import lab.analysis
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))
"""


def test_importing_the_analyser_imports_no_other_package() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["lab"]


@pytest.mark.parametrize("module", ["lab.cli.main", "lab.cli.triage", "lab.cli.twin"])
def test_commands_that_do_not_search_bring_no_engine(module: str) -> None:
    program = f"import sys, {module}; print(*{{'numpy', 'prefect', 'lab.bisect'}} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
