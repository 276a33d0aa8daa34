"""Records: results and samples, by the report and by the gate; and the gate's own options."""

import json

import pytest
from bounded import DEEP, LONG
from records_of_hand import SAMPLE, lay, results

PKT = {"method": "lora", "student": "a/b"}
GROUPED = {"g": {"acc,none": 1.0}, "pkt_gsm8k_chat": {"exact_match,strict-match": 0.5}}
LEARNT = {**PKT, "transfer_task": "gsm8k", "record": {"training": {"steps": 3}}}
RESULTS: dict[str, object] = {
    "not UTF-8": b'{"\xff": 1}',
    "deep": b"[" * DEEP,
    "cut": json.dumps(results()).encode()[:-9],
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "no results": results(results=None),
    "results of a list": results(results=[1]),
    "a task of text": results(results={"pkt_gsm8k_chat": "good"}),
    "configs of text": results(configs="x"),
    "a configuration of a list": results(configs={"pkt_gsm8k_chat": [1]}),
    "versions of a list": results(versions=[1]),
    "shots of a list": results(**{"n-shot": [1]}),
    "shots of text": results(**{"n-shot": {"pkt_gsm8k_chat": "many"}}),
    "shots of a mapping": results(**{"n-shot": {"pkt_gsm8k_chat": {}}}),
    "counts of a list": results(**{"n-samples": [1]}),
    "counts of text": results(**{"n-samples": {"pkt_gsm8k_chat": "x"}}),
    "groups of a list": results(group_subtasks=[1]),
    "a group of text": results(group_subtasks={"g": 3}, results=GROUPED),
    "a group in a circle": results(group_subtasks={"g": ["g"]}, results=GROUPED),
    "a date of text": results(date="today"),
    "a date of a list": results(date=[1]),
    "a template of a list": results(chat_template_sha=[1]),
    "generation of text": results(configs={"pkt_gsm8k_chat": {"generation_kwargs": "x"}}),
    "a limit of text": results(config={"model": "hf", "limit": "x"}),
    "a provenance without a method": results(config={"pkt": {}}),
    "a seed of text": results(config={"pkt": {**PKT, "seed": "x"}}),
    "a configuration of text": results(config={"pkt": {**PKT, "config": "x"}}),
    "seconds of text": results(config={"pkt": {**PKT, "seconds": {"a": "x"}, "transfer_task": "gsm8k"}}),
    "sizes of text": results(config={"pkt": {**PKT, "split_sizes": "x"}}),
    "sizes of a list in it": results(config={"pkt": {**LEARNT, "split_sizes": {"train": [1]}}}),
    "a score of 10^400": b'{"results": {"a": {"acc,none": 1' + b"0" * 400 + b'}}, "configs": {"a": {}}, "config": {}}',
}
SAMPLES: dict[str, bytes] = {
    "not UTF-8": b'{"\xff": 1}',
    "deep": b"[" * DEEP,
    "cut": json.dumps(SAMPLE).encode()[:-9],
    "empty": b"",
    "a list": b"[1]",
    "null": b"null",
    "no score": json.dumps({**SAMPLE, "exact_match": None}).encode()[:-1],
    "arguments of text": json.dumps({**SAMPLE, "arguments": "x"}).encode(),
    "no arguments": json.dumps({**SAMPLE, "arguments": {}}).encode(),
    "responses of null": json.dumps({**SAMPLE, "resps": None}).encode(),
    "no responses": json.dumps({**SAMPLE, "resps": []}).encode(),
    "filtered responses of 3": json.dumps({**SAMPLE, "filtered_resps": 3}).encode(),
    "choices that are none": json.dumps({**SAMPLE, "filtered_resps": [["x", "True"]]}).encode(),
    "a hash of a list": json.dumps({**SAMPLE, "doc_hash": [1]}).encode(),
    "another file": b'{"items": "../../../secret"}\n{"filter": "strict-match"}',
    "another file of 3": b'{"items": 3}',
}


@pytest.mark.parametrize("command", ["report", "gate"])
@pytest.mark.parametrize("what", RESULTS)
def test_a_wrong_results_file(what, command, refuses, tmp_path):
    lay(tmp_path / "run", RESULTS[what])
    words = (
        ["report", "run", "--out", "out"]
        if command == "report"
        else ["gate", "--baseline", "run", "--candidate", "run"]
    )
    refuses(words, "results_2026.json")


@pytest.mark.parametrize("command", ["report", "gate"])
@pytest.mark.parametrize("what", SAMPLES)
def test_a_wrong_file_of_samples(what, command, refuses, tmp_path):
    lay(tmp_path / "run", results(), SAMPLES[what])
    words = (
        ["report", "run", "--out", "out"]
        if command == "report"
        else ["gate", "--baseline", "run", "--candidate", "run"]
    )
    refuses(words, "samples_pkt_gsm8k_chat_2026")


GATES = {
    "tolerance of text": (["--tolerance", "small"], "small"),
    "tolerance of nan": (["--tolerance", "nan"], "tolerance"),
    "tolerance of one": (["--tolerance", "1"], "tolerance"),
    "tolerance below zero": (["--tolerance", "-0.1"], "tolerance"),
    "tolerance twice": (["--tolerance", "0.1", "--tolerance", "0.2"], "twice"),
    "tolerance of another benchmark": (["--tolerance", "chess=0.1"], "chess"),
    "alpha of nan": (["--alpha", "nan"], "alpha"),
    "alpha of one": (["--alpha", "1"], "alpha"),
    "alpha of text": (["--alpha", "x"], "alpha"),
    "JUnit under a file": (["--junit", "file/x.xml"], "x.xml"),
    "JUnit in a folder": (["--junit", "run"], "run: it is a folder; name a file"),
    "JUnit in this folder": (["--junit", "."], "it is a folder; name a file"),
    "JSON with a long name": (["--json", LONG], "xxx"),
    "JSON in a loop": (["--json", "loop/x"], "x"),
}


@pytest.mark.parametrize("what", GATES)
def test_a_wrong_gate(what, refuses, places, tmp_path):
    words, says = GATES[what]
    refuses(["gate", "--baseline", "run", "--candidate", "run", *words], says)
