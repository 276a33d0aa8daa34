"""``pkt-eval view``: the leaderboard of a suite that may still be running, served to this machine's browser alone."""

import hashlib
import tempfile
import threading
import time
import webbrowser
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

import typer

from pkt_eval._util.secrets import hide_secrets
from pkt_eval.errors import ConfigError, PKTError

HOST = "127.0.0.1"
# By a script: a browser takes the refresh of an address with a fragment, the state of the page, for a way within it.
_WAITING = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>PKT-Eval</title>
<p>No cell of this suite is finished yet; this page looks again every five seconds.
<script>setTimeout(() => location.reload(), 5000)</script>"""


class Board:
    """The page of a folder of records, made anew where these have changed.

    Args:
        records: The suite's folder.
        every: Seconds between two looks.
        out: Folder of the page.
    """

    def __init__(self, records: Path, every: float, out: Path) -> None:
        self.records, self.every, self.out = records, every, out
        self._lock = threading.Lock()
        self._looked, self._seen, self.said = -every, frozenset[tuple[str, int]](), ""
        self.version = ""
        """Digest of the records of the page."""

    def refresh(self) -> bool:
        """Make the page anew, if there are other records than before; whether there is a page.

        What cannot be read, such as a cell that is just being written, leaves the page as it was; ``said`` says why.
        """
        with self._lock:
            if time.monotonic() - self._looked >= self.every:
                seen = self._results()
                if seen and seen != self._seen:
                    try:
                        self._make(seen)
                        self._seen, self.said = seen, ""
                    except PKTError as error:
                        self.said = hide_secrets(str(error))
                self._looked = time.monotonic()
        return (self.out / "index.html").exists()

    def _results(self) -> frozenset[tuple[str, int]]:
        found = []
        for path in self.records.rglob("results_*.json"):
            try:
                found.append((str(path), path.stat().st_mtime_ns))
            except OSError:  # it was just replaced
                continue
        return frozenset(found)

    def _make(self, seen: frozenset[tuple[str, int]]) -> None:
        from pkt_eval.report import records
        from pkt_eval.report.board import leaderboard, sheets
        from pkt_eval.report.render import Content, Live, formats, save_all

        every, notes = records.read([self.records])
        # The page's links lead to where the records are served.
        board = leaderboard(every, self.records, notes)
        version = hashlib.sha256(repr(sorted(seen)).encode("utf-8", "backslashreplace")).hexdigest()
        content = Content(board, sheets(board, every, self.records), live=Live(self.every, version))
        save_all(self.out, {each.file: each.write(content) for each in formats()})
        self.version = version


class Pages(SimpleHTTPRequestHandler):
    """The page and the records that it links to; nothing else of the disk, and to nobody but this machine."""

    def __init__(self, board: Board, *args: object) -> None:
        self.board = board
        super().__init__(*args, directory=str(board.records))  # type: ignore[arg-type]  # as socketserver calls it

    def do_GET(self) -> None:
        """Answer a request that names this host; another name would be a page of somebody's that asks for ours."""
        if (self.headers.get("Host") or "").partition(":")[0] not in (HOST, "localhost"):
            self.send_error(403)
            return
        name = unquote(urlsplit(self.path).path).lstrip("/") or "index.html"
        if name == "version":
            self.board.refresh()
            self._text(self.board.version.encode(), "version.txt")
        elif name == "index.html" and not self.board.refresh():
            self._text(_WAITING.encode())
        elif name in ("index.html", *(path.name for path in self.board.out.iterdir())):
            self._text((self.board.out / name).read_bytes(), name)
        elif Path(name).name.startswith(("results_", "samples_")):
            super().do_GET()
        else:
            self.send_error(404)

    def do_HEAD(self) -> None:
        """Refuse: it would say of every file in the folder whether it is there."""
        self.send_error(405)

    def _text(self, data: bytes, name: str = "index.html") -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"{self.guess_type(name)}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal is the suite's."""


def page_server(board: Board, port: int = 0) -> ThreadingHTTPServer:
    """A server of the page, bound to this machine; ``serve_forever`` runs it.

    Args:
        board: What is served.
        port: 0: any that is free.

    Raises:
        ConfigError: The port is taken.
    """
    try:
        return ThreadingHTTPServer((HOST, port), partial(Pages, board))
    except OSError as error:
        raise ConfigError(f"cannot serve at {HOST}:{port}: {error}; choose another --port, or 0 for any") from None


def view(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of a suite, or of lm_eval's --output_path.", exists=False)
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the server; 0: any that is free.")] = 0,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks for new records.")] = 10,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in a browser.")] = True,
) -> None:
    """Show the leaderboard of a suite in a browser, also while it runs: the page shows by itself what is new.

    Serves to this machine alone, until Ctrl-C. Writes nothing into the folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; name that of a suite's results")
    with tempfile.TemporaryDirectory(prefix="pkt_view_") as temporary:
        with page_server(Board(folder, every, Path(temporary)), port) as server:
            address = f"http://{HOST}:{server.server_address[1]}/"
            typer.echo(f"{folder}: {address} (Ctrl-C ends it)")
            if browser:
                webbrowser.open(address)
            server.serve_forever()
