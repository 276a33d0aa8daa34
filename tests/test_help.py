"""Asking for help costs nothing: no command's ``--help`` imports what only its work needs, and each fits a terminal."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer.main
from typer.testing import CliRunner

from pkt_eval.cli import app
from pkt_eval.methods.base import methods

HEAVY = {*"torch transformers lm_eval datasets scipy pandas numpy peft matplotlib rich.console".split()}
ASK_ALL = """
import json, sys
from typer.testing import CliRunner
from pkt_eval.cli import app
loaded = {}
for words in json.loads(sys.argv[1]):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (words, done.output)
    loaded[" ".join(words)] = sorted(sys.modules)
print(json.dumps(loaded))
"""


def commands() -> list[list[str]]:
    """The words of every command, those of a group included."""

    def walk(command, words: list[str]) -> Iterator[list[str]]:
        yield words
        for name, below in getattr(command, "commands", {}).items():
            yield from walk(below, [*words, name])

    return [*walk(typer.main.get_command(app), [])]


def test_no_help_imports_what_only_work_needs():
    asked = [[*words, "--help"] for words in commands()] + [["--version"]]
    assert len(asked) >= 13
    command = [sys.executable, "-c", ASK_ALL, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for words, loaded in json.loads(done.stdout).items():
        assert not HEAVY & {*loaded}, words


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_help_fits_a_terminal(words):
    said = CliRunner(env={"COLUMNS": "80"}).invoke(app, [*words, "--help"]).output
    assert said and max(map(len, said.splitlines())) <= 80


def show(*words: str) -> str:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(app, list(words))
    assert done.exit_code == 0, done.output
    assert max(len(line) for line in done.output.splitlines()[1:]) <= 80  # the first says a title in a line
    return done.output


@pytest.mark.parametrize("words", ["doctor", "data show nano_gsm8k", "data check nano_mmlu"])
def test_a_table_fits_a_terminal(words):
    done = CliRunner(env={"COLUMNS": "80"}).invoke(app, words.split())
    table = done.stdout.partition("─" * 10)[0].splitlines()  # behind the rule is a record, as it is
    assert done.exit_code in (0, 1) and len(table) > 5
    assert max(len(line) for line in table if not line.startswith(("ok", "FAIL"))) <= 80


def test_the_methods_fit_a_terminal():
    said = show("methods")
    assert all(name in said for name in methods()) and "pkt-eval methods NAME" in said


@pytest.mark.parametrize("name", methods())
def test_the_options_of_a_method_are_shown_as_they_are_typed(name):
    method, said = methods()[name], show("methods", name)
    assert all(f" {option}=" in said for option in method.options())
    assert method.options() or "has no options of its own" in said


def test_an_option_that_is_copied_from_the_table_is_taken():
    from pkt_eval.methods_cli import typed

    for method in methods().values():
        shown = [typed(option, field.default) for option, field in method.options().items()]
        given = dict(word.split("=") for word in shown if not word.endswith("…"))
        assert method.configure(given).config == method.cls.Config()


def test_the_table_says_types_and_defaults():
    said = show("methods", "laten")
    assert "rate=0.1             number" in said and "steps=…              whole number" in said
    assert "modules=up+down+v+o  texts, joined by +" in said and "attribution=exact    exact or published" in said
