"""One self-contained HTML page: tables and charts, light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_STYLE = """
:root { color-scheme: light dark; --bg: #fff; --fg: #1b1f24; --dim: #5c6570; --line: #dde2e8; --card: #f7f8fa;
  --good: #17803d; --bad: #c0262d; --warn-bg: #fff4d6; --warn-fg: #6b4a00;
  --c0: #2563c9; --c1: #d9730d; --c2: #17803d; --c3: #9b2fae; --c4: #c0262d; --c5: #0b7d8a; }
@media (prefers-color-scheme: dark) { :root { --bg: #14171b; --fg: #e6e9ed; --dim: #9aa4af; --line: #333a42;
  --card: #1b1f25; --good: #4cc474; --bad: #ff7b7f; --warn-bg: #3a2f10; --warn-fg: #ffd978;
  --c0: #6ea8fe; --c1: #ffa657; --c2: #57cc7c; --c3: #d58bea; --c4: #ff7b7f; --c5: #4fd0de; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 1.5rem 1rem 3rem; background: var(--bg); color: var(--fg);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0 .75rem; max-width: 75ch; } .dim { color: var(--dim); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(135px, 1fr));
  gap: .6rem; margin: 1rem 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.tile span { color: var(--dim); font-size: .85rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 1rem;
  margin-top: 1.5rem; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: .8rem; min-width: 0; }
figcaption { font-weight: 600; margin-bottom: .3rem; } figcaption small { display: block; font-weight: 400;
  color: var(--dim); }
svg { display: block; width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--dim); }
svg .grid { stroke: var(--line); } svg .mark { stroke: var(--dim); stroke-dasharray: 3 3; }
svg text.mark { stroke: none; fill: var(--fg); } svg polyline { fill: none; stroke-width: 2; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .85rem; color: var(--dim); }
.legend i { display: inline-block; width: 14px; margin-right: .4em; vertical-align: middle;
  border-top: 3px solid; } .legend i.dashed { border-top-style: dashed; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .8rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { color: var(--dim); font-weight: 500; }
.good { color: var(--good); } .bad { color: var(--bad); }
.warning { background: var(--warn-bg); color: var(--warn-fg); border-radius: 8px; padding: .6rem .8rem; }
""" + "".join(
    f"polyline.s{i} {{ stroke: var(--c{i}); }} circle.s{i}, rect.s{i} {{ fill: var(--c{i}); }}"
    f".legend i.s{i} {{ border-color: var(--c{i}); }}\n"
    for i in range(6)
)


@dataclass(frozen=True, slots=True)
class Chart:
    """An SVG with its caption; left out of the page where it is empty."""

    title: str
    svg: str
    note: str = ""


def page(title: str, lead: str, sections: Sequence[str]) -> str:
    """The document; ``sections`` are HTML."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(title)}</h1><p class="dim">{escape(lead)}</p>{"".join(sections)}</body></html>\n'
    )


def tiles(values: Sequence[tuple[str, str]]) -> str:
    """Large figures: (value, what it is)."""
    each = "".join(f'<div class="tile"><b>{escape(v)}</b><span>{escape(w)}</span></div>' for v, w in values)
    return f'<div class="tiles">{each}</div>'


def charts(each: Sequence[Chart]) -> str:
    """Side by side where there is room."""
    return f'<div class="charts">{"".join(_chart(chart) for chart in each if chart.svg)}</div>'


def table(heading: str, header: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> str:
    """Text cells; a verdict (met, missed, better, worse) is coloured. Nothing where there are no rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f"<h2>{escape(heading)}</h2>{_note(note)}"
        f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'
    )


def warning(text: str) -> str:
    """Something that a reader must know before believing the figures."""
    return f'<p class="warning">{escape(text)}</p>'


_TONES = {"met": "good", "better": "good", "missed": "bad", "worse": "bad"}


def _cell(text: str) -> str:
    tone = _TONES.get(text)
    return f'<span class="{tone}">{text}</span>' if tone else escape(text)


def _note(text: str) -> str:
    return f'<p class="dim">{escape(text)}</p>' if text else ""


def _chart(chart: Chart) -> str:
    note = f"<small>{escape(chart.note)}</small>" if chart.note else ""
    return f"<figure><figcaption>{escape(chart.title)}{note}</figcaption>{chart.svg}</figure>"
