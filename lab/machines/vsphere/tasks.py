"""One waiter for all tasks of a session.

Any number of threads may wait; a single one of our own asks. A property collector has one filter over all
tasks that are waited for, and the vCenter tells what changes in them. The filter is made anew when a task
joins, and now and then, so that a lost update costs seconds and not the whole time-out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pyVmomi import vim, vmodl

from lab.machines.vsphere.faults import Unreadable
from lab.machines.vsphere.session import Session
from lab.model import InfrastructureError, TimedOut

Progress = Callable[[int], None]
"""Told the percentage, 0 to 100, when it changes; in the thread that waits."""

PROPERTIES = ("info.state", "info.progress", "info.error", "info.result", "info.cancelable")
"""By path: all of `info` cannot be read where an entity has a type that pyvmomi does not expect there."""

LISTEN_SECONDS = 1
"""One wait for updates: so soon at the latest a task that joins is looked at."""

REFRESH_SECONDS = 5
"""What a lost update can cost."""

LOST_SECONDS = 60
"""So long may the vCenter be away, as when it restarts, before those who wait are told."""

CANCEL_SECONDS = 10
"""Until a task that was cancelled has ended."""

ABOUT = "the watch over tasks"


class Cancelled(InfrastructureError):
    """A task was given up because its caller asked for it."""

    help = "Start it again when it is wanted."


@dataclass
class _Watched:
    """What is known of a task; guarded by the waiter's lock."""

    task: Any
    state: str = "not seen yet"
    progress: int | None = None
    error: Any = None
    result: Any = None
    cancelable: bool | None = None  # not said yet
    told: bool = False
    """The vCenter has spoken of it since it was last asked for everything."""

    trouble: str = ""
    """Why nothing more will be known of it."""

    @property
    def over(self) -> bool:
        return self.state in ("success", "error") or bool(self.trouble)

    def take(self, properties: Mapping[str, Any]) -> None:
        """What the vCenter says, by path."""
        for path, value in properties.items():
            if value is not None:
                setattr(self, path.removeprefix("info."), value)

    def __str__(self) -> str:
        return self.state if self.progress is None else f"{self.state}, {self.progress} %"


class Tasks:
    """Starts tasks and waits for them, for any number of threads."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._changed = threading.Condition()
        self._watched: dict[str, _Watched] = {}
        self._listening = False

    def run(
        self,
        start: Callable[[], Any],
        name: str,
        seconds: float,
        *,
        limit: str = "power",
        on_progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Any:
        """Call `start`, which returns a task, and wait for it as `wait` does. Its result."""
        task = self.session.act(start, name)
        return self.wait(task, name, seconds, limit=limit, on_progress=on_progress, cancel=cancel)

    def wait(
        self,
        task: Any,
        name: str,
        seconds: float,
        *,
        limit: str = "power",
        on_progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Any:
        """The task's result. `name` says what it does, for people: "power on of srv1".

        Raises VcenterFault with the vCenter's own text when the task failed; TimedOut after `seconds`, with
        its last progress (`limit` is the key that sets the time-out); Cancelled soon after `cancel` was set;
        InfrastructureError when the vCenter was away for too long, or does not know the task any more.
        A task that is given up is cancelled, where the vCenter can do that.
        """
        deadline = time.monotonic() + seconds
        told: int | None = None
        watched = self._join(task)
        try:
            while not watched.over:
                if cancel is not None and cancel.is_set():
                    raise Cancelled(f"{name} was given up ({watched}{self._give_up(watched)})")
                if time.monotonic() >= deadline:
                    raise TimedOut(limit, seconds, f"{name}: {watched}{self._give_up(watched)}")
                if on_progress is not None and watched.progress not in (None, told):
                    told = watched.progress
                    on_progress(told or 0)
                with self._changed:
                    if not watched.over:
                        self._changed.wait(min(0.2, max(0.01, deadline - time.monotonic())))
        except KeyboardInterrupt:
            self._give_up(watched)
            raise
        finally:
            with self._changed:
                self._watched.pop(task._moId, None)
        if watched.trouble:
            raise InfrastructureError(
                f"{name}: {watched.trouble}", help="What became of it, the vCenter's list of tasks may tell."
            )
        if watched.state == "error":
            raise self.session.refused(name, watched.error)
        if on_progress is not None and told != 100:
            on_progress(100)
        return watched.result

    def _give_up(self, watched: _Watched) -> str:
        """Cancel the task; what became of that, to stand behind its state."""
        goes_on = "; it goes on in the vCenter"
        if watched.cancelable is False:
            return goes_on
        try:
            self.session.act(watched.task.CancelTask, "the cancellation")
        except InfrastructureError:
            return goes_on
        with self._changed:
            ended = self._changed.wait_for(lambda: watched.over, CANCEL_SECONDS)
        return "; cancelled" if ended else "; to be cancelled, but still going on"

    # The one thread that asks.

    def _join(self, task: Any) -> _Watched:
        with self._changed:
            watched = self._watched[task._moId] = _Watched(task)
            if not self._listening:
                self._listening = True
                threading.Thread(target=self._listen, name="vcenter-tasks", daemon=True).start()
            return watched

    def _listen(self) -> None:
        collector: Any = None
        heard = time.monotonic()
        while waiting := self._waiting():
            try:
                if collector is None:
                    create = self.session.content.propertyCollector.CreatePropertyCollector
                    collector = self.session.act(create, ABOUT)
                self._follow(collector, waiting)
                heard = time.monotonic()
            except Unreadable:
                collector = None
                self._one_by_one(waiting)
            except InfrastructureError as error:
                collector = None  # it went with the session
                if time.monotonic() - heard > LOST_SECONDS:
                    self._despair(error.message)
                time.sleep(LISTEN_SECONDS)
        if collector is not None:
            with suppress(InfrastructureError):
                self.session.act(collector.Destroy, ABOUT)

    def _waiting(self) -> dict[str, Any]:
        """The tasks that somebody waits for, by id; the thread ends when there is none."""
        with self._changed:
            waiting = {key: each.task for key, each in self._watched.items() if not each.over}
            self._listening = bool(waiting)
            return waiting

    def _follow(self, collector: Any, tasks: dict[str, Any]) -> None:
        """Take in what changes in these tasks, until another one joins or all are over."""
        until = time.monotonic() + REFRESH_SECONDS
        spec = _filter(tasks.values())
        made = self.session.act(lambda: collector.CreateFilter(spec, False), ABOUT)
        try:
            self._expect(tasks)
            version = self._updates(collector, "")  # all of their present state
            self._lost(tasks)
            while time.monotonic() < until and self._still(tasks):
                version = self._updates(collector, version)
        finally:
            with suppress(InfrastructureError):
                self.session.act(made.Destroy, ABOUT)

    def _still(self, tasks: dict[str, Any]) -> bool:
        with self._changed:
            waiting = {key for key, each in self._watched.items() if not each.over}
        return bool(waiting) and waiting <= tasks.keys()

    def _updates(self, collector: Any, version: str) -> str:
        options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=LISTEN_SECONDS)
        found = self.session.act(lambda: collector.WaitForUpdatesEx(version, options), ABOUT)
        if found is None:
            return version
        self._take(found)
        return self._updates(collector, found.version) if found.truncated else str(found.version)

    def _take(self, found: Any) -> None:
        with self._changed:
            for update in (each for one in found.filterSet for each in one.objectSet):
                watched = self._watched.get(update.obj._moId)
                if watched is None:
                    continue
                watched.told = True
                watched.take({change.name: change.val for change in update.changeSet})
            self._changed.notify_all()

    def _expect(self, tasks: dict[str, Any]) -> None:
        with self._changed:
            for key in tasks.keys() & self._watched.keys():
                self._watched[key].told = False

    def _lost(self, tasks: dict[str, Any]) -> None:
        """After the whole state came: what the vCenter did not speak of, it does not know."""
        with self._changed:
            for key in tasks.keys() & self._watched.keys():
                watched = self._watched[key]
                if not watched.told:
                    watched.trouble = f"the vCenter does not know this task any more (last seen: {watched})"
            self._changed.notify_all()

    def _one_by_one(self, tasks: dict[str, Any]) -> None:
        """So that a task of which something cannot be read spoils no other."""
        for key, task in tasks.items():
            found: dict[str, Any] = {}
            trouble = ""
            for path in PROPERTIES:
                try:
                    found |= self._read(task, path)
                except Unreadable as error:
                    trouble = f"its {path} cannot be read ({error.message})"
                except InfrastructureError:
                    return  # the next round will tell
            with self._changed:
                watched = self._watched.get(key)
                if watched is not None:
                    watched.take(found)
                    if watched.over or "info.state" not in found:
                        watched.trouble = trouble and f"{watched}, and {trouble}"
                self._changed.notify_all()
        time.sleep(LISTEN_SECONDS)

    def _read(self, task: Any, path: str) -> dict[str, Any]:
        collector = self.session.content.propertyCollector
        options = vmodl.query.PropertyCollector.RetrieveOptions()
        found = self.session.read(
            lambda: collector.RetrievePropertiesEx([_filter([task], [path])], options), ABOUT
        )
        return {each.name: each.val for one in found.objects for each in one.propSet} if found else {}

    def _despair(self, why: str) -> None:
        with self._changed:
            for watched in self._watched.values():
                watched.trouble = watched.trouble or f"{why} (last seen: {watched})"
            self._changed.notify_all()


def _filter(tasks: Iterable[Any], paths: Sequence[str] = PROPERTIES) -> Any:
    collector = vmodl.query.PropertyCollector
    return collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=task) for task in tasks],
        propSet=[collector.PropertySpec(type=vim.Task, pathSet=list(paths))],
        reportMissingObjectsInResults=True,
    )
