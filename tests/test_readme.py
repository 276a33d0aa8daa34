"""The README says what the code does, where that can be checked."""

import re
from pathlib import Path

from pkt_eval.data.benchmarks import names
from pkt_eval.methods_cli import markdown_table

ROOT = Path(__file__).resolve().parents[1]


def test_the_table_of_methods_is_the_generated_one():
    assert markdown_table() in (ROOT / "README.md").read_text(), "paste the output of `pkt-eval methods --markdown`"


def test_every_task_that_is_named_exists():
    text = (ROOT / "README.md").read_text() + (ROOT / "tasks" / "README.md").read_text()
    named = set(re.findall(r"`((?:pkt_|nano_)(?:all|chat|nano|" + "|".join(names("real")) + r")[a-z0-9_]*)`", text))
    yaml = "".join(p.read_text() for p in (ROOT / "tasks").rglob("*.yaml"))
    there = set(re.findall(r'^"?(?:task|group)"?: "?([a-z0-9_]+)', yaml, re.M))
    assert len(named) > 15 and named <= there
