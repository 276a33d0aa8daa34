"""Answers survive in blocks of some batches, and a torn line is done again."""

import json

import pytest
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model

from pkt_eval import nano
from pkt_eval.errors import StoreError
from pkt_eval.suite.journal import Journal, JournalledLM


@pytest.fixture(scope="module")
def lm():
    return get_model("pkt_vanilla")(pretrained=nano.model_path("student"), batch_size=1, device="cpu", dtype="float32")


TEXTS = [f"<|user|>\n{'How many apples? ' * (i % 4 + 1)}{i}\n\n<|assistant|>\n" for i in range(11)]


def generation(texts=TEXTS):
    how = {"until": ["<|user|>"], "max_gen_toks": 8, "do_sample": False}
    return [Instance("generate_until", {}, (t, how), 0, metadata=("t", i, 1)) for i, t in enumerate(texts)]


def choices(texts=TEXTS):
    return [
        Instance("loglikelihood", {}, (t, c), j, metadata=("t", i, 1))
        for i, t in enumerate(texts)
        for j, c in enumerate((" A", " B", " CD"))
    ]


def test_answers_equal_the_models_own(lm, tmp_path):
    journalled = JournalledLM(lm, Journal(tmp_path / "j", {}), 1)
    assert journalled.generate_until(generation()) == lm.generate_until(generation(), disable_tqdm=True)
    mine, own = journalled.loglikelihood(choices()), lm.loglikelihood(choices(), disable_tqdm=True)
    for (a, same_a), (b, same_b) in zip(mine, own, strict=True):
        assert a == pytest.approx(b, abs=1e-4) and same_a == same_b


@pytest.mark.parametrize("kind", ["generate_until", "loglikelihood"])
def test_what_is_in_the_journal_is_not_asked_again(lm, tmp_path, monkeypatch, kind):
    requests = generation() if kind == "generate_until" else choices()
    path = tmp_path / "j"
    first = getattr(JournalledLM(lm, Journal(path, {"a": 1}), 1), kind)(requests)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 1 + 3  # 11 prompts in blocks of 4 batches of one
    calls = []
    ask = getattr(lm, kind)
    monkeypatch.setattr(lm, kind, lambda batch, **how: calls.append(len(batch)) or ask(batch, **how))
    for cut in (len(whole), len(whole) - 1, len(whole) - len(lines[3]), len(whole) - len(lines[3]) - 5, 0):
        calls.clear()
        path.write_bytes(whole[:cut])
        done = whole[:cut].count(b"\n")
        again = getattr(JournalledLM(lm, Journal(path, {"a": 1}), 1), kind)(requests)
        assert again == first and path.read_bytes() == whole
        assert len(calls) == 3 - max(0, done - 1)


def test_a_journal_of_something_else_is_not_used(lm, tmp_path, caplog):
    path = tmp_path / "j"
    JournalledLM(lm, Journal(path, {"limit": 1}), 1).generate_until(generation())
    assert Journal(path, {"limit": 2}).answers == {}
    assert "have changed" in caplog.text and len(path.read_text().splitlines()) == 1


def _change(line: bytes, how: str) -> bytes:
    """A line that is not as it was written."""
    record = json.loads(line)
    match how:
        case "nonsense":
            return b"nonsense\n"
        case "no JSON object":
            return b"[1, 2]\n"
        case "not UTF-8":
            return b"\xff\xfe" + line
        case "a bit":
            at = line.index(b'"answers"') + 13
            return line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]
        case "another answer":
            record["answers"][0] = "another"
        case "an answer less":
            del record["answers"][0]
        case "no checksum":
            del record["sha256"]
    return json.dumps(record).encode() + b"\n"


@pytest.mark.parametrize("kind", ["generate_until", "loglikelihood"])
@pytest.mark.parametrize(
    "how",
    ["nonsense", "no JSON object", "not UTF-8", "a bit", "another answer", "an answer less", "no checksum"],
)
def test_what_follows_a_damaged_line_is_asked_again(lm, tmp_path, monkeypatch, caplog, kind, how):
    requests = generation() if kind == "generate_until" else choices()
    path = tmp_path / "j"
    first = getattr(JournalledLM(lm, Journal(path, {}), 1), kind)(requests)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    lines[2] = _change(lines[2], how)
    path.write_bytes(b"".join(lines))
    calls = []
    ask = getattr(lm, kind)
    monkeypatch.setattr(lm, kind, lambda batch, **how: calls.append(len(batch)) or ask(batch, **how))
    again = getattr(JournalledLM(lm, Journal(path, {}), 1), kind)(requests)
    assert again == first and path.read_bytes() == whole and len(calls) == 2
    assert f"{path}, line 3 is damaged" in caplog.text


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("generate_until", ["a", "b"]),
        ("generate_until", ["a", "b", "c", None]),
        ("generate_until", [[0.0, True]] * 4),
        ("loglikelihood", [[0.0, True]] * 11),
        ("loglikelihood", ["a"] * 12),
        ("loglikelihood", [[0.0, 1.0]] * 12),
        ("loglikelihood", [[None, True]] * 12),
    ],
)
def test_answers_that_cannot_be_right_are_asked_again(lm, tmp_path, caplog, kind, answers):
    """Their line is as it was written: too few of them, or of another type."""
    requests = generation() if kind == "generate_until" else choices()
    path = tmp_path / "j"
    first = getattr(JournalledLM(lm, Journal(path, {}), 1), kind)(requests)
    whole = path.read_bytes()
    batches = list(Journal(path, {}).answers.items())
    path.unlink()
    journal = Journal(path, {})
    for batch, kept in [batches[0], (batches[1][0], answers), batches[2]]:
        journal.add(batch, kept)
    journal.close()
    assert getattr(JournalledLM(lm, Journal(path, {}), 1), kind)(requests) == first
    assert path.read_bytes() == whole and "are not of its kind" in caplog.text


def test_a_journal_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "j").mkdir()
    with pytest.raises(StoreError, match="Remove it"):
        Journal(tmp_path / "j", {})


def test_a_full_disk_is_an_error_of_ours(lm, tmp_path, monkeypatch):
    journal = Journal(tmp_path / "j", {})
    monkeypatch.setattr("os.fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match=r"the disk is full: make room there$"):
        JournalledLM(lm, journal, 3).generate_until(generation())


def test_a_journal_on_a_full_disk_is_not_to_be_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match=r"the disk is full: make room there$"):
        Journal(tmp_path / "j", {})
