"""``pkt-eval view``: serves the page and what it links to, shows what has come, and nothing to anybody else."""

import threading
import time
import urllib.error
import urllib.request

import pytest
from browser import Browser, missing
from pages import report

from pkt_eval.errors import ConfigError
from pkt_eval.report.view import HOST, Board, page_server


@pytest.fixture
def get(tmp_path):
    """Requests to a server of the folder ``in``, which is empty at first."""
    (tmp_path / "in").mkdir()
    board = Board(tmp_path / "in", 0, tmp_path / "page")
    server = page_server(board)
    (tmp_path / "page").mkdir()
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask(path, host=HOST, method="GET"):
        address = f"http://{HOST}:{server.server_address[1]}{path}"
        request = urllib.request.Request(address, headers={"Host": host}, method=method)
        try:
            return urllib.request.urlopen(request, timeout=30).read().decode()
        except urllib.error.HTTPError as error:
            return error.code

    def end():
        server.shutdown()
        server.server_close()

    ask.port, ask.board, ask.end = server.server_address[1], board, end
    yield ask
    end()


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
    assert get("/secret.txt", method="HEAD") == get("/", method="HEAD") == 405
    with pytest.raises(ConfigError, match=f"{get.port}.*--port"):
        page_server(Board(tmp_path / "in", 0, tmp_path / "page"), get.port)


def test_a_page_that_is_served_asks_for_a_newer_one_and_a_file_asks_nobody(made, get, tmp_path):
    made(tmp_path / "in" / "vanilla", [1, 0, 1, 0])
    first, version = get("/"), get("/version")
    assert "connect-src 'self'" in first and f'data-version="{version}"' in first
    made(tmp_path / "in" / "lora", [1, 1, 1, 0], method="lora", seed=0)
    assert get("/version") != version == first.split('data-version="')[1].split('"')[0]
    report(tmp_path)
    page = (tmp_path / "out" / "index.html").read_text()
    assert "connect-src" not in page and "fetch(" not in page and "data-version" not in page


@pytest.mark.browser
def test_it_loads_itself_anew_where_the_reader_was(made, get, tmp_path):
    if reason := missing():
        pytest.skip(f"{reason}: the page is not tried in a browser")
    get.board.every = 0.3
    with Browser() as browser:  # before there is anything, at an address with a state
        browser.visit(f"http://{HOST}:{get.port}/#q=lora")
        made(tmp_path / "in" / "0", [1, 0, 1, 0], method="lora", seed=0, options={"rank": 0})
        for _ in range(200):
            if browser.run("return document.querySelectorAll('.board > tbody').length"):
                break
            time.sleep(0.1)
        assert browser.run("return document.querySelector('[data-filter]').value") == "lora"
        assert browser.console() == []
    for number in range(12):
        made(tmp_path / "in" / f"{number}", [1, 0, 1, number % 2], method="lora", seed=0, options={"rank": number})
    made(tmp_path / "in" / "vanilla", [1, 0, 1, 0])
    made(tmp_path / "in" / "teacher", [1, 1, 1, 1], method="teacher")
    with Browser(height=500) as browser:
        browser.visit(f"http://{HOST}:{get.port}/#q=a")
        browser.run("document.querySelectorAll('.more')[3].click(); scrollTo(0, 700)")
        where = "return [scrollY, location.hash, document.querySelectorAll('.detail').length]"
        at, _, _ = before = browser.run(f"window.mine = 1; {where}")
        labels = "return document.querySelectorAll('.board > tbody').length"
        assert at > 300 and browser.run(labels) == 14
        made(tmp_path / "in" / "seeking", [1, 1, 1, 1], method="seeking", seed=0)
        for _ in range(100):
            if browser.run("return window.mine === undefined && document.readyState === 'complete'"):
                break
            time.sleep(0.1)
        assert browser.run(labels) == 15
        time.sleep(0.3)
        assert browser.run(where) == before and before[2] == 1
        # Not while somebody types.
        browser.type("[data-filter]", "b")
        browser.run("window.mine = 1")
        made(tmp_path / "in" / "pissa", [1, 1, 1, 1], method="pissa", seed=0)
        time.sleep(1.0)
        assert browser.run("return window.mine") == 1
        assert browser.console() == []
        get.end()
        for _ in range(50):
            if "no longer" in (said := browser.run("return document.getElementById('live').textContent")):
                break
            time.sleep(0.1)
        assert said == "no longer live: the server has ended"
