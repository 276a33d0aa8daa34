"""A dry run refuses nothing that can be done, and says what cannot, how long it takes and what could be seen."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pkt_eval.cli import app
from pkt_eval.data.benchmarks import benchmark
from pkt_eval.report.records import join, read
from pkt_eval.report.stats import Correction
from pkt_eval.report.stats.detectable import detectable_difference
from pkt_eval.suite.detectable import SPREAD, Discordance, can_show, counted_discordance, items, suite_comparisons
from pkt_eval.suite.estimate import History
from pkt_eval.suite.plan import cells
from pkt_eval.suite.schema import Suite
from pkt_eval.transfer.transfer import Transfer

NANO = {
    "benchmarks": ["nano_gsm8k", "nano_mbpp"],
    "methods": ["vanilla", "teacher", "lora", "seeking"],
    "device": "cpu",
}


@pytest.fixture
def dry(tmp_path):
    def run(suite: dict, *more: str) -> tuple[int, str]:
        (tmp_path / "suite.yaml").write_text(json.dumps(suite))
        words = ["run", str(tmp_path / "suite.yaml"), "--out", str(tmp_path / "out"), "--dry-run", *more]
        ended = CliRunner().invoke(app, words, catch_exceptions=False)
        return ended.exit_code, ended.stdout

    return run


def test_it_warns_of_consent_and_says_what_can_be_seen(dry, tmp_path):
    code, said = dry({**NANO, "limit": 100})
    assert code == 0 and not (tmp_path / "out" / "suite.json").exists()
    assert "consent is needed: nano_mbpp runs code" in said
    assert "8 cells, 8 of them to do" in said and "unknown for 4 transfers and 8 cells" in said
    assert "among 6 comparisons" in said and "nano_mbpp: " in said
    table = said.partition("\n\n")[0].splitlines()
    assert len(table) >= 9 and max(map(len, table)) <= 80


def test_what_cannot_be_done_is_an_exit_code(dry, tmp_path, monkeypatch):
    for suite, reason in (
        ({**NANO, "methods": ["vanilla"], "student": str(tmp_path / "none")}, "none"),
        ({**NANO, "methods": ["vanilla"], "benchmarks": ["gsm8k"]}, "no split 'test' of gsm8k"),
        ({**NANO, "methods": ["lora"], "options": {"train_samples": 10**6, "splits": str(tmp_path)}}, "gsm8k"),
    ):
        monkeypatch.setenv("PKT_EVAL_DATA", str(tmp_path))
        code, said = dry(suite)
        assert code == 1 and "cannot be done: " in said and reason in said


def test_a_large_suite_is_a_screenful(dry):
    rows = [{"method": "vanilla", "name": f"v{i}"} for i in range(70)]
    code, said = dry({**NANO, "methods": rows})
    assert code == 0 and "140 cells" in said and "… 80 more rows" in said and len(said.splitlines()) < 80


def test_the_smallest_difference_is_the_reports_own():
    """Of the family of comparisons that a leaderboard of these students would have."""
    suite = Suite(**{**NANO, "limit": 50, "seeds": [0, 1, 2]})
    planned = cells(suite)
    # lora and seeking to vanilla, and seeking to lora, on each benchmark; seeds are one comparison.
    assert suite_comparisons(planned) == 2 * 3
    level = Correction.BH.level(6)
    counted = {suite.benchmarks[1]: Discordance(0.06, 3)}
    head, *lines = can_show(suite, planned, counted)
    assert "among 6 comparisons" in head and "3 seeds" in head and "assumed" in head
    for name, line in zip(suite.benchmarks, lines, strict=True):
        share = 0.06 if name in counted else benchmark(name).discordance
        smallest = detectable_difference(50, share, 3, SPREAD, alpha=level)
        assert f"{name}: {100 * smallest:.1f} points, with 50 items" in line
        assert ("as in 3 pairs of students" if name in counted else "which is assumed") in line
    assert can_show(suite, [c for c in planned if c.learner.entry == "teacher"], {}) == []
    assert [items(Suite(**NANO, limit=limit), "nano_mbpp") for limit in (50, 10**6)] == [50, 400]


def test_how_many_answers_differ_is_counted_in_records(dry):
    """Of each transferred student with vanilla and with its LoRA, item by item; the plan says it and uses it."""
    folder = Path(__file__).parents[2] / "results/nano/records"
    every = {}
    for record in join(read([folder])[0]):
        if record.benchmark == "nano_gsm8k":
            every[record.student.label, record.student.seed] = record
    vanilla = next(record for (label, _), record in every.items() if label == "vanilla")
    shares = []
    for (label, seed), record in every.items():
        if record.student.transfer_task:
            against = [vanilla] + ([every["lora", seed]] if label != "lora" else [])
            for other in against:
                differ = [record.items[key].score != other.items[key].score for key in record.items]
                shares.append(sum(differ) / len(differ))
    counted = counted_discordance([folder])["nano_gsm8k"]
    assert counted.pairs == len(shares) > 1 and counted.share == pytest.approx(sum(shares) / len(shares))
    code, said = dry({**NANO, "limit": 100, "confirm_run_unsafe_code": True}, "--records", str(folder))
    assert code == 0 and f"if {100 * counted.share:.0f} % of the answers differ, as in {counted.pairs} pairs" in said


def test_a_dry_run_imports_nothing_that_computes(dry, tmp_path):
    """Once the store knows the tokenizer's template, which takes transformers to read."""
    assert dry(NANO)[0] == 0
    words = ["run", str(tmp_path / "suite.yaml"), "--dry-run", "--out", str(tmp_path / "out")]
    code = (
        "import sys; from typer.testing import CliRunner; from pkt_eval.cli import app; "
        f"assert CliRunner().invoke(app, {words!r}, catch_exceptions=False).exit_code == 0; "
        "print(*{'torch', 'transformers', 'lm_eval', 'datasets', 'pandas', 'peft', 'accelerate'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_students_of_a_plan_have_the_fingerprints_that_they_have_alone(tmp_path):
    """What a plan reads once for all is what each would read for itself."""
    from pkt_eval.suite.identity import Identities

    suite = Suite(**{**NANO, "seeds": [0, 1], "options": {"train_samples": 16}})
    identities = Identities(suite)
    for cell in cells(suite):
        assert identities.student(cell) == Transfer(cell.learner.recipe, "cpu").fingerprint
        assert identities[cell]["base"] == cell.learner.base.digest


def test_a_store_is_read_once(tmp_path, monkeypatch):
    from pkt_eval.suite.identity import Identities

    suite = Suite(**{**NANO, "methods": ["lora"], "options": {"train_samples": 16}})
    identities = Identities(suite)
    wanted = [identities.transfer(cell.learner) for cell in cells(suite)]
    made = {**wanted[0].identity, "split_sizes": wanted[0].splits.sizes}
    for number, seconds in enumerate((2.0, 5.0)):
        folder = tmp_path / "store" / "students" / str(number)
        folder.mkdir(parents=True)
        content = {"provenance": {**made, "seed": number, "seconds": {"finetune": seconds, "validation": 1.0}}}
        (folder / "pkt_student.json").write_text(json.dumps(content))
    read, count = Path.read_text, []
    monkeypatch.setattr(Path, "read_text", lambda self, *a, **k: count.append(self.name) or read(self, *a, **k))
    history = History()
    assert [history.transfer(each) for each in wanted] == [6.0, None]
    assert count.count("pkt_student.json") == 2
