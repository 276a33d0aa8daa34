"""What the commands print is data: paths with brackets, titles with escapes, words that a template is told."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from pkt_eval import cli
from pkt_eval._util import sources
from pkt_eval.errors import StoreError
from pkt_eval.methods import base


def command(*words: str) -> str:
    done = CliRunner().invoke(cli.app, list(words))
    assert done.exit_code == 0, done.exception
    return done.output


def test_a_folder_called_like_markup_is_shown_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = "[old]/a[/b]"
    assert f"Written to {out}. Evaluate" in command("transfer", "method=vanilla", "--out", out)
    (tmp_path / "[old]" / "suite[b].yaml").write_text("{benchmarks: [nano_gsm8k], methods: [vanilla]}")
    said = command("run", "[old]/suite[b].yaml", "--dry-run")
    assert "results in [old]/suite[b]/" in said
    assert "[old]/x/" in command("data", "build", "nano_gsm8k", "--out", "[old]/x")


@pytest.mark.parametrize("words", [("methods",), ("methods", "lora")])
def test_an_escape_in_a_title_does_not_reach_the_terminal(monkeypatch, words):
    base.methods()
    hostile = replace(base._registry["lora"], title="\x1b[2J[/b]erased\x9b", reference="\x07ref")
    monkeypatch.setitem(base._registry, "lora", hostile)
    said = command(*words)
    assert "[2J[/b]erased" in said and not {"\x1b", "\x9b", "\x07"} & set(said)


def test_an_escape_in_an_error_does_not_reach_the_terminal(monkeypatch, capsys):
    def fails() -> None:
        raise StoreError("cannot open \x1b[2J[/b]")

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2 and "pkt-eval: cannot open \\x1b[2J[/b]\n" in capsys.readouterr().err


def test_hf_is_told_what_the_template_was_told(tmp_path):
    said = command("transfer", "method=vanilla", "enable_thinking=False", "--out", str(tmp_path / "out"))
    words = next(line for line in said.splitlines() if "--model hf" in line).partition("'")[2].partition("'")[0]
    assert json.loads(words) == {"pretrained": f"{tmp_path}/out/merged", "enable_thinking": False}


def test_the_doctor_shows_what_identities_are_made_of():
    said = command("doctor")
    for rooms in (sources.TRANSFER, sources.LOCATION, sources.TUNING, sources.SCORING):
        assert sources.digest(rooms)[:12] in said
    assert "docs/identity.md" in said
