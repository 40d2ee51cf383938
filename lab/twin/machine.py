"""One simulated computer and the Windows on it: power, boots, stops, and what happens at each.

Threads: every public method may be called from any thread. What takes guest time runs on a thread of its
own, which gives up as soon as something else (power, a stop) has overtaken it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Protocol

from lab.twin.catalogue import FEWEST, drivers
from lab.twin.clock import GuestClock
from lab.twin.crash import CrashState, Stop
from lab.twin.defects import MISCELLANEOUS_CHECKS, defect_of
from lab.twin.disk import Disk
from lab.twin.eventlog import EventLog
from lab.twin.hidden import Hidden
from lab.twin.loading import load
from lab.twin.misbehaviour import Misbehaviour
from lab.twin.regionlog import RegionLog
from lab.twin.registry import CrashSettings, Registry
from lab.twin.stopping import ANY_THREAD, RunningKernel, crash_state, verified
from lab.twin.thirdparty import NOISY, TAMPER_PROTECTED
from lab.twin.workers import QueueCounts, StopRequest, Workers

PROCESSORS = 2
MEMORY_BYTES = 4 << 30
DUMP_PATH = r"C:\Windows\MEMORY.DMP"

# Guest seconds.
_SHUTDOWN = 5.0
_DUMPING = 20.0
_BOOTING = 40.0
_SLOW_BOOT_FACTOR = 8
_COPYING = 30.0  # how long the dump grows once the guest answers
_WINRM_REFUSES = 60.0

_HEARTBEAT = 0.02  # real seconds between looks at idle threads
_LEAST_SHUTDOWN = 0.3  # real seconds, so that the answer to the request gets out


class Down(ConnectionAbortedError):
    """The guest is not there to answer; the connection must break."""


class Phase(StrEnum):
    OFF = "off"
    STARTING = "starting"
    UP = "up"
    ENDING = "ending"  # a planned shutdown is under way
    STOPPED = "stopped"  # the blue screen
    STUCK = "stuck"  # cannot boot: 0x7B again and again


class Service(Protocol):
    """Something the guest serves over the network."""

    def open(self) -> None: ...
    def cut(self) -> None: ...


@dataclass(frozen=True)
class DumpWriter:
    """How a stop becomes a dump file, and what the event log says of it."""

    write: Callable[[CrashState, Path], None]
    parameters: Callable[[CrashState], tuple[int, tuple[int, int, int, int]]]


@dataclass(frozen=True)
class LastEnd:
    """How the last boot ended, for the next one's event log."""

    unusual: bool = False
    code: int = 0
    parameters: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass
class Machine:
    """Build it, add services to `smb` and `winrm`, then `power_on`."""

    build: int
    seed: int
    hidden: Hidden
    clock: GuestClock
    disk: Disk
    writer: DumpWriter
    misbehave: frozenset[Misbehaviour] = frozenset()
    third_party: int = FEWEST
    smb: Service | None = None
    winrm: Service | None = None

    def __post_init__(self) -> None:
        self.lock = threading.RLock()
        self._changed = threading.Condition(self.lock)
        self._dumping = threading.Lock()
        self._turn = 0  # grows whenever something overtakes what is going on
        self._ended = False
        random = Random(f"{self.seed}/machine")
        self.computer = f"LAB-{random.randrange(0x1000, 0x10000):04X}"
        self.uuid = str(uuid.UUID(int=random.getrandbits(128), version=4)).upper()
        self.boot_id = random.randrange(20, 400)
        self.registry = Registry(drivers(self.build, self.third_party))
        self.events = EventLog(random.randrange(3000, 9000))
        self.phase = Phase.OFF
        self.kernel: RunningKernel | None = None
        self.boots = 0
        self._last_known_good = self.registry.control_set()
        self._last = LastEnd()
        self._log = RegionLog("", random)
        self._workers = Workers(None, self._log, PROCESSORS, random)
        self.active_crash = CrashSettings()
        threading.Thread(target=self._heart, name="twin heart", daemon=True).start()

    # Power, as the management controller switches it

    def power_on(self) -> None:
        with self.lock:
            if self.phase is Phase.OFF:
                self._start()

    def power_off(self) -> None:
        with self.lock:
            self._pull_the_plug()
            self.phase = Phase.OFF

    def reset(self) -> None:
        with self.lock:
            self._pull_the_plug()
            self._start()

    def nmi(self) -> None:
        """Stop with 0x80, when there is a kernel to stop."""
        with self.lock:
            if self.phase in (Phase.UP, Phase.ENDING):
                self._stop(StopRequest(Stop.NMI, ANY_THREAD, 0, 0))

    def end(self) -> None:
        """The twin goes away: no more threads, no more services."""
        with self.lock:
            self._ended = True
            self._pull_the_plug()
            self.phase = Phase.OFF
        with self._dumping:
            pass  # a dump that is being written needs its folder until it is done

    @property
    def powered(self) -> bool:
        return self.phase is not Phase.OFF

    # What the guest does

    def restart(self, comment: str) -> None:
        """A planned restart. Raises Down."""
        self._end_windows(comment, self._start)

    def shut_down(self, comment: str) -> None:
        """A planned shutdown. Raises Down."""
        self._end_windows(comment, self._switch_off)

    def read(self, connection: int, waiting: int) -> None:
        """A READ of the data share, with `waiting` more behind it. Raises Down when it gets no answer."""
        with self.lock:
            if self.phase is not Phase.UP:
                raise Down
            request = self._workers.read(connection, waiting, self.clock.seconds())
            if request is not None:
                self._stop(request)
                raise Down

    def disconnected(self, connection: int) -> None:
        """A connection to the shares has ended, whoever ended it."""
        with self.lock:
            self._workers.ended(connection, self.clock.seconds())

    def queue_counts(self) -> QueueCounts:
        """The server's work queue, as it counts itself. Raises Down."""
        with self.lock:
            self._expect_up()
            return self._workers.counts(self.clock.seconds())

    def running(self) -> RunningKernel:
        """The kernel that answers. Raises Down."""
        with self.lock:
            self._expect_up()
            assert self.kernel is not None
            return self.kernel

    def _end_windows(self, comment: str, then: Callable[[], None]) -> None:
        with self.lock:
            self._expect_up()
            self.events.add(1074, "User32", self.clock.seconds(), text=comment)
            self.phase = Phase.ENDING
            self._timeline(lambda turn: self._shut_down(turn, then))

    # Inside, with the lock held

    def _expect_up(self) -> None:
        if self.phase not in (Phase.UP, Phase.ENDING):
            raise Down

    def _overtake(self) -> None:
        self._turn += 1
        self._changed.notify_all()
        for service in (self.smb, self.winrm):
            if service is not None:
                service.cut()

    def _pull_the_plug(self) -> None:
        if self.phase in (Phase.UP, Phase.ENDING):
            self._last = LastEnd(unusual=True)
        if self.phase is Phase.STUCK:  # the boot menu then offers the last known good configuration
            self.registry.go_back(self._last_known_good)
        self._overtake()

    def _switch_off(self) -> None:
        self.phase = Phase.OFF

    def _start(self) -> None:
        self.phase = Phase.STARTING
        self._timeline(self._boot)

    def _stop(self, request: StopRequest) -> None:
        assert self.kernel is not None
        state = crash_state(self.kernel, self.hidden, request, self._log.snapshot(), self.clock.seconds())
        code, parameters = self.writer.parameters(state)
        self._last = LastEnd(True, code, parameters)
        self._overtake()
        self.phase = Phase.STOPPED
        self._timeline(lambda turn: self._dump(turn, state))

    def _timeline(self, steps: Callable[[int], None]) -> None:
        turn = self._turn = self._turn + 1
        self._changed.notify_all()
        threading.Thread(target=steps, args=(turn,), name=f"twin {self.phase}", daemon=True).start()

    # Timelines: on their own threads, without the lock

    def _going_on(self, turn: int) -> bool:
        return self._turn == turn

    def _wait(self, turn: int, seconds: float) -> bool:
        """Let guest time pass. False when overtaken."""
        with self.lock:
            return not self._changed.wait_for(lambda: self._turn != turn, self.clock.real(seconds))

    def _shut_down(self, turn: int, then: Callable[[], None]) -> None:
        if self._wait(turn, max(_SHUTDOWN, _LEAST_SHUTDOWN * self.clock.speed)):
            with self.lock:
                if self._going_on(turn):
                    self._overtake()
                    self.events.add(6006, "EventLog", self.clock.seconds())
                    self._last = LastEnd()
                    then()

    def _dump(self, turn: int, state: CrashState) -> None:
        began = self.clock.seconds()
        enabled = self.active_crash.crash_dump_enabled in (1, 2, 7)
        if enabled and Misbehaviour.NO_DUMP not in self.misbehave:
            with self._dumping:
                if self._going_on(turn):
                    self.disk.keep_dump(lambda path: self.writer.write(state, path))
                if not self._going_on(turn):
                    self.disk.forget_dump()  # power was lost in the middle of it
        if not self._wait(turn, max(0.0, _DUMPING - (self.clock.seconds() - began))):
            return
        with self.lock:
            if self._going_on(turn) and self.active_crash.auto_reboot:
                self._start()

    def _boot(self, turn: int) -> None:
        slow = _SLOW_BOOT_FACTOR if Misbehaviour.SLOW_BOOT in self.misbehave else 1
        if not self._wait(turn, _BOOTING * slow):
            return
        with self._dumping, self.lock:
            if not self._going_on(turn) or not self._enter_windows():
                return
        if self._last_refused() and not self._wait(turn, _WINRM_REFUSES):
            return
        with self.lock:
            if self._going_on(turn):
                self._open(self.winrm, self.running().loaded.winrm)
        with self._dumping:
            if self._going_on(turn) and self.disk.has_dump():
                self.disk.copy_dump(
                    self.clock.real(_COPYING),
                    overwrite=bool(self.active_crash.overwrite),
                    going_on=lambda: self._going_on(turn),
                )

    def _last_refused(self) -> bool:
        return Misbehaviour.WINRM_REFUSES in self.misbehave and self.boots > 1

    def _enter_windows(self) -> bool:
        """With the lock held: the kernel starts. False when it cannot."""
        if Misbehaviour.DRIVER_STICKS in self.misbehave:
            self.registry.starts[TAMPER_PROTECTED] = self.registry.find(TAMPER_PROTECTED).start
        loaded = load(self.registry)
        if not loaded.boots or self.hidden.unbootable(loaded.services):
            self.phase = Phase.STUCK
            return False
        self._last_known_good = self.registry.control_set()
        now = self.clock.seconds()
        self.boots += 1
        self.boot_id += 1
        plan = self.registry.take_verifier_plan(unusual_shutdown=self._last.unusual)
        crash = self.registry.crash
        self.active_crash = CrashSettings(
            crash.crash_dump_enabled, crash.auto_reboot, crash.overwrite, crash.always_keep
        )
        self.kernel = RunningKernel(
            self.build, self.seed + self.boots, self.computer, PROCESSORS, loaded, plan, now
        )
        self._start_workers(self.kernel)
        self._write_boot_events(now)
        self._last = LastEnd()
        self.phase = Phase.UP
        self._open(self.smb, loaded.smb)
        return True

    def _start_workers(self, kernel: RunningKernel) -> None:
        random = Random(f"{self.seed}/boot/{self.boots}")
        logging = bool(kernel.verifier.flags & MISCELLANEOUS_CHECKS)
        noisy = self.registry.find(NOISY).image
        self._log = RegionLog(noisy if logging and noisy in verified(kernel) else "", random)
        defect = defect_of(self.hidden, kernel, random, self.clock.speed)
        self._workers = Workers(defect, self._log, PROCESSORS, random, kernel.booted)

    def _write_boot_events(self, now: float) -> None:
        add = self.events.add
        add(6005, "EventLog", now)
        if self._last.unusual:
            add(6008, "EventLog", now)
            code, parameters = self._last.code, self._last.parameters
            add(41, "Microsoft-Windows-Kernel-Power", now, code=code, parameters=parameters)
        if Misbehaviour.NO_DUMP in self.misbehave:
            add(46, "volmgr", now)
        if self.disk.has_dump():
            add(
                1001,
                "Microsoft-Windows-WER-SystemErrorReporting",
                now,
                code=self._last.code,
                parameters=self._last.parameters,
                dump_path=DUMP_PATH,
            )

    def _open(self, service: Service | None, works: bool) -> None:
        if service is not None and works:
            service.open()

    def _heart(self) -> None:
        while not self._ended:
            with self.lock:
                self._changed.wait_for(lambda: self._ended, _HEARTBEAT)
                if self.phase is Phase.UP:
                    request = self._workers.tick(self.clock.seconds())
                    if request is not None:
                        self._stop(request)
