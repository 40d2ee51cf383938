"""A case brought to its verdict on several hosts at once: a host that is free asks for the next trial."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from lab.bisect.steps import Running
from lab.model import (
    Case,
    Driver,
    EntryKind,
    GuestError,
    InfrastructureError,
    Invalid,
    InvalidReason,
    LabError,
    Recipe,
    Refused,
    Trial,
    Verdict,
)
from lab.playbook import SEARCH, Conclude, Pause, RunTrial, View, ask, to_end, unfit
from lab.trials.alike import difference, pinned_anywhere
from lab.trials.as_found import put_back, revive
from lab.trials.bench import Bench
from lab.trials.crew import Crew, Done
from lab.trials.halt import interruption, interrupts
from lab.trials.investigate import sentence
from lab.trials.members import Member, Members
from lab.trials.prepare import examine
from lab.trials.recover import end_those_left_behind
from lab.trials.run import run_trial

ASK_AGAIN = 10.0
"""Seconds after which a host that had nothing to do asks again: the others have stood more by then."""
LATE = 120.0
"""Seconds that hosts which are ready wait for the others before the first trial: restarts differ by less."""
VERDICT_FIRST = "the verdict came first"
BETTER_USED = "another trial tells more in the same time"


@dataclass(frozen=True)
class Tasks:
    """What is done to one host; a scheduler wraps these."""

    prepare: Callable[[Bench], None] = examine
    run: Callable[[Bench, Recipe, str], Trial] = run_trial
    put_back: Callable[[Bench], None] = put_back


AS_THEY_ARE = Tasks()


def campaign(
    benches: Sequence[Bench],
    crew: Crew,
    *,
    budget: float | None = None,
    tasks: Tasks = AS_THEY_ARE,
    after_trial: Callable[[Case], None] = lambda case: None,
) -> Verdict:
    """Trials on all hosts until the search has its answer; hosts are left as found however this ends.

    All benches are of one case, and the caller holds the leases. `budget` are machine-seconds for all
    trials of the case's search, those of earlier runs too (None: no limit). What a dead process was
    doing on a host is ended first. A host that is not like the others is left out, and so is one that is
    not fit (see `lab.playbook.unfit`). Raises Refused when no host is alike, and InfrastructureError or
    GuestError when none is left to go on: that is no verdict.
    """
    return _Campaign(benches, crew, budget, tasks, after_trial).run()


class _Campaign:
    def __init__(
        self,
        benches: Sequence[Bench],
        crew: Crew,
        budget: float | None,
        tasks: Tasks,
        after_trial: Callable[[Case], None],
    ) -> None:
        self._journal, self._id = benches[0].journal, benches[0].case
        self._hosts = Members(benches, crew)
        self._budget, self._tasks, self._after_trial = budget, tasks, after_trial
        self._since = 0  # trials of earlier runs, and those that they left behind
        self._drivers: tuple[Driver, ...] = ()
        self._build = 0

    @property
    def _case(self) -> Case:
        return self._journal.case(self._id)

    def run(self) -> Verdict:
        with interrupts() as deaf:
            return self._run(deaf)

    def _run(self, deaf: threading.Event) -> Verdict:
        try:
            self._open()
            verdict = self._search()
            self._hosts.halt(VERDICT_FIRST)
            self._journal.set_verdict(self._id, verdict)
            self._hosts.tell(EntryKind.VERDICT, sentence(self._case, verdict))
        except BaseException as error:
            deaf.set()
            why = interruption(error)
            with suppress(LabError):  # the journal may be what failed
                self._hosts.tell(EntryKind.WARNING, f"{why}: ending the trials, putting the hosts back")
            self._hosts.ask_to_end(why)
            self._hosts.put_back(put_back)  # not as a task: the scheduler may be what failed
            raise
        deaf.set()
        failed = self._hosts.put_back(self._tasks.put_back)
        if failed is not None:
            raise failed
        return verdict

    # ---- before the first trial

    def _open(self) -> None:
        """Prepare all hosts, and leave out those that differ. One that takes long joins when it is ready."""
        before = self._case
        for member in self._hosts:
            self._hosts.begin(member, lambda bench=member.bench: self._opened(bench))  # type: ignore[misc]
        for late in self._hosts.settle(self._hosts.failed, late=LATE):
            self._hosts.tell(EntryKind.WARNING, f"{late} is not ready yet: the others begin")
        self._hosts.check_somebody_left()
        ready = [member for member in self._hosts if member.idle]
        self._drivers = before.drivers if before.trials and before.drivers else ready[0].bench.found
        self._build = ready[0].bench.build
        for member in ready:
            self._compare(member)
        self._hosts.check_somebody_left()
        alike = [member.bench.found for member in ready if not member.left]
        self._drivers = pinned_anywhere(self._drivers, alike)
        self._journal.set_drivers(self._id, self._drivers)
        ended = [t.number for t in self._case.trials]
        left_behind = [r.number for r in self._journal.running_trials() if r.case_id == self._id]
        self._since = max((*ended, *left_behind), default=0)

    def _opened(self, bench: Bench) -> None:
        end_those_left_behind(bench)
        self._tasks.put_back(bench)
        self._tasks.prepare(bench)

    def _reopened(self, bench: Bench) -> None:
        revive(bench)
        self._opened(bench)

    def _compare(self, member: Member) -> None:
        """Leave the host out if it is not like the others."""
        differs = difference(self._drivers, member.bench.found)
        if member.bench.build != self._build:
            differs = f"is build {member.bench.build}, not {self._build}"
        if differs:
            self._hosts.leave_out(member, _not_alike(member, differs))

    def _join(self, member: Member) -> None:
        """A host that was prepared while the others were at work: it fits in, or it is left out."""
        self._compare(member)
        if member.left:
            return
        switched = {d.service.casefold() for d in self._drivers if not d.pinned}
        kept = [d.image for d in member.bench.found if d.pinned and d.service.casefold() in switched]
        if kept:
            differs = f"must keep {', '.join(kept)}, which the others switch off"
            self._hosts.leave_out(member, _not_alike(member, differs))

    # ---- trials

    def _search(self) -> Verdict:
        while True:
            self._hosts.check_somebody_left()
            view = View(self._case)
            hosts = sum(not member.left for member in self._hosts)
            self._end_early(view, hosts)
            step: RunTrial | Pause | Conclude | None = None
            for member in self._hosts:
                if not member.idle:
                    continue
                running = [run for _, run in self._running(view)]
                begun = len(view.case.trials) + len(running)
                avoid = view.unbooted(member.name) if self._others(member) else ()
                step = ask(view, running, left=self._left(view), begun=begun, avoid=avoid, hosts=hosts)
                if isinstance(step, Conclude):
                    return step.verdict
                if isinstance(step, Pause):
                    break
                self._start(member, step)
            done = self._hosts.wait(ASK_AGAIN if isinstance(step, Pause) else None)
            if done is not None:
                self._ended(done)

    def _others(self, member: Member) -> bool:
        """Whether there is another host that could try what this one could not."""
        return any(other is not member and not other.left for other in self._hosts)

    def _end_early(self, view: View, hosts: int) -> None:
        """Ask a trial to end whose host is better used; the next one when that has ended."""
        running = self._running(view)
        if any(member.ending for member, _ in running):
            return
        found = to_end(view, [run for _, run in running], left=self._left(view), hosts=hosts)
        for member, run in running:
            if run is found:
                member.ending = True
                member.bench.halt.end_load(BETTER_USED)

    def _running(self, view: View) -> list[tuple[Member, Running]]:
        """The trials under way, with what they have stood by the journal's heartbeats."""
        beats = {
            each.host: each.heartbeat.seconds
            for each in self._journal.running_trials()
            if each.heartbeat is not None and each.case_id == self._id
        }
        found = []
        for member in self._hosts:
            if member.asked is None:
                continue
            trial, stood = member.asked, min(beats.get(member.name, 0.0), member.asked.seconds)
            # its load begins when the journal says so; a set-up that takes longer than others is not over
            set_up = max(view.setup_seconds - (self._hosts.now() - member.since), 1.0)
            ahead = 0.0 if member.name in beats else set_up
            planned = stood if member.ending else trial.seconds
            found.append((member, Running(trial.on, planned, stood, trial.purpose, ahead)))
        return found

    def _left(self, view: View) -> float | None:
        """Machine-seconds of the budget that are not spent, nor promised to trials under way."""
        if self._budget is None:
            return None
        rungs = set(SEARCH.values())
        spent = sum(t.seconds for t in view.case.trials if t.recipe.purpose in rungs)
        promised = [
            max(self._hosts.now() - member.since, view.setup_seconds + member.asked.seconds)
            for member in self._hosts
            if member.asked is not None
        ]
        return self._budget - spent - sum(promised)

    def _start(self, member: Member, step: RunTrial) -> None:
        assert step.asked is not None
        seconds = min(step.recipe.load.seconds, member.bench.host.smb.most_seconds)
        recipe = replace(step.recipe, load=replace(step.recipe.load, seconds=seconds))
        where = f", {member.name}" if len(self._hosts) > 1 else ""
        why = f"{step.headline}{where}: {step.why}"
        member.asked, member.since = replace(step.asked, seconds=seconds), self._hosts.now()
        self._hosts.begin(member, lambda: self._tasks.run(member.bench, recipe, why))

    def _ended(self, done: Done) -> None:
        member = self._hosts[done.host]
        was_trial, member.asked, member.ending = member.asked is not None, None, False
        self._hosts.failed(done)
        if done.error is not None or member.left:
            return
        if not was_trial:
            self._join(member)
            return
        assert isinstance(done.result, Trial)
        outcome = done.result.outcome
        trials = self._case.trials
        mine = [t for t in trials if t.host == member.name and t.number > self._since]
        found = unfit(mine, trials)
        if found is not None:
            last, why = found
            kind = GuestError if last.reason is InvalidReason.NOT_APPLIED else InfrastructureError
            self._hosts.leave_out(member, kind(f"{why} on {member.name}; the last: {last.why}"))
        elif isinstance(outcome, Invalid) and outcome.reason is InvalidReason.NOT_BOOTED:
            self._hosts.begin(member, lambda: self._reopened(member.bench))  # with all drivers on it boots
        self._after_trial(self._case)


def _not_alike(member: Member, differs: str) -> Refused:
    return Refused(
        f"{member.name} {differs}: its trials would say nothing of the other hosts",
        help="Take hosts with the same drivers and build, as 'lab provision' makes them.",
    )
