"""The leaderboard as JSON: everything, as ``Leaderboard.to_dict`` has it."""

from pkt_eval.report.render.registry import Content, output


@output("leaderboard.json", "JSON", place=5)
def plain_json(content: Content) -> str:
    """The whole file."""
    return content.board.to_json()
