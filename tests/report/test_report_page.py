"""The page: in text, that nothing of a model's can become HTML; in a browser, that it does what it shows."""

import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from browser import Browser, missing
from typer.testing import CliRunner

from pkt_eval.cli import app
from pkt_eval.report.board import Leaderboard
from pkt_eval.report.render.forest import forest
from pkt_eval.report.render.page import embedded

HOSTILE = '</script><script>window.hit=1</script><img src=x onerror="window.hit=2">${7*7}{{7*7}}\u2028 <!--'
N = 100


def right(*ranges):
    chosen = {i for low, high in ranges for i in range(low, high)}
    return [int(i in chosen) for i in range(N)]


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    """A leaderboard of made-up students whose answers attack the page."""
    root = tmp_path_factory.mktemp("page")
    students = [
        ("vanilla", right((0, 20)), None),
        ("lora", right((0, 18), (20, 26)), 0),
        ("seeking", right((2, 60)), 0),
        ("laten", right((0, 20)), 0),
        ("teacher", right((0, 75)), None),
    ]
    for task, metric in (("pkt_mmlu_chat", "acc,none"), ("pkt_gsm8k_chat", "exact_match,strict-match")):
        for method, scores, seed in students:
            made(
                root / "in" / method / task,
                scores if task == "pkt_mmlu_chat" else scores[::-1],
                task=task,
                metric=metric,
                method=method,
                seed=seed,
                answer=f"{method} says {HOSTILE}\ud800",
                question="Q: {} " + HOSTILE.replace("{", "{{").replace("}", "}}"),
                subject=(lambda doc: f"sub_{int(doc[1:]) % 25}") if task == "pkt_mmlu_chat" else None,
            )
    name = f"/models/{HOSTILE.replace('/', '')}"
    made(root / "in" / "foreign", right((0, 21)), method=None, pretrained=name, metric="exact_match,strict-match")
    ended = CliRunner().invoke(app, ["report", str(root / "in"), "--out", str(root / "out")], catch_exceptions=False)
    assert ended.exit_code == 0
    return root / "out"


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
    assert len(page.scripts) == 2
    assert not any(tag == "img" for tag, _ in page.found)
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)
    data = json.loads(page.scripts[0])
    answers = [item["after"] for cells in data["flips"].values() for cell in cells.values() for item in cell["items"]]
    assert answers and all(answer.endswith(f"{HOSTILE}\ud800") for answer in answers)


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


# In a browser.


@pytest.fixture(scope="module")
def browser():
    if reason := missing():
        pytest.skip(f"{reason}: the page is not tried in a browser")
    with Browser() as found:
        yield found


@pytest.fixture
def page(browser, folder):
    """The page, newly loaded; what it wrote to the console is looked at afterwards."""
    browser.open(folder / "index.html")
    browser.console()
    browser.run("location.hash = ''; localStorage.clear()")
    browser.open(folder / "index.html")
    yield browser
    assert browser.console() == []
    assert browser.run("return window.hit") is None


def labels(page):
    return page.run(
        "return [...document.querySelectorAll('.board tbody')].filter(x => x.offsetParent).map("
        "x => x.rows[0].cells[0].dataset.label)"
    )


def test_it_renders(page):
    shown = labels(page)
    assert shown[0] == "vanilla" and shown[-1] == "teacher" and len(shown) == 6
    # Bold where significant, and only there.
    heavy = page.run(
        "return [...document.querySelectorAll('.delta')].map("
        "x => [x.className, Number(getComputedStyle(x).fontWeight)])"
    )
    assert heavy and all((weight >= 600) == ("chance" not in name) for name, weight in heavy)
    assert page.run("return document.querySelectorAll('.heatmap tbody').length") == 25


def test_columns_sort_by_what_is_chosen_and_say_so(page):
    page.click("th[data-key='0'] button")
    assert labels(page)[0] == "teacher"
    assert page.run("return document.querySelector(\".board th[data-key='0']\").ariaSort") == "descending"
    page.click("th[data-key='0'] button")
    # Without a score on this benchmark, the foreign model is last whatever the direction.
    assert labels(page)[-1].endswith("(hf)") and labels(page)[-2] == "teacher"
    assert page.run("return document.querySelector(\".board th[data-key='0']\").ariaSort") == "ascending"
    page.run(
        "const s = document.querySelector('[data-measure]'); s.value = 'lora'; s.dispatchEvent(new Event('change'))"
    )
    assert labels(page)[:2] == ["laten", "seeking"]


def test_headers_work_by_keyboard(page):
    page.run("document.querySelector(\".board th[data-key='label'] button\").focus()")
    page.keys("\ue007")  # Enter
    shown = [label.lower() for label in labels(page)]
    assert shown == sorted(shown)
    outline = page.run("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_rows_are_filtered(page):
    page.type("[data-filter]", "prepkt")
    assert labels(page) == ["laten"]
    assert page.run("return document.querySelector('[data-count]').textContent") == "1 of 6 students"
    page.run("const f = document.querySelector('[data-filter]'); f.value = ''; f.dispatchEvent(new Event('input'))")
    page.click("[data-significant]")
    assert labels(page) == ["seeking", "teacher"]


def test_a_flip_is_opened_and_read(page):
    page.run(
        "const [s] = document.querySelectorAll('.choose select');"
        "s.value = [...s.options].find(o => o.textContent === 'seeking').value; s.dispatchEvent(new Event('change'))"
    )
    heads = page.run("return [...document.querySelectorAll('.side h4')].map(x => x.textContent)")
    assert heads == ["Won: 40", "Lost: 2"]
    assert page.run("return document.querySelectorAll('.flip .body').length") == 0  # not before it is opened
    page.click(".side.lost .flip summary")
    page.run("return new Promise(done => setTimeout(done, 50))")
    texts = page.run("return [...document.querySelectorAll('.flip .body pre')].map(x => x.textContent.toWellFormed())")
    assert texts[0].startswith("Q: d0") and texts[1].startswith("vanilla says </script>")
    assert texts[2].startswith("seeking says </script>") and texts[3] == "target of d0"


def test_a_permalink_opens_and_marks_its_row(page, folder):
    row = page.run("return [...document.querySelectorAll('.board tbody')][2].id")
    page.open(folder / "index.html", f"#{row}")
    assert page.run("return document.querySelector('.unit.found').id") == row
    assert page.run("return document.querySelector('.unit.found .more').ariaExpanded") == "true"
    top = page.run("return document.querySelector('.unit.found').getBoundingClientRect().top / innerHeight")
    assert 0 <= top < 1
    links = page.run("return [...document.querySelectorAll('.unit.found .detail a')].map(x => x.getAttribute('href'))")
    assert links and all((folder / unquote(link)).is_file() for link in links)


def test_dark_and_light(page):
    paper = "return getComputedStyle(document.body).backgroundColor"
    light = page.run(paper)
    page.click("#theme")
    assert page.run(paper) == light
    page.click("#theme")
    assert page.run(paper) != light
    page.run("location.reload()")
    assert page.run("return document.documentElement.dataset.theme") == "dark"


def test_a_narrow_window_scrolls_the_table_and_not_the_page(page):
    page.resize(500, 900)
    wide = page.run("return [document.documentElement.scrollWidth, innerWidth]")
    page.resize(1280, 900)
    assert wide[0] <= wide[1]
