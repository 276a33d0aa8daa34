"""The leaderboard as LaTeX: one booktabs table for each pair, to be put into a paper with ``\\input``."""

from collections.abc import Sequence

from pkt_eval.report.board import BoardCell, Column, Group, Leaderboard, Shown, Table
from pkt_eval.report.board.columns import columns
from pkt_eval.report.board.wording import harmless
from pkt_eval.report.render.registry import Content, output

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # after a line's end it would be the space to the next
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "−": "$-$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}
_COMPARED = {
    "vanilla": "the vanilla student",
    "lora": "LoRA",
    "control": "the best control of the method",
    "chosen": "a chosen row",
}


@output("leaderboard.tex", "LaTeX", place=4)
def latex(content: Content) -> str:
    """The whole file; needs booktabs, and graphicx for wide ones."""
    board = content.board
    head = "% Needs \\usepackage{booktabs,graphicx}. Made by pkt-eval report.\n"
    return head + "\n".join(_table(group, board) for group in board.groups)


def escape_latex(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(_ESCAPES.get(character, character) for character in harmless(" ".join(text.split())))


def _bold(board: Leaderboard) -> str:
    if not (number := board.comparisons):
        return "No transfer stands beside a student to be compared with."
    author = board.correction.author.replace("–", "--")
    return f"Bold: significant at 5\\,\\% after {author} over {number} comparison{'s' * (number > 1)} of transfers."


def _table(group: Group, board: Leaderboard) -> str:
    benchmarks, here = group.benchmarks, columns(Table.PAPER, board)
    width = len(here)
    heads = " & ".join(rf"\multicolumn{{{width}}}{{c}}{{{escape_latex(name)}}}" for name in benchmarks)
    first = [2 + width * i for i in range(len(benchmarks))]
    rules = "".join(rf"\cmidrule(lr){{{i}-{i + width - 1}}}" for i in first)
    names = "".join(f" & {column.tex or escape_latex(column.head)}" for column in here)
    lines = []
    for row in group.rows:
        cells = [row.cells.get(name) for name in benchmarks]
        parts = [part for cell in cells for part in _parts(cell, here)]
        lines.append(" & ".join([escape_latex(row.label), *parts]) + r" \\")
    *others, last = [f"{to} ({column.tex})" for column in here if (to := _COMPARED.get(column.id))]
    caption = (
        f"{escape_latex(group.title)}. "
        "Score in \\% with its 95\\,\\% interval, and paired differences in points to "
        f"{', to '.join(others)} and to {last}. {_bold(board)}"
    )
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{l{'r' * width * len(benchmarks)}}}",
            r"\toprule",
            rf" & {heads} \\",
            rules,
            "Student" + names * len(benchmarks) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _parts(cell: BoardCell | None, here: Sequence[Column]) -> list[str]:
    return [_set(column.shown(cell)) if cell else "" for column in here]


def _set(shown: Shown) -> str:
    if shown.signed:
        text = shown.text.replace("−", "-")
        return "" if not text else rf"$\mathbf{{{text}}}$" if shown.style else f"${text}$"
    text = escape_latex(shown.text)
    return f"{text} {{\\scriptsize {escape_latex(shown.interval)}}}" if shown.interval else text
