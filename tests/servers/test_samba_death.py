"""A target that dies under the read load: killed, silent, or one connection of several."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from smbd import Smbd, after

from lab.model import LoadPlan, SystemClock
from lab.smb import run_load


@pytest.mark.parametrize(("profile", "when"), [("steady", 0.8), ("burst", 1.6)])
def test_a_killed_server_is_noticed_within_two_seconds(smbd: Smbd, profile: str, when: float) -> None:
    killed: list[float] = []

    def kill() -> None:
        smbd.kill()
        killed.append(time.monotonic())

    after(when + 0.1, kill)
    report = run_load(smbd.target(), LoadPlan(profile=profile, seconds=30), clock=SystemClock())
    assert time.monotonic() - killed[0] < 2.0
    assert report.target_died
    assert report.died_after is not None and 0 < report.died_after <= report.seconds + 1e-6
    assert report.reads_answered <= report.reads_sent <= report.reads_answered + 128


def test_one_connection_lost_is_made_again(smbd: Smbd) -> None:
    after(0.5, lambda: smbd.kill_one_connection())
    report = run_load(
        smbd.target(), LoadPlan(profile="steady", seconds=1.5, connections=4), clock=SystemClock()
    )
    assert not report.target_died
    assert report.seconds == pytest.approx(1.5, abs=0.4)
    lost = report.reads_sent - report.reads_answered
    assert 0 <= lost <= 8  # what one of four connections may have in flight


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


@pytest.mark.parametrize(("profile", "when"), [("steady", 0.7), ("burst", 1.6)])
def test_a_machine_that_falls_silent_is_noticed_within_two_seconds(
    smbd: Smbd, profile: str, when: float
) -> None:
    cable, pulled = Cable(smbd.port), list[float]()

    def pull() -> None:
        cable.pull()
        pulled.append(time.monotonic())

    after(when + 0.1, pull)
    report = run_load(
        smbd.target(port=cable.port), LoadPlan(profile=profile, seconds=30), clock=SystemClock()
    )
    assert time.monotonic() - pulled[0] < 2.3  # and the closing of connections that nobody answers
    cable.close()
    assert report.target_died and report.died_after is not None
    assert report.reads_answered <= report.reads_sent <= report.reads_answered + 128


def test_a_death_in_the_last_moment_is_told(smbd: Smbd) -> None:
    cable = Cable(smbd.port)
    after(0.9, cable.pull)
    report = run_load(
        smbd.target(port=cable.port), LoadPlan(profile="steady", seconds=1.0), clock=SystemClock()
    )
    cable.close()
    assert report.target_died and report.reads_sent > report.reads_answered
