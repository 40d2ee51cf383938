"""The pictures beside the table, as SVG: ours against other searches, and what was said against the truth."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.bisect_cells import name_of
from benchmarks.bisect_figures import OURS, SEARCH, TOLERATED, Table
from benchmarks.bisect_peers.bound import bound
from benchmarks.bisect_scenarios import ALWAYS, Cell
from benchmarks.smb_picture import STYLE

NAMES, PANEL, GAP, ROW, TOP, HEAD, BOTTOM = 230, 245, 70, 22, 60, 34, 70
WIDTH = NAMES + 2 * PANEL + 2 * GAP
COST, WRONG, MOST = NAMES, NAMES + PANEL + GAP, 4
OUR_NAMES = {OURS: "ours, confirmed", SEARCH: "ours, search alone"}
MORE_STYLE = """
  .bar.bad { fill: #cf222e }
  .limit { stroke: #24292f; stroke-dasharray: 3 3 }
  .line { stroke: #8c959f; fill: none }
  .dot { fill: #1a7f64; stroke: none }
  .whisker { stroke: #1a7f64; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    .bar.bad { fill: #f85149 }
    .limit { stroke: #e6edf3 }
    .line { stroke: #6e7681 }
    .dot { fill: #3fb68b }
    .whisker { stroke: #3fb68b }
  }
"""

SHOWN = (
    (Cell(64, "single", 0.5, 0.0), "One driver of 64, a crash in every second soak"),
    (Cell(64, "single", 0.5, 0.02), "The same, and one soak in 50 crashes without it"),
    (Cell(64, "pair", 0.5, 0.0), "Two drivers of 64 that only crash together"),
    (Cell(64, "pair", 0.5, 0.02), "The same, and one soak in 50 crashes without them"),
)


@dataclass(frozen=True)
class Bar:
    """Median machine minutes, and the share of wrong answers."""

    name: str
    minutes: float
    wrong: float
    ours: bool


@dataclass(frozen=True)
class Block:
    """One cell: `limit` is the bound of information in minutes."""

    title: str
    limit: float
    bars: Sequence[Bar]


def comparison(table: Table) -> str:
    """The SVG's text. KeyError when a cell that it shows was not run."""
    blocks = []
    for cell, title in SHOWN:
        key = name_of(cell)
        peers = sorted(table.peers(key).items(), key=lambda peer: peer[1].minutes)
        mine = [(OUR_NAMES[part], table.figures(key, part)) for part in (SEARCH, OURS)]
        bars = [Bar(name, one.minutes, one.wrong, True) for name, one in mine]
        bars += [Bar(name, one.minutes, one.wrong, False) for name, one in peers]
        limit = bound(cell.n, min(cell.p, ALWAYS), cell.q, cell.truth).minutes
        blocks.append(Block(title, limit, bars))
    return drawn(blocks)


def drawn(blocks: Sequence[Block]) -> str:
    """Minutes are drawn as multiples of each block's bound; bars longer than `MOST` of them are cut off."""
    height = TOP + sum(HEAD + ROW * len(block.bars) for block in blocks) + BOTTOM
    lines = [
        *_start(WIDTH, height, "Finding the driver to blame: what it costs, how often the answer is wrong")
    ]
    lines.append(
        f'<text class="small" x="{COST}" y="{TOP - 12}">machine minutes, median (less is better)</text>'
    )
    lines.append(
        f'<text class="small" x="{WRONG}" y="{TOP - 12}">wrong answers, % (red: more than 5 %)</text>'
    )
    y = TOP
    for block in blocks:
        lines.append(f'<text class="title" x="16" y="{y + 22}">{escape(block.title)}</text>')
        y += HEAD
        end = y + ROW * len(block.bars)
        for share in (0.0, 0.5, 1.0):
            lines += [
                _line("grid", COST + PANEL * share, y, end),
                _line("grid", WRONG + PANEL * share, y, end),
            ]
        for number, bar in enumerate(block.bars):
            lines += _bars(bar, y + ROW * number, block.limit)
        lines.append(_line("limit", COST + PANEL / MOST, y - 2, end))
        y = end
    for share in (0.0, 0.5, 1.0):
        for left, text in ((COST, f"{MOST * share:g} ×"), (WRONG, f"{100 * share:.0f}")):
            x = left + PANEL * share
            lines.append(f'<text class="small" x="{x}" y="{y + 14}" text-anchor="middle">{text}</text>')
    notes = (
        "Dashed, 1 ×: nothing that is 99 % right is faster on average, even if it knows how soaks crash.",
        "Simulated, the same scenarios for all. The others know how often soaks crash, and never confirm.",
    )
    for number, note in enumerate(notes):
        lines.append(f'<text class="small" x="16" y="{height - 28 + 17 * number}">{escape(note)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _start(width: int, height: int, title: str) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
    )
    yield f"<style>{STYLE}{MORE_STYLE}</style>"
    yield f'<rect class="paper" width="{width}" height="{height}" rx="6"/>'
    yield f'<text class="title" x="16" y="24">{escape(title)}</text>'


def _line(kind: str, x: float, top: float, bottom: float) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'


def _bars(bar: Bar, y: int, limit: float) -> Iterator[str]:
    name = ' class="ours"' if bar.ours else ""
    yield f'<text{name} x="{NAMES - 10}" y="{y + 15}" text-anchor="end">{escape(bar.name)}</text>'
    long, kind = bar.minutes / limit / MOST, "bar ours" if bar.ours else "bar"
    width, more = PANEL * min(1.0, long), " →" if long > 1 else ""
    yield _rect(kind, COST, y, width)
    yield f'<text class="value" x="{COST + width + 5:.1f}" y="{y + 15}">{bar.minutes:,.0f}{more}</text>'
    share = PANEL * bar.wrong
    yield _rect("bar bad" if bar.wrong > TOLERATED else kind, WRONG, y, share)
    yield f'<text class="value" x="{WRONG + share + 5:.1f}" y="{y + 15}">{100 * bar.wrong:.1f}</text>'


def _rect(kind: str, x: float, y: float, width: float) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y + 3}" width="{max(1.0, width):.1f}" height="16" rx="2"/>'


SIDE, LEFT, UPPER = 320, 70, 58


def calibration(stated: dict[str, Any]) -> str:
    """The share that was true of all that was said with about the same probability; the SVG's text."""
    width, height = LEFT + SIDE + 150, UPPER + SIDE + 66
    lines = [*_start(width, height, "Said with this probability, and true this often")]
    for tenth in range(0, 11, 2):
        x, y = _place(tenth / 10, tenth / 10)
        lines += [
            f'<line class="grid" x1="{x}" x2="{x}" y1="{UPPER}" y2="{UPPER + SIDE}"/>',
            f'<line class="grid" x1="{LEFT}" x2="{LEFT + SIDE}" y1="{y}" y2="{y}"/>',
            f'<text class="small" x="{x}" y="{UPPER + SIDE + 16}" text-anchor="middle">{10 * tenth} %</text>',
            f'<text class="small" x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{10 * tenth} %</text>',
        ]
    lines.append(f'<path class="line" d="M {LEFT} {UPPER + SIDE} L {LEFT + SIDE} {UPPER}"/>')
    for count, probability, true in stated["by probability"]:
        if count >= 10:
            lines += _dot(count, probability / count, true / count)
    count, probability, true = stated["first certain"]
    said = f"{100 * true / count:.2f} % true" if count else ""
    x, y = LEFT + SIDE + 10, UPPER + 4
    lines += [
        f'<text class="ours" x="{x}" y="{y}">{said}</text>',
        f'<text class="small" x="{x}" y="{y + 17}">of {count:,} answers at</text>',
        f'<text class="small" x="{x}" y="{y + 33}">the first 99 %</text>',
        f'<text class="small" x="{LEFT}" y="{UPPER - 12}">true</text>',
        f'<text class="small" x="{LEFT + SIDE}" y="{height - 28}" text-anchor="end">'
        "probability of the leading suspect, as stated</text>",
        f'<text class="small" x="16" y="{height - 10}">'
        "One statement of a search in each bin. Below the line: too sure. Whiskers: 2 σ.</text>",
    ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _place(x: float, y: float) -> tuple[float, float]:
    return round(LEFT + SIDE * x, 1), round(UPPER + SIDE * (1 - y), 1)


def _dot(count: float, stated: float, true: float) -> Iterator[str]:
    spread = 2 * math.sqrt(max(true * (1 - true), 1 / count) / count)
    x, y = _place(stated, true)
    low, high = (_place(0, min(1.0, max(0.0, true + sign * spread)))[1] for sign in (-1, 1))
    yield f'<line class="whisker" x1="{x}" x2="{x}" y1="{low}" y2="{high}"/>'
    yield f'<circle class="dot" cx="{x}" cy="{y}" r="4"/>'
