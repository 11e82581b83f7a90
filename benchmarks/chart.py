"""The chart: requests per second of every call and service, as SVG for light and dark pages."""
from __future__ import annotations

from collections.abc import Iterator
from html import escape

from benchmarks.calls import CALLS, Call
from benchmarks.people import USERS
from benchmarks.results import BARE, OURS, RATE, ROWS, WHOLE, Series, Results, Spread

CONNECTIONS = 16
LEFT, WIDTH, RIGHT = 270, 520, 90
TOP, BAR, GAP = 76, 13, 16
CLASSES = {OURS: "ours", WHOLE: "whole", ROWS: "rows", BARE: "bare"}
MAX_RATIO = 3  # longer bars are cut
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.small { font-size: 11px; fill: #57606a }
.ours { fill: #0969da } .whole { fill: #bf8700 } .rows { fill: #d4a72c } .bare { fill: #afb8c1 }
.spread { stroke: #24292f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 }
  .ours { fill: #4493f8 } .whole { fill: #d29922 } .rows { fill: #9e6a03 } .bare { fill: #656c76 }
  .spread { stroke: #e6edf3 }
}"""


def drawn(results: Results) -> str:
    """The chart: a group of bars per call, each with its own scale."""
    groups = [(call, bars) for call in CALLS if OURS in (bars := _bars(results, call))]
    height = TOP + sum(len(bars) * BAR + GAP for _, bars in groups)
    lines, y = [*_legend()], TOP
    for call, bars in groups:
        lines += _group(call, bars, y)
        y += len(bars) * BAR + GAP
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" role="img"'
        f' aria-label="Requests a second of every call">', f"<style>{STYLE}\n</style>", *lines, "</svg>\n"])


def _bars(results: Results, call: Call) -> dict[str, Spread]:
    found = {name: results.spread(RATE, Series(call.name, CONNECTIONS, name)) for name in CLASSES}
    return {name: rate for name, rate in found.items() if rate}


def _text(x: float, y: float, text: str, **attributes: str) -> str:
    written = "".join(f' {name.rstrip("_").replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{written}>{escape(text)}</text>'


def _legend() -> Iterator[str]:
    yield _text(12, 20, f"Requests a second over {CONNECTIONS} connections, {USERS} users in turn")
    yield _text(12, 38, "Each call has a scale of its own; a line shows the slowest and the fastest round.",
                class_="small")
    for number, (name, kind) in enumerate(CLASSES.items()):
        x = 12 + 150 * number
        yield f'<rect class="{kind}" x="{x}" y="48" width="11" height="11"/>'
        yield _text(x + 17, 58, name, class_="small")


def _group(call: Call, bars: dict[str, Spread], y: float) -> Iterator[str]:
    limit = MAX_RATIO * max(rate.max for name, rate in bars.items() if name != BARE)
    scale = WIDTH / min(limit, max(rate.max for rate in bars.values()))
    yield _text(LEFT - 12, y + len(bars) * BAR / 2 + 4, call.title.replace("`", ""), text_anchor="end")
    for number, (name, rate) in enumerate(bars.items()):
        top, cut = y + number * BAR, rate.median * scale > WIDTH
        width = min(rate.median * scale, WIDTH)
        end = width if cut else min(max(rate.max * scale, width), WIDTH)
        yield f'<rect class="{CLASSES[name]}" x="{LEFT}" y="{top}" width="{width:.1f}" height="{BAR - 2}"/>'
        if not cut:
            middle = top + BAR / 2 - 1
            yield f'<path class="spread" d="M{LEFT + rate.min * scale:.1f} {middle}H{LEFT + end:.1f}"/>'
        digits = 0 if rate.median >= 100 else 1
        yield _text(LEFT + end + 6, top + BAR - 3, f"{rate.median:,.{digits}f}" + " →" * cut, class_="small")
