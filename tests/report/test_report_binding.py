"""Samples that are not of the results beside them: exchanged, of another run, or changed by hand."""

import hashlib
import json
from pathlib import Path

import pytest

from pkt_eval._util.sample_digests import SAMPLE_DIGESTS, SampleDigest
from pkt_eval.errors import DataError
from pkt_eval.report.records import keep, read

TASK = "pkt_gsm8k_chat"


def samples_beside(results: Path) -> Path:
    (path,) = results.parent.glob(f"samples_{TASK}_*")
    return path


def lines(results: Path) -> list[dict]:
    return [json.loads(line) for line in samples_beside(results).read_text().splitlines()]


def bound(results: Path, **binding: dict) -> Path:
    """The record, which says of its samples what lm-eval says and what we add, unless something else is given."""
    of = lines(results)
    ours = SampleDigest()
    for line in of:
        ours.add(line)
    asked = "".join(line["doc_hash"] + line["prompt_hash"] + line["target_hash"] for line in of)
    tables = {
        "task_hashes": {TASK: hashlib.sha256(asked.encode()).hexdigest()},
        SAMPLE_DIGESTS: {TASK: ours.hexdigest()},
    }
    results.write_text(json.dumps(json.loads(results.read_text()) | tables | binding))
    return results


@pytest.fixture
def two(made, tmp_path):
    """Two students of one score on the same items, who answered otherwise."""
    return [
        bound(made(tmp_path / name, [1, 0, 1, 0], method=name, answer=name, seed=seed))
        for name, seed in (("vanilla", None), ("lora", 0))
    ]


def test_samples_of_their_own_results_are_read(two):
    assert [record.score for record in read(two)[0]] == [0.5, 0.5]


def test_exchanged_samples_are_seen_though_count_and_score_are_the_same(two):
    a, b = map(samples_beside, two)
    of_a, of_b = a.read_bytes(), b.read_bytes()
    a.write_bytes(of_b)
    b.write_bytes(of_a)
    for results in two:
        with pytest.raises(DataError, match=rf"samples_.* is not of {results.name}: its answers or their scores"):
            read([results])


HARMS = {
    "another answer": lambda of: of[0].update(resps=[["another"]]),
    "another judgement": lambda of: of[0].update(filtered_resps=["another"]),
    "scores exchanged": lambda of: (of[0].update(exact_match=0), of[1].update(exact_match=1)),
    "another document": lambda of: of[0].update(doc_hash="0" * 64),
    "another prompt": lambda of: of[0].update(prompt_hash="0" * 64),
    "another target": lambda of: of[0].update(target_hash="0" * 64),
    "another order": lambda of: of.reverse(),
}


@pytest.mark.parametrize("what", HARMS)
def test_a_change_that_keeps_the_score_is_seen(two, what):
    of = lines(two[0])
    HARMS[what](of)
    samples_beside(two[0]).write_text("".join(json.dumps(line) + "\n" for line in of))
    with pytest.raises(DataError, match="is not of"):
        read(two)


def test_what_is_said_of_how_answers_ended_is_held_against_the_items(made, tmp_path):
    results = made(tmp_path / "one", [1, 0, 1, 0], method="lora", seed=0)
    name = next(key for key in json.loads(results.read_text())["results"][TASK] if "stderr" not in key and "," in key)
    own = name.partition(",")[2]
    of = [line | {"ended": number % 2, "answer_tokens": 7.5} for number, line in enumerate(lines(results))]
    samples_beside(results).write_text("".join(json.dumps(line) + "\n" for line in of))
    content = json.loads(results.read_text())
    content["results"][TASK] |= {f"ended,{own}": 0.5, f"answer_tokens,{own}": 7.5}
    results.write_text(json.dumps(content))
    bound(results)
    read([results])
    for changed in ({f"ended,{own}": 0.9}, {f"answer_tokens,{own}": 7.6}, {f"ended,{own}": float("nan")}):
        content = json.loads(results.read_text())
        content["results"][TASK] |= {f"ended,{own}": 0.5, f"answer_tokens,{own}": 7.5} | changed
        results.write_text(json.dumps(content))
        with pytest.raises(DataError, match="but its items in"):
            read([results])


def test_lm_evals_own_hashes_are_held_against_samples_of_anybody(made, tmp_path):
    one = bound(made(tmp_path / "one", [1, 0], method=None), **{SAMPLE_DIGESTS: {}})
    other = bound(made(tmp_path / "other", [0, 1], method=None, question="And {}?"), **{SAMPLE_DIGESTS: {}})
    read([one])
    samples_beside(one).write_bytes(samples_beside(other).read_bytes())
    with pytest.raises(DataError, match="its documents, prompts or targets are others"):
        read([one])


def test_how_a_line_is_written_does_not_matter(two):
    of = lines(two[0])
    samples_beside(two[0]).write_text("".join(json.dumps(line, sort_keys=True, indent=None) + "\n" for line in of))
    read(two)


def test_kept_samples_are_bound_as_well(two, tmp_path):
    keep(read(two)[0], tmp_path / "kept")
    records = read([tmp_path / "kept"])[0]
    assert len(records) == 2
    a, b = sorted((tmp_path / "kept").glob("*/samples_*.gz"))
    of_a, of_b = a.read_bytes(), b.read_bytes()
    a.write_bytes(of_b)
    b.write_bytes(of_a)
    with pytest.raises(DataError, match="is not of"):
        read([tmp_path / "kept"])


def test_what_a_suite_is_writing_is_not_read_yet(made, tmp_path):
    made(tmp_path / "cell", [1, 0])
    made(tmp_path / "cell" / ".new" / "acme__small", [1], date=9, samples=False)
    made(tmp_path / "cell" / ".__small", [0], method="lora", seed=0)  # as lm-eval calls the folder of ./small
    assert sorted(record.student.label for record in read([tmp_path])[0]) == ["lora", "vanilla"]
