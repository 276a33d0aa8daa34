"""Records made small say what they said."""

import dataclasses
import gzip
import json

import pytest

from pkt_eval.errors import ConfigError, DataError
from pkt_eval.report.records import ITEMS, keep, read


def said(record):
    """All of a record but the places of its files and models."""
    fields = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    student = fields.pop("student")
    return {k: v for k, v in fields.items() if k not in ("results", "samples")} | {
        "student": (student.label, student.method, student.seed, student.options, student.budget, student.base.name)
    }


@pytest.fixture
def kept(made, tmp_path):
    """Two students and a foreign model, read as they are and as they are kept."""
    made(tmp_path / "in" / "vanilla", [0, 1, 1], answer="so\u2028 <b>4</b>")
    made(tmp_path / "in" / "lora", [1, 1, 0], method="lora", seed=0, subject=lambda doc: f"of {doc}")
    made(tmp_path / "in" / "foreign", [1, 0, 0], method=None, pretrained="/home/somebody/models/other")
    before = read([tmp_path / "in"])[0]
    keep(before, tmp_path / "kept")
    return before, read([tmp_path / "kept"])[0]


def test_nothing_that_is_read_is_lost(kept):
    before, after = kept
    assert [said(r) for r in before] == [said(r) for r in after]
    assert all(r.items for r in after)


def test_the_same_records_are_the_same_bytes_and_name_no_place(kept, tmp_path):
    before, _ = kept
    files = {p: p.read_bytes() for p in sorted((tmp_path / "kept").rglob("*")) if p.is_file()}
    (tmp_path / "kept" / "results_stale.json").write_text("{}")
    keep(before, tmp_path / "kept")
    assert {p: p.read_bytes() for p in sorted((tmp_path / "kept").rglob("*")) if p.is_file()} == files
    texts = [gzip.decompress(data) if path.suffix == ".gz" else data for path, data in files.items()]
    assert not any(b"/home/" in text for text in texts)
    # Of three records, two were asked the same.
    assert len([path for path in files if path.parent.name == ITEMS]) == 2 and len(files) == 3 + 3 + 2


@pytest.mark.parametrize("as_text", [False, True])
def test_no_secret_is_kept(made, tmp_path, as_text):
    results = made(tmp_path / "in", [1, 0], method=None)
    content = json.loads(results.read_text())
    arguments = {"pretrained": "acme/small", "token": "abc", "OPENAI_API_KEY": "def", "subfolder": "hf_" + "x" * 30}
    arguments |= {"tokenizer": "acme/other", "trust_remote_code": "False"}
    content["config"]["model_args"] = ",".join(f"{k}={v}" for k, v in arguments.items()) if as_text else arguments
    results.write_text(json.dumps(content))
    keep(read([tmp_path / "in"])[0], tmp_path / "kept")
    said = json.loads((tmp_path / "kept" / results.name).read_text())["config"]["model_args"]
    left = dict(pair.split("=") for pair in said.split(",")) if as_text else said
    assert left.pop("subfolder").startswith("***")  # it may as well be a folder, and that another model
    assert left == {"pretrained": "acme/small", "tokenizer": "acme/other", "trust_remote_code": "False"}


def test_a_record_without_its_items_says_so(kept, tmp_path):
    for file in (tmp_path / "kept" / ITEMS).iterdir():
        file.unlink()
    with pytest.raises(DataError, match=r"cannot read .*samples_.*items"):
        read([tmp_path / "kept"])


def test_kept_records_can_be_kept_again_but_not_over_themselves(kept, tmp_path):
    _, after = kept
    keep(after, tmp_path / "again")
    assert [said(r) for r in read([tmp_path / "again"])[0]] == [said(r) for r in after]
    with pytest.raises(ConfigError, match="kept already"):
        keep(after, tmp_path / "kept")


def test_a_verdict_is_kept_without_the_program(made, tmp_path):
    results = made(tmp_path / "in", [1], task="pkt_mbpp", metric="pass@1,judged")
    samples = next(tmp_path.rglob("samples_*.jsonl"))
    sample = json.loads(samples.read_text())
    verdict = {"passed": True, "status": "passed", "message": "", "program": "print(1)", "output": "1"}
    samples.write_text(json.dumps(sample | {"filtered_resps": [[json.dumps(verdict)]]}) + "\n")
    keep(read([results])[0], tmp_path / "kept")
    (record,) = read([tmp_path / "kept"])[0]
    (item,) = record.items.values()
    assert item.verdict == "passed"


@pytest.mark.parametrize("as_text", [False, True])
def test_two_foreign_models_of_one_name_stay_two(made, tmp_path, as_text):
    """A folder's place is not kept, and nothing else tells them apart."""
    for i, folder in enumerate(("/home/somebody/a/base", "/home/somebody/b/base")):
        results = made(tmp_path / "in" / str(i), [1, i], method=None, date=float(i + 1))
        content = json.loads(results.read_text())
        content["config"]["model_args"] = f"dtype=auto,pretrained={folder}" if as_text else {"pretrained": folder}
        results.write_text(json.dumps(content))
    keep(read([tmp_path / "in"])[0], tmp_path / "kept")
    records, notes = read([tmp_path / "kept"])
    assert [record.score for record in records] == [0.5, 1.0] and not notes
    assert not any("somebody" in path.read_text() for path in (tmp_path / "kept").rglob("results_*.json"))
