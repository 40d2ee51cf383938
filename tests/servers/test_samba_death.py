"""A target that dies under the read load: killed, silent, stopped, or one connection of several.

Times are those of the report and of the deed, by one clock; limits leave room for a busy machine.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest
from smbd import Smbd, after

from lab.model import LoadPlan, LoadReport, SystemClock
from lab.smb import Progress, SmbTarget, Unreachable, run_load

SLOW_SECONDS = 15.0
"""Well above the two seconds in which a death is told, for machines that are busy with other things."""


def run_until(
    deed: Callable[[], object], target: SmbTarget, plan: LoadPlan, when: float
) -> tuple[LoadReport, float, float]:
    """The report of a load to which `deed` happens `when` seconds after its start; also the seconds of load
    at which it was done, and those from then to the report."""
    done: list[float] = []
    first: list[float] = []

    def look(progress: Progress) -> None:
        if not first:
            first.append(time.monotonic() - progress.seconds)
        if progress.seconds >= when and not done:
            done.append(time.monotonic())
            deed()

    report = run_load(target, plan, clock=SystemClock(), on_progress=look)
    assert done, "the load ended before the deed"
    return report, done[0] - first[0], time.monotonic() - done[0]


def assert_dead(report: LoadReport, deed: float, later: float) -> None:
    assert report.target_died and report.undelivered == ""
    assert report.died_after is not None
    assert report.died_after == pytest.approx(report.seconds)
    assert deed - 2.0 <= report.died_after <= deed + SLOW_SECONDS
    assert later < SLOW_SECONDS
    failed = sum(count for _, count in report.failed)
    assert report.reads_sent == report.reads_answered + failed + report.lost


@pytest.mark.parametrize(
    ("plan", "when"),
    [
        (LoadPlan("steady", seconds=90), 0.8),
        (LoadPlan("burst", seconds=90), 1.6),  # in its silence
        (LoadPlan("burst", seconds=90, connections=1), 0.3),
        (LoadPlan("wide-burst", seconds=90, connections=20), 1.0),  # one thread for all of them
        (LoadPlan("churn", seconds=90), 0.8),
        (LoadPlan("sessions", seconds=90), 0.8),
        (LoadPlan("mixed", seconds=90), 1.2),
    ],
    ids=lambda value: f"{value.profile}-{value.connections}" if isinstance(value, LoadPlan) else "",
)
def test_a_killed_server_is_dead(smbd: Smbd, plan: LoadPlan, when: float) -> None:
    report, deed, later = run_until(smbd.kill, smbd.target(), plan, when)
    assert_dead(report, deed, later)
    assert report.reads_answered > 10


def test_one_connection_lost_is_made_again(smbd: Smbd) -> None:
    plan = LoadPlan(profile="steady", seconds=2.5, connections=4)
    report, _, _ = run_until(smbd.kill_one_connection, smbd.target(), plan, 0.4)
    assert not report.target_died and report.undelivered == ""
    assert report.reconnects == 1
    assert 0 <= report.lost <= 8  # what one of four connections may have in flight
    assert report.reads_sent == report.reads_answered + report.lost


def test_a_lost_one_of_very_many_is_made_again(smbd: Smbd) -> None:
    plan = LoadPlan(profile="steady", seconds=2.5, connections=20)
    report, _, _ = run_until(smbd.kill_one_connection, smbd.target(), plan, 0.4)
    assert not report.target_died and report.undelivered == "" and report.reconnects == 1
    assert report.reads_sent == report.reads_answered + report.lost


class Cable:
    """Between client and server; can be pulled, so that both ends hear nothing more and no one answers."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._pulled = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def pull(self) -> None:
        self._pulled.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def close(self) -> None:
        if not self._pulled.is_set():
            self.pull()
        for end in self._ends:
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server))
            self._ends += [client, server]
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                if self._pulled.is_set():
                    return  # say nothing, close nothing: as a machine at its blue screen
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.mark.parametrize(
    ("profile", "connections", "when"),
    [("steady", 4, 0.7), ("burst", 4, 1.6), ("wide-burst", 20, 1.0), ("sessions", 4, 0.7)],
)
def test_a_machine_that_falls_silent_is_dead(smbd: Smbd, profile: str, connections: int, when: float) -> None:
    cable = Cable(smbd.port)
    plan = LoadPlan(profile, seconds=90, connections=connections)
    try:
        report, deed, later = run_until(cable.pull, smbd.target(port=cable.port), plan, when)
    finally:
        cable.close()
    assert_dead(report, deed, later)


@pytest.mark.parametrize("profile", ["steady", "burst"])
def test_a_stopped_server_is_dead_though_the_kernel_takes_connections_for_it(
    smbd: Smbd, profile: str
) -> None:
    try:
        report, deed, later = run_until(smbd.freeze, smbd.target(), LoadPlan(profile, seconds=90), when=0.7)
        assert_dead(report, deed, later)
        with socket.create_connection(("127.0.0.1", smbd.port), timeout=5):
            pass  # which is why that alone tells nothing
    finally:
        smbd.thaw()


def test_a_server_that_stops_for_a_moment_lives(smbd: Smbd) -> None:
    def hiccup() -> None:
        smbd.freeze()
        after(0.5, smbd.thaw)

    report, _, _ = run_until(hiccup, smbd.target(), LoadPlan("steady", seconds=2.5), 0.5)
    assert not report.target_died and report.undelivered == ""
    assert report.reads_answered == report.reads_sent and report.reconnects == 0


def test_a_stuck_connection_is_made_anew(smbd: Smbd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.smb.load.watch.STUCK_SECONDS", 1.0)
    plan = LoadPlan("steady", seconds=5.0)
    report, _, _ = run_until(smbd.freeze_one_connection, smbd.target(), plan, 0.5)
    assert not report.target_died and report.undelivered == ""
    assert report.reconnects == 1 and 0 < report.lost <= 8


def test_a_death_in_the_last_moment_is_told(smbd: Smbd) -> None:
    cable = Cable(smbd.port)
    plan = LoadPlan(profile="steady", seconds=1.2)
    try:
        report, _, _ = run_until(cable.pull, smbd.target(port=cable.port), plan, 0.7)
    finally:
        cable.close()
    assert report.target_died and report.reads_sent > report.reads_answered


def test_a_death_before_the_first_read_is_an_error(smbd: Smbd) -> None:
    target = smbd.target()
    smbd.kill()
    with pytest.raises(Unreachable, match="connection refused"):
        run_load(target, LoadPlan("steady", seconds=1.0), clock=SystemClock())
