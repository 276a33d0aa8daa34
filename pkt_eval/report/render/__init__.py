"""The leaderboard as files and on a terminal. A new format is one file here: see ``registry``."""

from pkt_eval.report.render.files import save_all
from pkt_eval.report.render.registry import Content, Format, Live, formats, output

__all__ = ["Content", "Format", "Live", "formats", "output", "save_all"]
