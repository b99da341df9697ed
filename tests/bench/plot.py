"""A plot of cost against queue length, as SVG, in the few lines that it takes. Knows nothing of queues."""

from collections.abc import Mapping, Sequence
from html import escape
from math import log10

WIDTH, HEIGHT = 860, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 260, 50, 60
COLOURS = ("#1b6ca8", "#c8553d", "#2a9d5c", "#8e5ea2", "#d19a1e", "#4d4d4d", "#00897b", "#ad1457")

Lines = Mapping[str, Sequence[tuple[float, float]]]


def svg(title: str, x_label: str, y_label: str, lines: Lines, limit: float | None = None) -> str:
    """Lines over a logarithmic x axis; `limit` is drawn dashed. Colours are readable on white and on black."""
    xs = [x for points in lines.values() for x, _ in points]
    top = max([y for points in lines.values() for _, y in points] + [limit or 0]) * 1.15
    low, high = log10(min(xs)), log10(max(xs))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (log10(x) - low) / ((high - low) or 1)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(LEFT, TOP - 22, title, size=16),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, x_label, anchor="middle"),
        _text(LEFT, TOP - 5, y_label),
    ]
    for x in sorted(set(xs)):
        across, bottom = at(x, 0)
        parts += [_line(across, bottom, across, bottom + 5), _text(across, bottom + 20, f"{x:,.0f}", anchor="middle")]
    for y in _ticks(top):
        left, height = at(min(xs), y)
        parts += [
            _line(left, height, WIDTH - RIGHT, height, colour="#dddddd"),
            _text(left - 6, height + 4, f"{y:g}", anchor="end"),
        ]
    if limit is not None:
        left, height = at(min(xs), limit)
        parts.append(_line(left, height, WIDTH - RIGHT, height, colour="#cc0000", dashes=True))
        parts.append(_text(WIDTH - RIGHT + 8, height - 6, f"budget {limit:g}", colour="#cc0000"))
    for number, (name, points) in enumerate(lines.items()):
        parts += _draw(number, name, [at(x, y) for x, y in sorted(points)])
    return "\n".join([*parts, "</svg>", ""])


def _draw(number: int, name: str, points: Sequence[tuple[float, float]]) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    legend = TOP + 30 + 22 * number
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in points),
        f'<rect x="{WIDTH - RIGHT + 20}" y="{legend - 10}" width="12" height="12" fill="{colour}"/>',
        _text(WIDTH - RIGHT + 40, legend, name),
    ]


def _ticks(top: float) -> list[float]:
    step = next(step for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 50, 100, 1000, 1e9) if top / step <= 8)
    return [step * number for number in range(int(top / step) + 1)]


def _line(x1: float, y1: float, x2: float, y2: float, *, colour: str = "#333333", dashes: bool = False) -> str:
    extra = ' stroke-dasharray="6 4"' if dashes else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{extra}/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12, colour: str = "#222222") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"
