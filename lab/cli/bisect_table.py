"""The state of a search on a terminal: who it could be, what each host does, what is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lab.journal import RunningTrial
from lab.model import Case, Trial
from lab.playbook import SEARCH, View
from lab.report import ladder, words
from lab.report.posterior import name

SHOWN = 5
"""Suspects with a line of their own."""

NAME, BAR = 44, 24
"""Characters of a suspect's name at most, and of a bar."""

SILENT = 60.0
"""Seconds without a heartbeat from which on that is said."""

_STYLES = {"crashed": "red", "stood": "green", "other": "yellow", "invalid": "dim"}


@dataclass(frozen=True)
class Suspect:
    """What could be to blame, in words, and how probable that is."""

    name: str
    probability: float


def suspects(case: Case, limit: int = SHOWN) -> tuple[Suspect, ...]:
    """The most probable first; none where no driver can be switched off. May take 0.1 s: keep it."""
    view = View(case)
    if not view.services:
        return ()
    ranked = view.belief.ranked(limit)
    return tuple(Suspect(words.line(name(case, view.question, h)), p) for h, p in ranked)


def render(
    case: Case,
    running: Sequence[RunningTrial],
    *,
    budget_seconds: float | None,
    now: datetime,
    leading: Sequence[Suspect] | None = None,
) -> RenderableType:
    """The whole picture. `budget_seconds` are machine-seconds for the search's trials (None: no limit).

    `now` has a time zone. `leading` saves the work of computing the suspects anew; they change only when
    a trial ends.
    """
    found = suspects(case) if leading is None else leading
    mine = sorted((r for r in running if r.case_id == case.id), key=lambda r: r.host)
    parts: list[RenderableType] = [_headline(case)]
    if found:
        parts += [Text(), _suspects(found)]
    if mine:
        parts += [Text(), _hosts(mine, now)]
    parts += [Text(), _budget(spent(case, mine, now), budget_seconds)]
    return Group(*parts)


def line(case: Case, trial: Trial, leading: Sequence[Suspect], budget_seconds: float | None) -> str:
    """One trial that has ended as a plain line, for where there is no terminal."""
    end = ladder.end(trial)
    parts = [f"trial {trial.number} on {words.line(trial.host)}: {end.word.lower()} {end.detail}"]
    if leading:
        parts.append(f"leading: {leading[0].name} {words.percent(leading[0].probability)}")
    used = words.seconds(spent(case, (), datetime.now(UTC)))
    parts.append(f"{used} of {words.seconds(budget_seconds)}" if budget_seconds else used)
    return "; ".join(parts)


def spent(case: Case, running: Sequence[RunningTrial], now: datetime) -> float:
    """Machine-seconds of the search's trials, those under way too."""
    rungs = frozenset(SEARCH.values())
    done = sum(t.seconds for t in case.trials if t.recipe.purpose in rungs)
    return done + sum(_since(r.started, now) for r in running if r.recipe.purpose in rungs)


def _headline(case: Case) -> Text:
    ends = [ladder.end(t).state for t in case.trials]
    text = Text(f"{words.count(len(ends), 'trial')} done", style="bold")
    for state, word in (
        ("crashed", "crashed"),
        ("stood", "stood"),
        ("other", "other"),
        ("invalid", "invalid"),
    ):
        if state in ends:
            text.append(f"  {ends.count(state)} {word}", style=_STYLES[state])
    return text


def _suspects(found: Sequence[Suspect]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(max_width=NAME, overflow="ellipsis", no_wrap=True)
    table.add_column(width=BAR)
    table.add_column(justify="right", no_wrap=True)
    for i, suspect in enumerate(found):
        style = "bold" if i == 0 else ""
        table.add_row(
            Text(suspect.name, style=style),
            _bar(suspect.probability, "red" if i == 0 else "blue"),
            Text(words.percent(suspect.probability), style=style),
        )
    rest = max(0.0, 1.0 - sum(s.probability for s in found))
    if rest > 0.0005:
        table.add_row(
            Text("all others", style="dim"), _bar(rest, "bright_black"), Text(words.percent(rest), "dim")
        )
    return table


def _hosts(running: Sequence[RunningTrial], now: datetime) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column(no_wrap=True)
    table.add_column(width=BAR // 2, no_wrap=True)
    table.add_column()  # where there is little room, this one is folded
    for trial in running:
        planned = trial.recipe.load.seconds
        off = f"{len(trial.recipe.disabled)} off"
        beat = trial.heartbeat
        if beat is None:
            share, doing = 0.0, f"getting ready for {words.seconds(_since(trial.started, now))}"
        else:
            share = min(1.0, beat.seconds / planned) if planned > 0 else 1.0
            doing = f"under load {words.seconds(beat.seconds)} of {words.seconds(planned)}"
            silent = _since(beat.time, now) if beat.time else 0.0
            doing += f", silent {words.seconds(silent)}" if silent > SILENT else ""
        table.add_row(
            Text(words.line(trial.host)),
            f"trial {trial.number}",
            off,
            _bar(share, "cyan", BAR // 2),
            Text(doing),
        )
    return table


def _budget(used: float, budget: float | None) -> RenderableType:
    text = f"machine time {words.seconds(used)}"
    if budget is None:
        return Text(text, style="dim")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(width=BAR)
    over = used >= budget
    table.add_row(
        Text(f"{text} of {words.seconds(budget)}", style="yellow" if over else "dim"),
        _bar(min(1.0, used / budget) if budget > 0 else 1.0, "yellow" if over else "green"),
    )
    return table


def _bar(share: float, style: str, width: int = BAR) -> ProgressBar:
    return ProgressBar(
        total=1.0,
        completed=share,
        width=BAR,
        complete_style=style,
        finished_style=style,
        style="bright_black",
    )


def _since(iso: str, now: datetime) -> float:
    return max(0.0, (now - datetime.fromisoformat(iso)).total_seconds())
