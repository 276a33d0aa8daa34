"""The page as text: nothing of a model's can become HTML, and all that there is to read is in it."""

import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from pages import HOSTILE, hostile_page, report

from pkt_eval.report.board import Leaderboard
from pkt_eval.report.render.blocks import opened
from pkt_eval.report.render.forest import forest
from pkt_eval.report.render.page import embedded


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    return hostile_page(made, tmp_path_factory.mktemp("page"))


class Scripts(HTMLParser):
    """What a browser would take for scripts, images and handlers."""

    def __init__(self, text):
        super().__init__()
        self.found, self.scripts, self._in = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self._in = tag == "script"

    def handle_data(self, data):
        if self._in:
            self.scripts.append(data)
            self._in = False


def test_what_models_wrote_is_text(folder):
    text = (folder / "index.html").read_text("utf-8")
    page = Scripts(text)
    assert len(page.scripts) == 2 + text.count('<script type="text/plain"')
    assert not any(tag == "img" for tag, _ in page.found)
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)
    answers = [said for name, part in opened_blocks(text) if name.count("-") == 3 for said, *_ in part["texts"]]
    answers = [answer for answer in answers if answer != "an answer"]  # the foreign model's
    assert answers and all(answer.endswith(f"{HOSTILE}\ud800") for answer in answers)


def opened_blocks(text):
    """Name and content of the blocks that lie compressed in a page."""
    found = re.findall(r'<script type="text/plain" id="block-([a-z0-9-]+)">([A-Za-z0-9+/=]+)</script>', text)
    assert found
    return [(name, opened(block)) for name, block in found]


def test_every_answer_of_every_seed_is_in_the_page(made, tmp_path):
    for method, seed in (("vanilla", None), ("lora", 0), ("lora", 1), ("teacher", None)):
        scores = {f"d{i}": (i + (seed or 0)) % 2 for i in range(60 if method == "lora" else 55)}
        made(tmp_path / "in" / f"{method}{seed}", scores, method=method, seed=seed, answer=f"{method} {seed}")
    report(tmp_path)
    found = dict(opened_blocks((tmp_path / "out" / "index.html").read_text("utf-8")))
    index = found["answers-0-0"]
    lora = next(row for row in index["runs"] if row.endswith("lora"))
    vanilla = next(row for row in index["runs"] if row.endswith("vanilla"))
    assert [run["seed"] for run in index["runs"][lora]] == [0, 1]
    assert [run["scores"] for run in index["runs"][lora]] == [
        [i % 2 for i in range(60)],
        [(i + 1) % 2 for i in range(60)],
    ]
    assert index["runs"][vanilla][0]["scores"] == [*(i % 2 for i in range(55)), *[None] * 5]
    assert index["alike"][lora] == index["alike"][vanilla] and len(set(index["links"])) == 60
    read = {row: [[] for _ in runs] for row, runs in index["runs"].items()}
    for part in (found[f"answers-0-0-{k}"] for k in range(3)):
        for row, runs in part["answers"].items():
            for seed, places in enumerate(runs):
                read[row][seed] += [None if place is None else part["texts"][place][0] for place in places]
    assert read[lora] == [["lora 0"] * 60, ["lora 1"] * 60]
    assert read[vanilla] == [["vanilla None"] * 55 + [None] * 5]


def test_the_page_needs_nothing_from_elsewhere(folder):
    text = (folder / "index.html").read_text("utf-8")
    assert "innerHTML" not in text and "eval(" not in text.replace("pkt-eval(", "")
    for tag, attributes in Scripts(text).found:
        assert not attributes.get("src")
        href = attributes.get("href", "#")
        assert href == "data:," or href.startswith("#") or (folder / unquote(href)).is_file(), (tag, href)


@pytest.mark.parametrize("text", ["</script>", "<!--<script>", "a\u2028b\u2029", "\ud83d", '"\\', "&amp;"])
def test_embedded_json_says_what_was_put_in(text):
    written = embedded({"x": text})
    assert json.loads(written) == {"x": text}
    assert not re.search("[<>&\u2028\u2029\ud800-\udfff]", written)


def test_the_forest_stands_where_the_numbers_say(folder):
    plot = forest(_board(folder).groups[0], "pkt_gsm8k_chat")
    by_name = {line.name: line for line in plot.lines}
    assert "teacher" not in by_name and plot.lead.startswith("Teacher: +55.0")
    zero, marks = plot.zero, by_name["seeking"].marks
    # Between ticks the axis is linear: x - zero is proportional to the difference.
    (x, text) = next((x, text) for x, text in plot.ticks if text != "0")
    per_point = (x - zero) / float(text.replace("−", "-"))
    assert marks[0].x == pytest.approx(zero + 38 * per_point, abs=0.2)
    assert marks[0].left < marks[0].x < marks[0].right and marks[0].style == "gain"
    assert by_name["laten"].marks[0].x == zero and by_name["laten"].marks[0].style == "chance"


def _board(folder) -> Leaderboard:
    from pkt_eval.report.board import leaderboard
    from pkt_eval.report.records import read

    records, notes = read([folder.parent / "in"])
    return leaderboard(records, folder, notes)
