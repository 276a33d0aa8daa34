"""The leaderboard as LaTeX: one booktabs table for each pair, to be put into a paper with ``\\input``."""

from pkt_eval.report.board.leaderboard import Cell, Difference, Group, Leaderboard
from pkt_eval.report.render import wording

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # after a line's end it would be the space to the next
    "−": "$-$",
    "→": r"$\rightarrow$",
    "←": r"$\leftarrow$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def latex(board: Leaderboard) -> str:
    """The whole file; needs booktabs, and graphicx for wide ones."""
    head = "% Needs \\usepackage{booktabs,graphicx}. Made by pkt-eval report.\n"
    return head + "\n".join(_table(group, board.comparisons) for group in board.groups)


def escape(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return "".join(_ESCAPES.get(character, character) for character in " ".join(text.split()))


def _table(group: Group, comparisons: int) -> str:
    benchmarks = group.benchmarks
    heads = " & ".join(rf"\multicolumn{{3}}{{c}}{{{escape(name)}}}" for name in benchmarks)
    rules = "".join(rf"\cmidrule(lr){{{2 + 3 * i}-{4 + 3 * i}}}" for i in range(len(benchmarks)))
    lines = []
    for row in group.rows:
        cells = [row.cells.get(name) for name in benchmarks]
        lines.append(" & ".join([escape(row.label), *(part for cell in cells for part in _parts(cell))]) + r" \\")
    caption = (
        f"{escape(group.title)}. Score in \\% with its 95\\,\\% interval, and paired differences in points to the "
        "vanilla student ($\\Delta_V$) and to LoRA ($\\Delta_L$). Bold: significant at 5\\,\\% after "
        f"Benjamini--Hochberg over {comparisons} comparisons."
    )
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{l{'rrr' * len(benchmarks)}}}",
            r"\toprule",
            rf" & {heads} \\",
            rules,
            "Student" + r" & Score & $\Delta_V$ & $\Delta_L$" * len(benchmarks) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _parts(cell: Cell | None) -> list[str]:
    if cell is None:
        return ["", "", ""]
    interval = wording.ends(cell.low, cell.high)
    score = f"{wording.score(cell)} {{\\scriptsize {escape(interval)}}}" if interval else wording.score(cell)
    return [score, _difference(cell.vanilla), _difference(cell.lora)]


def _difference(of: Difference | None) -> str:
    if of is None:
        return ""
    text = wording.difference(of).replace("−", "-")
    return rf"$\mathbf{{{text}}}$" if of.significant else f"${text}$"
