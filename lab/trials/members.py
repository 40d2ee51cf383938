"""The hosts of a campaign: busy, idle, or left out; and all of them put back at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lab.bisect.steps import Try
from lab.model import EntryKind, InfrastructureError, LabError
from lab.trials.as_found import put_back, still_changed
from lab.trials.bench import Bench
from lab.trials.crew import Crew, Done
from lab.trials.halt import Halted

LOOK = 1.0
"""Seconds of one wait, so that Ctrl-C is heard."""


@dataclass
class Member:
    """A host of the campaign, and what it is doing."""

    bench: Bench
    asked: Try | None = None  # the trial that runs
    since: float = 0.0
    ending: bool = False  # it was asked to end early
    busy: bool = False
    left: bool = False  # it was left out, or has been put back

    @property
    def name(self) -> str:
        return self.bench.host.name

    @property
    def idle(self) -> bool:
        return not self.busy and not self.left


class Members:
    """`trouble` is why the host that was left out last was."""

    def __init__(self, benches: Sequence[Bench], crew: Crew) -> None:
        self._all = {bench.host.name: Member(bench) for bench in benches}
        self._journal, self._case = benches[0].journal, benches[0].case
        self._crew = crew
        self.trouble: LabError | None = None

    def __iter__(self) -> Iterator[Member]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, name: str) -> Member:
        return self._all[name]

    def now(self) -> float:
        return self._crew.now()

    def begin(self, member: Member, job: Callable[[], object]) -> None:
        member.busy = True
        self._crew.begin(member.name, job)

    def wait(self, seconds: float | None = None) -> Done | None:
        """The next job that ends; None when none does within `seconds`."""
        end = None if seconds is None else self._crew.now() + seconds
        while end is None or self._crew.now() < end:
            done = self._crew.wait(LOOK)
            if done is not None:
                self._all[done.host].busy = False
                return done
        return None

    def settle(self, ended: Callable[[Done], None], *, late: float | None = None) -> list[str]:
        """Wait until no host is busy any more; with `late` only so many seconds longer than for the first one
        that is idle. Returns the names of those that are still busy.
        """
        end: float | None = None
        while any(member.busy for member in self):
            if late is not None and end is None and any(member.idle for member in self):
                end = self._crew.now() + late
            done = self.wait(None if end is None else end - self._crew.now())
            if done is None:
                break
            ended(done)
        return [member.name for member in self if member.busy and not member.left]

    def failed(self, done: Done) -> None:
        """Leave the host out if its job failed. Raises what is no error of the lab."""
        if isinstance(done.error, LabError):
            self.leave_out(self[done.host], done.error)
        elif done.error is not None:
            raise done.error

    def leave_out(self, member: Member, error: LabError) -> None:
        """Go on without a host, which is put back as found."""
        if member.left:
            self._still_changed(member.name, error.message)
            return
        member.left, self.trouble = True, error
        self.tell(EntryKind.WARNING, f"{member.name} is left out: {error.message}")
        self.begin(member, lambda: put_back(member.bench))

    def check_somebody_left(self) -> None:
        """Raises the last host's trouble when all were left out."""
        if all(member.left for member in self):
            self.settle(self.failed)
            assert self.trouble is not None
            raise self.trouble

    def ask_to_end(self, why: str, *, goes_on: bool = True) -> None:
        """End what is under way; what trials have stood until now counts. `goes_on`: the case does, later."""
        for member in self:
            member.bench.halt.ask(why, goes_on=goes_on)

    def halt(self, why: str) -> None:
        """As `ask_to_end` for a case that is over, and wait until it has ended."""
        self.ask_to_end(why, goes_on=False)
        self.settle(self._ended_early)

    def put_back(self, scheduled: Callable[[Bench], None]) -> LabError | None:
        """Put all hosts back as found, each once what it does has ended; the first error of those that could
        not be."""
        failed: list[LabError] = []
        going: set[str] = set()

        def begin(member: Member) -> None:
            member.left = True
            going.add(member.name)
            self.begin(member, lambda: scheduled(member.bench))

        def ended(done: Done) -> None:
            if done.host not in going:
                self._ended_early(done)
                if not self[done.host].left:
                    begin(self[done.host])
            elif done.error is not None:
                why = _said(done.error)
                self._still_changed(done.host, why)
                failed.append(done.error if isinstance(done.error, LabError) else InfrastructureError(why))

        for member in self:
            if member.idle:
                begin(member)
        self.settle(ended)
        return failed[0] if failed else None

    def _ended_early(self, done: Done) -> None:
        """What a host did when all were to end is over."""
        member = self[done.host]
        member.asked = None
        if done.error is None:
            return
        if member.left:
            self._still_changed(member.name, _said(done.error))
        elif not isinstance(done.error, LabError | Halted):
            self.tell(EntryKind.WARNING, f"on {member.name}: {_said(done.error)}")

    def tell(self, kind: EntryKind, text: str) -> None:
        self._journal.note(self._case, kind, text)

    def _still_changed(self, name: str, why: str) -> None:
        self.tell(EntryKind.WARNING, still_changed(name, why))


def _said(error: BaseException) -> str:
    return error.message if isinstance(error, LabError) else type(error).__name__
