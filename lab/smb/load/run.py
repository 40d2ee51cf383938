"""Run a read load: open the connections, start them together, watch the target, count."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial

from lab.model import Clock, LabError, LoadPhase, LoadPlan, LoadReport, QueueSample
from lab.smb.errors import Unreachable
from lab.smb.load.company import Company
from lab.smb.load.crew import Crew
from lab.smb.load.delivered import undelivered
from lab.smb.load.disturb import BREAK_FILE, Disturber
from lab.smb.load.fileset import FileSet, file_set, missing, remove, write
from lab.smb.load.observer import Observer
from lab.smb.load.places import Opener, Place
from lab.smb.load.queues import Look, QueueWatch
from lab.smb.load.report import Progress, build
from lab.smb.load.tally import total
from lab.smb.load.watch import Watch, answers
from lab.smb.profiles import Disturbance, Profile, Schedule, Work, find_profile, shaped
from lab.smb.share import connect
from lab.smb.target import SmbTarget

CONNECT_SECONDS = 10.0
CLEAN_UP_SECONDS = 5.0
DISTURB_SECONDS = 1.5
"""How long a disturbance waits for an answer: the report of the target's death waits for it."""
TICK = 0.05
"""Seconds between two looks at a running load."""
QUEUES_EVERY = 2.0
"""Seconds between two looks at the server's queues: each starts a script in the guest, and counters of a file
server cost under load, as Microsoft warns."""
AT_ONCE = 16
"""Connections that are opened, or closed, at a time."""


def run_load(
    target: SmbTarget,
    plan: LoadPlan,
    *,
    clock: Clock,
    on_progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    queues: Look | None = None,
    restarted: Callable[[], bool | None] | None = None,
) -> LoadReport:
    """Load `target` as `plan` says, and report exact counts.

    Ends when the plan's seconds are over, when `stop` is set, when the server lets none of the connections in
    any more, or within 2 s of the target's death: no connection can be made any more, or none is answered and
    the server does not even answer a new one's choice of a dialect. A lost connection is made again, an error
    status is counted by its name, and the load goes on. However it ends, files are closed and sessions logged
    off; files that the load made for itself are removed again, the large one where the plan says so.

    `queues` reads the server's own work queues, every two seconds in a thread of its own. `restarted` is
    asked when all connections were lost and one could be made again: whether the machine was started anew
    (None: not known), which ends the load as the target's death.

    Raises ConfigurationError for an unknown profile or a plan beyond the caps, and the errors of
    `lab.smb.errors` when the load cannot be started. A death before the first READ is such an error;
    a death after it is not an error but `target_died` in the report.
    """
    profile = shaped(find_profile(plan.profile), plan)
    files = file_set(profile)
    _prepare(target, files)
    died = False
    try:
        report = _Load(target, plan, profile, files, clock, restarted).run(on_progress, stop, queues)
        died = report.target_died
        return report
    finally:
        if not died:
            _clean_up(target, _of_no_use(profile, plan, files))


def _prepare(target: SmbTarget, files: FileSet) -> None:
    """See that the share holds the files, whole. What could not be written whole is removed again."""
    writing = False
    try:
        with connect(target, target.data_share, seconds=CONNECT_SECONDS) as share:
            if absent := missing(share, files):
                writing = True
                write(share, files, absent)
    except BaseException:
        if writing:
            _clean_up(target, [files])
        raise


def _of_no_use(profile: Profile, plan: LoadPlan, files: FileSet) -> list[FileSet]:
    """What is removed after the load."""
    breaks = any(kind is Disturbance.BREAK for kind, _ in profile.disturbances)
    own = profile.work is Work.FILES or not plan.keep_files
    return [*([BREAK_FILE] if breaks else []), *([files] if own else [])]


def _clean_up(target: SmbTarget, leftovers: Sequence[FileSet]) -> None:
    """Remove files of the load, as far as the server lets us: by a connection of its own, and by another one
    when that is lost meanwhile."""
    for files in leftovers:
        for _ in range(2):
            with suppress(LabError), connect(target, target.data_share, seconds=CLEAN_UP_SECONDS) as share:
                try:
                    remove(share, files)
                except Unreachable:
                    continue
            break


def _in_parallel(calls: Sequence[Callable[[], None]]) -> None:
    """Make the calls, some at a time. After the first error no more are begun; it is raised when those under
    way have ended."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        try:
            for future in [pool.submit(call) for call in calls]:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Load:
    """One load, from its first connection to its report."""

    def __init__(
        self,
        target: SmbTarget,
        plan: LoadPlan,
        profile: Profile,
        files: FileSet,
        clock: Clock,
        restarted: Callable[[], bool | None] | None,
    ) -> None:
        self._plan, self._profile, self._clock = plan, profile, clock
        self._schedule = Schedule(profile, plan.seconds)
        self._over = threading.Event()
        self._places = [Place(index) for index in range(plan.connections)]
        self._opener = Opener(target, plan, profile, files, clock, self._over)
        self._company = Company(
            self._places, self._opener.open, self._over, now=clock.now, restarted=restarted
        )
        self._crew = Crew(self._company, self._schedule, profile.work, self._over, now=clock.now)
        self._disturbers = [
            Disturber(kind, every, lambda: self._opener.share(DISTURB_SECONDS), files, str(plan.seed))
            for kind, every in profile.disturbances
        ]
        self._watch = Watch(self._company, lambda: answers(target), clock.now)
        self._start = self._ended = 0.0

    def run(
        self,
        on_progress: Callable[[Progress], None] | None,
        stop: threading.Event | None,
        queues: Look | None,
    ) -> LoadReport:
        observer = Observer(self._company, self._schedule, on_progress)
        looks = QueueWatch(queues, lambda: self._clock.now() - self._start, every=QUEUES_EVERY)
        try:
            _in_parallel([partial(self._opener.open, place, CONNECT_SECONDS) for place in self._places])
            try:
                self._start = self._crew.start(self._disturbers)
                looks.start()
                self._look_on(observer, stop)
            finally:
                self._over.set()
                self._crew.join()
            self._watch.last_look()
        finally:
            politely = self._company.died_at is None
            _in_parallel([partial(place.close, politely=politely) for place in self._places])
            samples = looks.stop() if politely else looks.stop(0.0)
        if self._crew.defects:
            raise self._crew.defects[0]
        return self._report(observer.end(self._ended - self._start), samples)

    def _look_on(self, observer: Observer, stop: threading.Event | None) -> None:
        """Until the load is over."""
        wait = TICK
        while not self._over.wait(wait):
            now = self._clock.now()
            if now - self._start >= self._plan.seconds or (stop is not None and stop.is_set()):
                break
            self._watch.look(now)
            wait = min(TICK, max(0.001, observer.look(now - self._start)))
        self._ended = min(self._clock.now(), self._start + self._plan.seconds)

    def _report(self, phases: tuple[LoadPhase, ...], queues: tuple[QueueSample, ...]) -> LoadReport:
        company = self._company
        tally = total(
            (
                company.losses,
                *(each.tally for each in self._disturbers),
                *(tally for place in self._places for tally in place.tallies()),
            )
        )
        start = self._start if tally.first_sent is None else tally.first_sent
        last = start if tally.last_answer is None else tally.last_answer
        report = build(
            self._plan.profile,
            tally,
            start=start,
            ended=max(last, self._ended),
            died=company.died_at,
            reconnects=company.reconnects,
            transport=self._opener.transport,
            phases=phases,
            queues=queues,
        )
        why = undelivered(
            self._profile,
            self._schedule,
            report,
            company.given_up,
            len(self._places),
            company.trouble,
            last - start,
        )
        return replace(report, undelivered=why)
