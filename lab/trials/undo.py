"""Every change to a guest is journalled first as its inverse: a named script and its parameters."""

from __future__ import annotations

from collections.abc import Sequence

from lab.model import CrashControl, Driver, VerifierState
from lab.trials.bench import Bench
from lab.windows import undo


def remember_as_found(
    bench: Bench, drivers: Sequence[Driver], verifier: VerifierState, crash_control: CrashControl
) -> None:
    """Write down how this host was found, before anything of it is changed.

    A host that still has undo entries is not as it was found; theirs stay the truth and nothing is added.
    """
    if bench.journal.undo_pending(bench.host.name):
        return
    for what, script, parameters in undo.as_found(drivers, verifier, crash_control):
        bench.journal.undo_push(bench.host.name, what, script.name, dict(parameters))
