"""The picture beside the table: bars of CPU per READ and of READs a second, on logarithmic scales, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

NAMES, PANEL, GAP, ROW, TOP, BOTTOM = 230, 245, 70, 26, 64, 52
WIDTH = NAMES + 2 * PANEL + 2 * GAP

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 }
  .small, .value { font-size: 12px; fill: #57606a }
  .ours { font-weight: 600 }
  .grid { stroke: #d0d7de }
  .bar { fill: #8c959f }
  .bar.ours { fill: #1a7f64 }
  .paper { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .small, .value { fill: #9198a1 }
    .grid { stroke: #30363d }
    .bar { fill: #6e7681 }
    .bar.ours { fill: #3fb68b }
    .paper { fill: #0d1117 }
  }
"""


@dataclass(frozen=True)
class Bar:
    """`cpu` microseconds of the client for one request, `rate` requests a second."""

    name: str
    cpu: float
    rate: float
    ours: bool = False


@dataclass(frozen=True)
class Axis:
    """A logarithmic one from `low` to `high`, both powers of ten."""

    title: str
    left: int
    low: int
    high: int

    def x(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.left + PANEL * min(1.0, max(0.0, share)), 1)


def picture(title: str, bars: Sequence[Bar], note: str) -> str:
    """The SVG's text. The bars come in the order given."""
    height = TOP + ROW * len(bars) + BOTTOM
    bottom = TOP + ROW * len(bars)
    left = Axis("CPU per request, µs (less is better)", NAMES, *_decades([bar.cpu for bar in bars]))
    right = Axis(
        "requests a second (more is better)", NAMES + PANEL + GAP, *_decades([bar.rate for bar in bars])
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>',
        f'<text class="title" x="16" y="24">{escape(title)}</text>',
        f'<text class="small" x="16" y="{height - 10}">{escape(note)}</text>',
    ]
    lines += _panel(left, bars, lambda bar: bar.cpu, bottom)
    lines += _panel(right, bars, lambda bar: bar.rate, bottom)
    for index, bar in enumerate(bars):
        y = TOP + ROW * index + 17
        ours = ' class="ours"' if bar.ours else ""
        lines.append(f'<text{ours} x="{NAMES - 10}" y="{y}" text-anchor="end">{escape(bar.name)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(axis: Axis, bars: Sequence[Bar], value: Callable[[Bar], float], bottom: int) -> Iterator[str]:
    yield f'<text class="small" x="{axis.left}" y="{TOP - 18}">{escape(axis.title)}</text>'
    for power in range(axis.low, axis.high + 1):
        x = axis.x(10.0**power)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP - 4}" y2="{bottom}"/>'
        yield f'<text class="small" x="{x}" y="{bottom + 14}" text-anchor="middle">{10**power:,}</text>'
    for index, bar in enumerate(bars):
        y, end = TOP + ROW * index + 4, axis.x(value(bar))
        width = round(end - axis.left, 1)
        kind = "bar ours" if bar.ours else "bar"
        yield f'<rect class="{kind}" x="{axis.left}" y="{y}" width="{width}" height="18" rx="2"/>'
        yield f'<text class="value" x="{end + 5}" y="{y + 13}">{_short(value(bar))}</text>'


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around the values, with room for the shortest bar."""
    low, high = math.log10(min(values)), math.log10(max(values))
    return math.floor(low), math.ceil(high)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
