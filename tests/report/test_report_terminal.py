"""The leaderboard on a terminal: whole on 80 columns, and in words where nothing is compared."""

import pytest
from typer.testing import CliRunner

from pkt_eval.cli import app


@pytest.fixture
def suite(made, tmp_path):
    made(tmp_path / "in" / "vanilla", [i % 2 for i in range(100)])
    for seed in range(2):
        made(tmp_path / "in" / f"lora{seed}", [i % 3 > 0 for i in range(100)], method="lora", seed=seed)
    made(tmp_path / "in" / "teacher", [1] * 100, method="teacher", pretrained="acme/big")
    return tmp_path


def report(folder, **env: str) -> str:
    done = CliRunner(env=env).invoke(app, ["report", str(folder / "in"), "--out", str(folder / "out")])
    assert done.exit_code == 0, done.output
    return done.stdout.partition("\nWritten to")[0]


def test_nothing_is_lost_on_eighty_columns(suite):
    wide, narrow = report(suite, COLUMNS="160"), report(suite, COLUMNS="80")
    assert max(map(len, narrow.splitlines())) <= 80 and "…" not in narrow
    assert set(wide.split()) == set(narrow.split())


def test_what_has_no_room_is_named_and_nothing_is_clipped(made, tmp_path):
    made(tmp_path / "in" / "vanilla", [i % 2 for i in range(100)])
    for rank in (4, 8):
        for seed in range(2):
            options = {"rank": rank, "label": "x" * 30}
            answers = [i % 3 > seed for i in range(100)]
            made(tmp_path / "in" / f"{rank}-{seed}", answers, method="lora", seed=seed, options=options)
    for width in (40, 60, 80, 100):
        narrow = report(tmp_path, COLUMNS=str(width))
        assert max(map(len, narrow.splitlines())) <= width and "…" not in narrow
        head = next(line for line in narrow.splitlines() if "score" in line)
        assert "student" in head and "vanilla" in narrow
        absent = any(column not in head for column in ("Δ vanilla", "Δ LoRA", "gap", "seeds"))
        assert ("in a wider terminal, and in the files" in " ".join(narrow.split())) == absent == (width < 80)


def test_where_nothing_is_compared_it_is_said_so(made, tmp_path):
    made(tmp_path / "in" / "vanilla", [0, 1] * 20)
    said = " ".join(report(tmp_path).split())
    assert "Nothing is compared" in said and "0 comparisons" not in said
