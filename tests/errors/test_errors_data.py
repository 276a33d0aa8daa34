"""Splits and rows of a benchmark."""

import json

import pytest
from bounded import DEEP

RECORD = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
SPLITS: dict[str, bytes] = {
    "not UTF-8": b'{"messages": "\xff"}',
    "deep": b"[" * DEEP,
    "cut": json.dumps(RECORD).encode()[:-5],
    "a list": b"[1, 2]",
    "a number": b"3",
    "null": b"null",
    "messages of text": b'{"messages": "ab"}',
    "messages of null": b'{"messages": null}',
    "messages of a mapping": b'{"messages": {"a": 1}}',
    "no messages": b'{"messages": []}',
    "one message": b'{"messages": [{"role": "assistant", "content": "a"}]}',
    "no role": b'{"messages": [{"content": "q"}, {"content": "a"}]}',
    "a role of 3": b'{"messages": [{"role": 3, "content": "q"}, {"role": "assistant", "content": "a"}]}',
    "an unknown role": b'{"messages": [{"role": "bystander", "content": "q"}, {"role": "assistant", "content": "a"}]}',
    "content of 3": b'{"messages": [{"role": "user", "content": 3}, {"role": "assistant", "content": "a"}]}',
    "half a character": json.dumps(RECORD).replace('"q"', '"\\ud800"').encode(),
    "the user last": b'{"messages": [{"role": "assistant", "content": "q"}, {"role": "user", "content": "a"}]}',
    "empty": b"",
}


@pytest.mark.parametrize("what", SPLITS)
def test_a_wrong_file_of_splits(what, refuses, tmp_path):
    for split in ("extract", "align", "train"):
        good = json.dumps(RECORD).replace('"q"', f'"{split}"').encode()
        (tmp_path / f"gsm_{split}_split.jsonl").write_bytes((SPLITS[what] if split == "align" else good) + b"\n")
    says = "gsm_align_split.jsonl" if what != "empty" else "train"
    refuses(["data", "show", "gsm8k", "--splits", str(tmp_path)], says)


ROWS: dict[str, bytes] = {
    "not UTF-8": b'{"question": "\xff"}',
    "deep": b"[" * DEEP,
    "cut": b'{"question": "a", "answ',
    "a list": b"[1]",
    "null": b"null",
    "another column": b'{"frage": "a", "answer": "b"}',
    "a question of null": b'{"question": null, "answer": "1 #### 1"}',
    "a question of 3": b'{"question": 3, "answer": "1 #### 1"}',
    "an answer of a list": b'{"question": "a", "answer": [1]}',
    "half a character": b'{"question": "\\ud800", "answer": "#### 1"}',
    "empty": b"",
}


@pytest.mark.parametrize("what", ROWS)
@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_wrong_rows(what, suffix, refuses, tmp_path):
    (tmp_path / "gsm8k").mkdir()
    good = "".join(json.dumps({"question": f"q{i}", "answer": f"#### {i}"}) + "\n" for i in range(80))
    rows = ROWS[what] + b"\n" + (good.encode() if what != "empty" else b"")
    (tmp_path / "gsm8k" / f"train.{suffix}").write_bytes(rows)
    says = "records" if what == "empty" and suffix == "jsonl" else "gsm8k"
    refuses(["data", "show", "gsm8k", "--data-dir", str(tmp_path)], says)
