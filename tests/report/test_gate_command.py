"""``pkt-eval gate`` as people call it: folders in, an exit code, one line and JUnit XML out."""

import json
import os
import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from pkt_eval.cli import app
from pkt_eval.errors import ConfigError, MissingDataError
from pkt_eval.report.gate import load
from pkt_eval.report.gate_cli import tolerances

RIGHT = [i % 2 for i in range(200)]
WRONG = [0] * 100 + RIGHT[100:]


def gate(*words: object, **runner: object):
    return CliRunner().invoke(app, ["gate", *map(str, words)], **runner)


@pytest.fixture
def folders(made, tmp_path):
    """A baseline ``a`` on two benchmarks, an equal ``same``, a ``worse``, a ``few`` and an ``other`` question."""
    for task in ("pkt_gsm8k_chat", "pkt_mbpp_chat"):
        made(tmp_path / "a" / task, RIGHT, task=task)
        made(tmp_path / "same" / task, RIGHT, task=task, method="lora", seed=0)
        made(tmp_path / "worse" / task, WRONG if "mbpp" in task else RIGHT, task=task, method="lora", seed=0)
        made(tmp_path / "few" / task, RIGHT[:40], task=task, method="lora", seed=0)
        made(tmp_path / "other" / task, RIGHT, task=task, method="lora", seed=0, question="Say {}!")
    return tmp_path


def test_the_real_command_ends_with_the_right_code_and_line(folders):
    def command(candidate: str) -> tuple[int, str, str]:
        words = ["--baseline", str(folders / "a"), "--candidate", str(folders / candidate)]
        done = subprocess.run(
            [sys.executable, "-m", "pkt_eval", "gate", *words], capture_output=True, text=True, timeout=300
        )
        return done.returncode, (done.stdout.strip().splitlines() or [""])[-1], done.stderr

    code, line, _ = command("same")
    assert code == 0 and line.startswith("gate holds: lora, seed 0 against vanilla")
    code, line, _ = command("worse")
    assert (
        code == 1 and line.startswith("gate fails:") and "pkt_mbpp_chat: −25.0 points" in line and "gsm8k" not in line
    )
    code, line, _ = command("few")
    assert code == 2 and "pkt_gsm8k_chat, pkt_mbpp_chat: too few items: with 40" in line and "133 items" in line
    code, line, error = command("nowhere")
    assert (code, line) == (2, "") and error.count("\n") == 1 and "nowhere is not there" in error


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_the_exit_code_says_how_it_went_whatever_the_console_can_show(folders, encoding):
    for candidate, code in (("same", 0), ("worse", 1)):
        words = ["--baseline", str(folders / "a"), "--candidate", str(folders / candidate)]
        done = subprocess.run(
            [sys.executable, "-m", "pkt_eval", "gate", *words],
            capture_output=True,
            timeout=300,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
        assert done.returncode == code and b"Traceback" not in done.stderr, done.stderr
        assert b"gate " in done.stdout.strip().splitlines()[-1]


def test_the_exit_code_says_how_it_went_also_to_a_reader_that_has_gone(folders):
    for candidate, code in (("same", 0), ("worse", 1)):
        read, write = os.pipe()
        os.close(read)
        words = ["--baseline", str(folders / "a"), "--candidate", str(folders / candidate)]
        command = [sys.executable, "-m", "pkt_eval", "gate", *words]
        done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=300)
        os.close(write)
        assert (done.returncode, done.stderr) == (code, b"")


def test_another_prompt_is_not_compared(folders):
    done = gate("--baseline", folders / "a", "--candidate", folders / "other")
    assert done.exit_code == 2 and "the prompts of document 0 differ" in done.output.splitlines()[-1]


def test_a_crash_of_our_own_is_not_called_worse(folders, monkeypatch):
    monkeypatch.setattr("pkt_eval.report.gate.show", lambda *_: 1 / 0)
    assert gate("--baseline", folders / "a", "--candidate", folders / "same").exit_code == 2


def test_junit_and_json(folders, made):
    made(folders / "worse" / "extra", RIGHT, task="pkt_mmlu\x01", method="lora", seed=0)
    made(folders / "a" / "gone", RIGHT, task="pkt_gone<&>")
    files = folders / "new" / "gate.xml", folders / "gate.json"
    words = ["--baseline", folders / "a", "--candidate", folders / "worse"]
    assert gate(*words, "--junit", files[0], "--json", files[1]).exit_code == 1
    suites = ET.parse(files[0]).getroot()
    (suite,) = suites
    assert (suites.tag, suite.tag) == ("testsuites", "testsuite")
    assert [suite.get(k) for k in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "1"]
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    kinds = {name: [e.tag for e in case if e.tag != "system-out"] for name, case in cases.items()}
    assert kinds == {
        "pkt_gsm8k_chat": [],
        "pkt_mbpp_chat": ["failure"],
        "pkt_gone<&>": ["error"],
        "pkt_mmlu\ufffd": ["skipped"],
    }
    failure = cases["pkt_mbpp_chat"].find("failure")
    assert (
        failure.get("type") == "worse" and "−25.0 points" in failure.get("message") and "lost: 1, 3, 5" in failure.text
    )
    outcome = json.loads(files[1].read_text())
    assert outcome["verdict"] == "worse" and outcome["exit_code"] == 1
    checks = {check["benchmark"]: check for check in outcome["checks"]}
    assert checks["pkt_mbpp_chat"]["difference"] == -0.25 and checks["pkt_gsm8k_chat"]["promise"]["power"] > 0.99


def test_the_junit_of_a_refusal_says_the_reason_alone(folders):
    file = folders / "gate.xml"
    assert gate("--baseline", folders / "a", "--candidate", folders / "nowhere", "--junit", file).exit_code == 2
    (case,) = ET.parse(file).getroot().iter("testcase")
    error, said = case
    assert "nowhere" in error.get("message") and error.text == said.text == error.get("message")


def test_a_student_is_chosen_by_name(made, tmp_path):
    suite = tmp_path / "suite"
    made(suite / "vanilla", RIGHT)
    for seed in (0, 1):
        for rank in (4, 8):
            made(suite / f"lora{rank}-{seed}", RIGHT, method="lora", seed=seed, options={"rank": rank})
    made(suite / "hf", RIGHT, method=None, pretrained="acme/other")

    def chosen(name: str) -> set[tuple[str, int | None]]:
        return {(record.student.label, record.student.seed) for record in load(f"{suite}::{name}")[0]}

    assert chosen("vanilla") == {("vanilla", None)}
    assert chosen("lora (rank=4)/seed1") == {("lora (rank=4)", 1)}
    assert chosen("lora (rank=8)/gsm8k/seed0") == {("lora (rank=8)", 0)}
    assert chosen("lora (rank=4)") == {("lora (rank=4)", 0), ("lora (rank=4)", 1)}
    assert chosen("acme/other") == {("acme/other (hf)", None)}
    with pytest.raises(ConfigError) as error:
        load(str(suite))
    listed = "acme/other (hf), lora (rank=4), lora (rank=8), vanilla"
    assert listed in str(error.value) and f"choose one, such as '{suite}::vanilla'" in str(error.value)
    with pytest.raises(ConfigError, match=r"lora \(rank=4\), lora \(rank=8\); choose"):
        load(f"{suite}::lora")
    with pytest.raises(ConfigError, match="holds no student 'pissa'"):
        load(f"{suite}::pissa")
    with pytest.raises(MissingDataError):
        load(f"{tmp_path}/none::vanilla")
    # Each name of the list chooses one.
    for name in listed.split(", "):
        assert len({record.student.label for record in load(f"{suite}::{name}")[0]}) == 1


def test_students_transferred_for_each_benchmark_are_one_student_of_a_suite(made, tmp_path):
    for task in ("pkt_gsm8k_chat", "pkt_mbpp_chat"):
        made(tmp_path / task, RIGHT, task=task, method="lora", seed=0)
    assert len(load(str(tmp_path))[0]) == 2


def test_tolerances_are_shares_or_named_shares(folders):
    assert tolerances(["0.03", "gsm8k=0.1"]) == {"": 0.03, "gsm8k": 0.1}
    for bad, said in ((["two"], "neither"), (["0.1", "0.2"], "all benchmarks"), (["a=1", "a=2"], "twice for a")):
        with pytest.raises(ConfigError, match=said):
            tolerances(bad)
    words = ["--baseline", folders / "a", "--candidate", folders / "worse"]
    assert gate(*words, "--tolerance", "mbpp=0.4").exit_code == 0
