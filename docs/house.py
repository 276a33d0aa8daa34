"""Draws ``house.svg``: the rooms of the package, and an arrow from each to those that it imports.

Everything in the picture is read: the rooms and arrows from the imports, what a room is for from the first line of its
``__init__``. An arrow that others imply (a → c beside a → b → c) is left out. It is the same on every machine.

    python docs/house.py            # writes docs/house.svg
    python docs/house.py --check    # exit code 1 if the committed picture is another
"""

import ast
import subprocess
import sys
import tempfile
import textwrap
from collections import defaultdict
from html import escape
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "house.svg"

WIDTH, HEIGHT = 196, 70  # of a box
ACROSS, DOWN = 20, 44  # between boxes
LANE = 14  # of an arrow that passes a row
MARGIN = 16

Edges = dict[str, set[str]]
#: A row holds rooms, and (from, to) for each arrow that passes it.
Cell = str | tuple[str, str]


def rooms(tree: str) -> tuple[Edges, dict[str, str]]:
    """Room → the rooms that it imports; and room → what it is for. The package's own ``__init__`` is no room."""
    import grimp

    # The package may have been imported from elsewhere, by its own door at the interpreter's start.
    for name in [name for name in sys.modules if name.partition(".")[0] == "pkt_eval"]:
        del sys.modules[name]
    sys.path.insert(0, tree)
    graph = grimp.build_graph("pkt_eval", cache_dir=None)
    imports: Edges = {name.split(".")[1]: set() for name in graph.modules if "." in name}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            if "." in module and "." in imported:
                room, other = module.split(".")[1], imported.split(".")[1]
                imports[room] |= {other} - {room}
    ideas = {}
    for room in imports:
        folder = Path(tree) / "pkt_eval" / room
        file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
        ideas[room] = " ".join(text.partition("\n\n")[0].split()).replace("``", "")
    return imports, ideas


def reduced(imports: Edges) -> Edges:
    """The arrows that no others imply."""

    def reach(room: str) -> set[str]:
        return imports[room].union(*(reach(other) for other in imports[room]))

    return {room: others - set().union(*(reach(other) for other in others)) for room, others in imports.items()}


def stacked(imports: Edges) -> list[list[Cell]]:
    """Rows, highest first: each room one above the highest that it imports, each longer arrow in a lane."""
    level: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in level:
            level[room] = 1 + max((height(other) for other in imports[room]), default=-1)
        return level[room]

    rows: list[list[Cell]] = [[] for _ in range(1 + max(map(height, sorted(imports))))]
    for room in sorted(imports):
        rows[level[room]].append(room)
        for other in sorted(imports[room]):
            for passed in range(level[other] + 1, level[room]):
                rows[passed].append((room, other))
    return rows[::-1]


def place(imports: Edges, rows: list[list[Cell]]) -> tuple[dict[tuple[Cell, int], float], float]:
    """(cell, row) → its middle, and the width of the picture: neighbours are drawn towards the middle of theirs."""
    above, below = defaultdict(list), defaultdict(list)
    for room in sorted(imports):
        start = next(k for k, row in enumerate(rows) if room in row)
        for other in sorted(imports[room]):
            end = next(k for k, row in enumerate(rows) if other in row)
            path: list[tuple[Cell, int]] = [(room, start)]
            path += [((room, other), k) for k in range(start + 1, end)] + [(other, end)]
            for upper, lower in pairwise(path):
                below[upper].append(lower)
                above[lower].append(upper)

    def size(cell: Cell) -> float:
        return WIDTH + ACROSS if isinstance(cell, str) else LANE

    width = max(sum(map(size, row)) for row in rows)
    middle: dict[tuple[Cell, int], float] = {}

    def spread(k: int) -> None:
        left = (width - sum(map(size, rows[k]))) / 2
        for cell in rows[k]:
            middle[cell, k] = left + size(cell) / 2
            left += size(cell)

    for k in range(len(rows)):
        spread(k)
    for sweep in range(24):
        order = range(len(rows)) if sweep % 2 == 0 else range(len(rows) - 1, -1, -1)
        near = above if sweep % 2 == 0 else below
        for k in order:
            wish = {}
            for cell in rows[k]:
                others = [middle[other] for other in near[cell, k]] or [middle[cell, k]]
                wish[cell] = (sum(others) / len(others), str(cell))
            rows[k].sort(key=wish.__getitem__)
            spread(k)
    return middle, width


def draw(imports: Edges, ideas: dict[str, str]) -> str:
    """The picture as SVG."""
    arrows = reduced(imports)
    rows = stacked(arrows)
    middle, inner = place(arrows, rows)
    width = inner + 2 * MARGIN
    height = len(rows) * (HEIGHT + DOWN) - DOWN + 2 * MARGIN
    at = {cell: k for k, row in enumerate(rows) for cell in row if isinstance(cell, str)}

    def top(k: int) -> float:
        return MARGIN + k * (HEIGHT + DOWN)

    # Arrows leave and enter a box side by side, in the order in which they come from and go to.
    leave, enter = defaultdict(list), defaultdict(list)
    for room in arrows:
        for other in arrows[room]:
            lane = (room, other)
            first = (lane, at[room] + 1) if at[other] - at[room] > 1 else (other, at[other])
            last = (lane, at[other] - 1) if at[other] - at[room] > 1 else (room, at[room])
            leave[room].append((middle[first], other))
            enter[other].append((middle[last], room))

    def port(box: str, ends: list[tuple[float, str]], other: str) -> float:
        place = [name for _, name in sorted(ends)].index(other)
        return MARGIN + middle[box, at[box]] + (place + 1) * WIDTH / (len(ends) + 1) - WIDTH / 2

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" font-family="system-ui, DejaVu Sans, sans-serif" role="img">',
        "<title>The rooms of pkt_eval and what they import</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#5b6b8c"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
        '<g fill="none" stroke="#5b6b8c" stroke-width="1.2">',
    ]
    for room in sorted(arrows):
        for other in sorted(arrows[room]):
            x, y = port(room, leave[room], other), top(at[room]) + HEIGHT
            path = f"M{x:.1f} {y:.1f}"
            for k in range(at[room] + 1, at[other]):
                lane = MARGIN + middle[(room, other), k]
                path += f"C{x:.1f} {y + DOWN / 2:.1f} {lane:.1f} {top(k) - DOWN / 2:.1f} {lane:.1f} {top(k):.1f}"
                path += f"V{top(k) + HEIGHT:.1f}"
                x, y = lane, top(k) + HEIGHT
            end, bottom = port(other, enter[other], room), top(at[other])
            path += f"C{x:.1f} {y + DOWN / 2:.1f} {end:.1f} {bottom - DOWN / 2:.1f} {end:.1f} {bottom:.1f}"
            out.append(f'<path d="{path}" marker-end="url(#tip)"><title>{room} → {other}</title></path>')
    out.append("</g>")
    for room in sorted(at):
        x, y = MARGIN + middle[room, at[room]] - WIDTH / 2, top(at[room])
        out.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{WIDTH}" height="{HEIGHT}" rx="7" fill="#eef2fb" stroke="#5b6b8c"/>'
        )
        centre = x + WIDTH / 2
        out.append(
            f'<text x="{centre:.1f}" y="{y + 18:.1f}" text-anchor="middle" font-size="13" font-weight="600" '
            f'fill="#16213d">{escape(room)}</text>'
        )
        for n, line in enumerate(textwrap.wrap(ideas[room], 33, max_lines=3, placeholder=" …")):
            out.append(
                f'<text x="{centre:.1f}" y="{y + 33 + 13 * n:.1f}" text-anchor="middle" font-size="10" '
                f'fill="#3c4763">{escape(line)}</text>'
            )
    return "\n".join([*out, "</svg>", ""])


def main() -> int:
    """Write the picture, or compare it."""
    with tempfile.TemporaryDirectory() as tree:
        subprocess.run([str(ROOT / ".ci" / "house"), tree], check=True, stdout=subprocess.DEVNULL)
        picture = draw(*rooms(tree))
    if "--check" not in sys.argv[1:]:
        PICTURE.write_text(picture, "utf-8")
        return 0
    if PICTURE.read_text("utf-8") == picture:
        return 0
    print(f"{PICTURE.relative_to(ROOT)} is not what the imports give: run `python docs/house.py` and commit it")
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
