"""The README and the pages say what the code does, where that can be checked."""

import re

import pytest
from documents import ROOT, pages

from pkt_eval.data.benchmarks import names
from pkt_eval.methods_cli import markdown_table


def test_the_readme_takes_five_minutes():
    """At 240 words a minute."""
    assert len((ROOT / "README.md").read_text("utf-8").split()) <= 1200


def test_the_table_of_methods_is_the_generated_one():
    page = (ROOT / "docs" / "methods.md").read_text("utf-8")
    assert markdown_table() in page, "paste the output of `pkt-eval methods --markdown`"


def test_every_task_that_is_named_exists():
    text = "".join(page.read_text("utf-8") for page in [*pages(), ROOT / "tasks" / "README.md"])
    named = set(re.findall(r"`((?:pkt_|nano_)(?:all|chat|nano|" + "|".join(names("real")) + r")[a-z0-9_]*)`", text))
    yaml = "".join(p.read_text() for p in (ROOT / "tasks").rglob("*.yaml"))
    there = set(re.findall(r'^"?(?:task|group)"?: "?([a-z0-9_]+)', yaml, re.M))
    assert len(named) > 15 and named <= there


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file(page):
    """In the repository; ``make docs`` checks those of the site, and tests/test_package.py those of a package page."""
    text = re.sub(r"`[^`\n]*`", "", page.read_text("utf-8"))  # a product in code looks like a link
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)[^)]*\)", text):
        assert (page.parent / target).exists(), target


def test_every_page_is_in_the_order_of_reading():
    assert {page for page in pages() if page.parent == ROOT / "docs"} == {*(ROOT / "docs").glob("*.md")}
