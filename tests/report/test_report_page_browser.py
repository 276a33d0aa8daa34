"""The page in a headless Chromium: it does what it shows, and its address brings back what was seen."""

from urllib.parse import unquote

import numpy as np
import pytest
from browser import Browser, missing
from pages import hostile_page, report

from pkt_eval.report.board.compare import few
from pkt_eval.report.records import read, side_by_side
from pkt_eval.report.stats import crossed_difference

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    return hostile_page(made, tmp_path_factory.mktemp("page"))


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
    choose(page, "[data-filter]", "")
    choose(page, "[data-way]", "any")
    assert labels(page) == ["seeking", "teacher"]
    choose(page, "[data-way]", "worse")
    assert labels(page) == []
    choose(page, "[data-way]", "better")
    choose(page, "[data-than]", "lora")
    assert labels(page) == ["seeking"]


def choose(page, selector, value, nth=0):
    """As a user does: a value, and the event that says so."""
    page.run(
        "const s = document.querySelectorAll(arguments[0])[arguments[2]];"
        "if (s.tagName === 'SELECT') s.selectedIndex = [...s.options].findIndex("
        "o => [o.value, o.textContent].includes(arguments[1])); else s.value = arguments[1];"
        "s.dispatchEvent(new Event(s.tagName === 'SELECT' ? 'change' : 'input'))",
        selector,
        value,
        nth,
    )


def settle(page, condition):
    """Wait until something is so in the page, which opens its blocks while it goes on."""
    page.run(
        f"return new Promise(done => {{const look = () => ({condition}) ? done(true) : setTimeout(look, 20); look() }})"
    )


SAID = "document.querySelector('.samples output').textContent"


def ask(page, a, b, benchmark="pkt_mmlu_chat"):
    """Have the reader show two students."""
    page.run("document.querySelector('.samples').scrollIntoView()")
    for nth, value in ((0, benchmark), (1, a), (4, b)):
        choose(page, ".samples select", value, nth)
    settle(page, f"{SAID}.includes('in common') && document.querySelector('.item')")


def test_all_answers_are_read_side_by_side(page):
    ask(page, "seeking", "vanilla")
    said = page.run(f"return {SAID}")
    assert said == "100 of 100 items; of 100 in common both are right on 18, A alone on 40, B alone on 2, neither on 40"
    choose(page, ".samples select", "wrong", 3)
    choose(page, ".samples select", "right", 6)
    settle(page, f"{SAID}.startsWith('2 of')")
    assert page.run("return document.querySelectorAll('.item .body').length") == 0  # not before it is opened
    page.click(".item summary")
    settle(page, "document.querySelector('.item .body')")
    texts = page.run("return [...document.querySelectorAll('.item .body pre')].map(x => x.textContent.toWellFormed())")
    assert texts[0].startswith("Q: d0") and texts[1].startswith("seeking says </script>")
    assert texts[2].startswith("vanilla says </script>") and texts[3] == "target of d0"
    # Of both answers the words are marked that the other has not.
    marked = page.run("return [...document.querySelectorAll('.item .body mark')].map(x => x.textContent)")
    assert marked == ["seeking", "vanilla"]
    page.run("document.querySelector('.everyone').open = true")
    settle(page, "document.querySelectorAll('.everyone pre').length")
    assert page.run("return document.querySelectorAll('.everyone h5').length") == 5


def test_the_first_student_to_be_read_was_asked(made, browser, tmp_path):
    for method, tasks in (("vanilla", 2), ("lora", 1), ("seeking", 2)):
        for task in ("pkt_gsm8k_chat", "pkt_mbpp_chat")[-tasks:]:
            seed = None if method == "vanilla" else 0
            made(tmp_path / "in" / method / task, [1, 0, 1], task=task, method=method, seed=seed)
    report(tmp_path)
    browser.open(tmp_path / "out" / "index.html")
    first = "document.querySelectorAll('.samples select')[1].selectedOptions[0].textContent"
    assert browser.run(f"return {first}") == "seeking"
    # A page in a file asks for nothing.
    assert browser.run("return performance.getEntriesByType('resource').length") == 0


def test_answers_are_searched(page):
    ask(page, "seeking", "vanilla")
    choose(page, ".samples input[type=search]", "says d77")
    settle(page, f"{SAID}.startsWith('1 of')")
    assert page.run("return document.querySelector('.item summary b').textContent") == "77"
    choose(page, ".samples input[type=search]", "nobody says this")
    settle(page, f"{SAID}.startsWith('0 of')")


def test_the_address_brings_back_what_was_seen(page, folder):
    page.click("th[data-key='1'] button")
    choose(page, "[data-filter]", "e")
    choose(page, "[data-base]", "lora")
    page.run("document.querySelector('[data-columns]').parentElement.open = true")
    page.click("[data-columns] label:nth-child(1) input")
    ask(page, "teacher", "lora", "pkt_gsm8k_chat")
    choose(page, ".samples input[type=search]", "d41")
    settle(page, f"{SAID}.startsWith('1 of')")
    page.click(".item summary")
    settle(page, "document.querySelector('.item .body')")
    seen = (
        "return [...document.querySelectorAll('.samples select, .samples input, [data-filter], [data-base]')].map("
        "x => x.value).concat([...document.querySelectorAll('.board thead th')].map(x => x.ariaSort + x.hidden),"
        "[document.querySelector('.item[open] b').textContent])"
    )
    before, rows, address = page.run(seen), labels(page), page.run("return location.hash")
    page.open(folder / "leaderboard.json")
    page.open(folder / "index.html", address)
    settle(page, "document.querySelector('.item[open] .body')")
    assert (page.run(seen), labels(page)) == (before, rows)
    assert before[-1] == "41" and "descendingfalse" in before and "nonetrue" in before
    # Without it, all is as it was at first.
    page.run("location.hash = '#q='")
    settle(page, "document.querySelectorAll('.board tbody:not([hidden])').length === 6")
    assert labels(page)[0] == "vanilla" and page.run("return document.querySelectorAll('.delta.own').length") == 0


@pytest.mark.parametrize(
    "cut", ["#%", "#q=%E0%A4", "#sort=zzz:up&a=nobody&b=&read=77&item=none&base=gone&significant=x"]
)
def test_an_address_that_was_cut_or_is_of_another_page_breaks_nothing(page, folder, cut):
    page.open(folder / "leaderboard.json")
    page.open(folder / "index.html", cut)
    assert len(labels(page)) == (0 if "q=" in cut else 6)
    assert page.run("return document.querySelector('[data-count]').textContent.endsWith('of 6 students')")
    page.run("location.hash = '#%'; location.hash = '#%25'")


def test_a_comparison_of_the_reader_s_is_the_one_of_the_statistics(made, browser, tmp_path):
    """On several seeds, same and other ones, and where hardly an item differs; against the Python that is tested."""
    dice = np.random.default_rng(0)
    for method, seeds, share in (("lora", 3, 0.5), ("seeking", 3, 0.6), ("laten", 4, 0.55), ("vanilla", 1, 0.5)):
        for seed in range(seeds):
            scores = (dice.random(120) < share).astype(int).tolist()
            made(tmp_path / "in" / f"{method}{seed}", scores, method=method, seed=None if seeds == 1 else seed)
    made(tmp_path / "in" / "hf", [*scores[:118], *(1 - x for x in scores[118:])], method=None)
    made(tmp_path / "in" / "hf2", [*scores[:119], 1 - scores[119]], method=None, pretrained="acme/other")
    report(tmp_path)
    browser.open(tmp_path / "out" / "index.html")
    by_label = {}
    for record in read([tmp_path / "in"])[0]:
        by_label.setdefault(record.student.label, []).append(record)
    plain = [label for label in by_label if label.endswith("(hf)")]
    pairs = [("lora", "seeking"), ("lora", "laten"), ("laten", "vanilla"), tuple(plain)]
    for base, label in pairs:
        choose(browser, "[data-base]", base)
        settle(browser, "document.querySelectorAll('.delta.own').length >= 4")
        found = browser.run(
            "return [...document.querySelectorAll('.board tbody')].find(x => x.rows[0].cells[0].dataset.label === "
            "arguments[0]).querySelector('.delta.own').textContent",
            label,
        )
        sides = by_label[label], by_label[base]
        scores = side_by_side([*sides[0], *sides[1]]).scores
        x, y = scores[: len(sides[0])], scores[len(sides[0]) :]
        same = [r.student.seed for r in sides[0]] == [r.student.seed for r in sides[1]] != [None]
        crossed = crossed_difference(x, y, same)
        half = float(crossed.half_width(0.95))
        low, high = float(crossed.value) - half, float(crossed.value) + half
        if floor := few(x - y if same else (x[:, None] - y[None]).reshape(-1, x.shape[1])):
            low, high = min(low, floor.low), max(high, floor.high)
        numbers = [
            float(each) for each in found.replace("−", "-").replace("[", "").replace("]", "").replace(",", "").split()
        ]
        assert numbers == pytest.approx([100 * float(crossed.value), 100 * low, 100 * high], abs=0.051), (base, label)
    assert browser.console() == []


def test_the_front_is_of_students_that_none_beats(page):
    points = page.run(
        "return [...document.querySelectorAll('.point')].map(x => [x.ariaLabel, x.classList.contains('kept')])"
    )
    # All took as long: the best of them alone is on the front.
    assert [label.split(":")[0] for label, kept in points if kept] == ["seeking"] and len(points) == 3
    choose(page, ".scatter select", "pkt_gsm8k_chat")
    assert "vanilla, at no cost" in page.run("return document.querySelector('.plot').textContent")


@pytest.mark.parametrize("width", [400, 1000, 1400])
def test_nothing_is_cut_off_at(page, width):
    page.resize(width, 900)
    page.run("for (const more of document.querySelectorAll('.more')) more.click()")
    page.run("document.querySelector('.samples').scrollIntoView()")
    settle(page, "document.querySelector('.item')")
    wide, inner = page.run("return [document.documentElement.scrollWidth, innerWidth]")
    cut = page.run("return [...document.querySelectorAll('.facts-of')].map(x => x.scrollWidth > x.clientWidth)")
    name = page.run("return document.querySelector('.board tbody th').offsetWidth")
    page.resize(1280, 900)
    assert inner == width and wide <= width  # the table scrolls, and not the page
    assert not any(cut) or width == 400
    assert name <= width / 4 or width > 400


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
