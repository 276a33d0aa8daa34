"""``pkt-eval view``: serves the page and what it links to, shows what has come, and nothing to anybody else."""

import threading
import urllib.error
import urllib.request

import pytest

from pkt_eval.errors import ConfigError
from pkt_eval.report.view import HOST, Board, page_server


@pytest.fixture
def get(tmp_path):
    """Requests to a server of the folder ``in``, which is empty at first."""
    (tmp_path / "in").mkdir()
    server = page_server(Board(tmp_path / "in", 0, tmp_path / "page"))
    (tmp_path / "page").mkdir()
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask(path, host=HOST):
        request = urllib.request.Request(f"http://{HOST}:{server.server_address[1]}{path}", headers={"Host": host})
        try:
            return urllib.request.urlopen(request, timeout=30).read().decode()
        except urllib.error.HTTPError as error:
            return error.code

    ask.port = server.server_address[1]
    yield ask
    server.shutdown()
    server.server_close()


def test_a_board_grows_while_a_suite_runs(made, get, tmp_path):
    assert "No cell of this suite is finished yet" in get("/")
    made(tmp_path / "in" / "vanilla", [1, 0, 1, 0])
    assert 'data-label="vanilla"' in (first := get("/")) and 'data-label="lora"' not in first
    results = made(tmp_path / "in" / "lora", [1, 1, 1, 0], method="lora", seed=0)
    assert 'data-label="lora"' in (second := get("/"))
    # A cell that is just being written leaves the page as it was.
    torn = made(tmp_path / "in" / "teacher", [1, 1, 1, 1], method="teacher")
    torn.write_text(torn.read_text()[:40])
    assert get("/") == second
    assert get(f"/lora/{results.name}") == results.read_text()
    assert get("/leaderboard.csv").startswith("teacher,student")


def test_nothing_else_is_served(made, get, tmp_path):
    made(tmp_path / "in" / "vanilla", [1, 0])
    (tmp_path / "in" / "secret.txt").write_text("x")
    (tmp_path / "results_out.json").write_text("x")
    get("/")
    assert get("/secret.txt") == get("/vanilla/") == get("/../results_out.json") == 404
    assert get("/", host="somebody.example") == 403
    with pytest.raises(ConfigError, match=f"{get.port}.*--port"):
        page_server(Board(tmp_path / "in", 0, tmp_path / "page"), get.port)
