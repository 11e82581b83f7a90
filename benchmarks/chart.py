"""The chart: what movieserver and its rival reach of the yardstick of each call, as SVG for light and dark pages."""
from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from benchmarks.results import BARE, OURS, RIVAL, SIMPLE, Place, Results
from benchmarks.services import POOL
from benchmarks.targets import CREATE_SHARE, SHARES, TITLES

CONNECTIONS = 16
LEFT, WIDTH, RIGHT = 300, 540, 60
TOP, ROW, BAR = 64, 50, 15
TICKS = 5
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.small { font-size: 12px; fill: #57606a }
.ours { fill: #0969da } .rival { fill: #bf8700 }
.grid { stroke: #d0d7de } .target { stroke: #24292f; stroke-width: 2.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 }
  .ours { fill: #4493f8 } .rival { fill: #d29922 }
  .grid { stroke: #3d444d } .target { stroke: #e6edf3 }
}"""


class Row(NamedTuple):
    """A call: its bars by class, as shares of its yardstick, and the share to reach."""

    title: str
    yardstick: str
    bars: dict[str, float]
    target: float | None


def drawn(results: Results) -> str:
    """The whole picture."""
    rows = [row for row in (_row(results, call) for call in TITLES) if row.bars]
    most = max([1.0, *(share for row in rows for share in row.bars.values())])
    height = TOP + ROW * len(rows) + 30
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" role="img"'
        f' aria-label="Rates next to the yardsticks">', f"<style>{STYLE}\n</style>",
        *_legend(), *_grid(most, height), *(line for number, row in enumerate(rows)
                                            for line in _bars(row, TOP + ROW * number, WIDTH / most)), "</svg>\n"])


def _row(results: Results, call: str) -> Row:
    many = CONNECTIONS if results.rate(Place(call, CONNECTIONS, OURS)) else 4
    created = call.startswith("create")
    below = Place(call, POOL, SIMPLE) if created else Place(call, many, BARE)
    found = {name: results.ratio(Place(call, many, contender), below)
             for name, contender in (("ours", OURS), ("rival", RIVAL))}
    yardstick = "1 = pgbench, the same statement" if created else "1 = a bare Tornado handler"
    few = f" ({many} connections)" if many != CONNECTIONS else ""
    shares = {name: spread.middle for name, spread in found.items() if spread}
    return Row(TITLES[call].replace("`", "") + few, yardstick, shares, {"create-100": CREATE_SHARE, **SHARES}.get(call))


def _text(x: float, y: float, text: str, **given: str) -> str:
    said = "".join(f' {name.rstrip("_").replace("_", "-")}="{value}"' for name, value in given.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{said}>{escape(text)}</text>'


def _legend() -> Iterator[str]:
    yield _text(LEFT, 18, f"Requests a second over {CONNECTIONS} connections, by those of the yardstick")
    for x, name, text in ((LEFT, "ours", "movieserver"), (LEFT + 130, "rival", "FastAPI, uvicorn, asyncpg")):
        yield f'<rect class="{name}" x="{x}" y="31" width="12" height="12"/>'
        yield _text(x + 18, 42, text, class_="small")
    yield f'<path class="target" d="M{LEFT + 325} 29v16"/>'
    yield _text(LEFT + 335, 42, "to be reached", class_="small")


def _grid(most: float, height: float) -> Iterator[str]:
    for number in range(int(most * TICKS) + 1):
        x = LEFT + number / TICKS / most * WIDTH
        yield f'<path class="grid" d="M{x:.1f} {TOP - 8}V{height - 24}"/>'
        yield _text(x, height - 8, f"{number / TICKS:.1f}", class_="small", text_anchor="middle")


def _bars(row: Row, y: float, scale: float) -> Iterator[str]:
    yield _text(LEFT - 12, y + 13, row.title, text_anchor="end")
    yield _text(LEFT - 12, y + 29, row.yardstick, class_="small", text_anchor="end")
    for number, (name, share) in enumerate(row.bars.items()):
        top = y + number * (BAR + 2)
        yield f'<rect class="{name}" x="{LEFT}" y="{top}" width="{share * scale:.1f}" height="{BAR}" rx="2"/>'
        yield _text(LEFT + share * scale + 5, top + 12, f"{share:.2f}", class_="small")
    if row.target:
        yield f'<path class="target" d="M{LEFT + row.target * scale:.1f} {y - 3}v{2 * BAR + 8}"/>'
