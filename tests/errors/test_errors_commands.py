"""Words, places and devices of commands."""

import json
from pathlib import Path

import pytest
from bounded import LONG, refused

TRANSFER = ["transfer", "method=lora", "transfer_task=nano_gsm8k", "train_samples=4", "max_steps=1"]
SHOW, BUILD = ["data", "show", "nano_gsm8k"], ["data", "build", "nano_gsm8k"]
DIAGNOSE = ["diagnose", "--data", "nano_gsm8k"]


OUTS = {
    "file/out": "file",
    "file": "file",
    "loop": "loop",
    "loop/out": "loop",
    "store/Students/mine": "in the store",
    LONG: "long",
    f"a/{LONG}/b": "long",
    "nowhere-link": "link",
    "a\0b": "null",
    "/proc/none/out": "/proc",
}


@pytest.mark.parametrize("out", OUTS)
@pytest.mark.parametrize(
    "command", [TRANSFER, BUILD, DIAGNOSE, ["run", "suite.yaml"], ["report", "run"]], ids=lambda c: c[0] + c[1]
)
def test_a_place_that_cannot_be_written(command, out, places, refuses):
    refuses([*command, "--out", out], OUTS[out])


@pytest.mark.parametrize("device", ["mps", "cuda:99", "gpu", "tpu", "meta", "xpu", "cuda:x", "☃"])
@pytest.mark.parametrize("command", [TRANSFER, DIAGNOSE, ["run"]], ids=lambda c: c[0])
def test_a_device_that_is_not_there(command, device, places, refuses, tmp_path):
    if command == ["run"]:
        suite = json.dumps({"benchmarks": ["nano_mmlu"], "methods": ["vanilla"], "device": device})
        (tmp_path / "suite.yaml").write_text(suite)
        refuses(["run", "suite.yaml"], "device")
    else:
        refuses([*command, "--out", "out", "--device", device], "device")


@pytest.mark.parametrize("device", ["mps", "cuda:99", "gpu", "meta", "xpu", "cuda:x"])
def test_a_device_that_is_not_there_of_the_wrapper(device):
    from pkt_eval.model_wrappers.student import PKTStudent

    refused(lambda: PKTStudent(method="lora", transfer_task="nano_gsm8k", device=device), "device")


NANO = "transfer_task=nano_gsm8k"
COMMANDS: dict[str, tuple[list[str], str]] = {
    "no equals": (["transfer", "lora", "--out", "out"], "lora"),
    "no key": (["transfer", "=lora", "--out", "out"], "=lora"),
    "twice the folder": ([*TRANSFER, "--out", "full"], "full"),
    "no out": (TRANSFER, "out"),
    "unknown command": (["transfr"], "transfr"),
    "unknown option": (["methods", "--colour"], "--colour"),
    "unknown method": (["methods", "sekking"], "seeking"),
    "unknown level": (["doctor", "--level", "foo"], "foo"),
    "a hub's model that is not there": (["transfer", "pretrained=no/body", "--out", "out"], "no/body"),
    "a folder that is not there": (["transfer", "pretrained=./nobody", "method=vanilla", "--out", "out"], "nobody"),
    "a model's name of text": (["transfer", f"pretrained={LONG * 20}", "method=vanilla", "--out", "out"], "xxx"),
    "a model with a null": (["transfer", "pretrained=a\0b", "method=vanilla", "--out", "out"], "a"),
    "a teacher alone": (["transfer", "teacher=./t", "method=seeking", "--out", "out"], "pretrained"),
    "no teacher": (["transfer", "pretrained=full", "method=seeking", NANO, "--out", "out"], "teacher"),
    "a task that is none": ([*SHOW[:2], "gsm9k"], "gsm9k"),
    "size of a squared sign": ([*SHOW, "--size", "train=²"], "train=²"),
    "size of nothing": ([*SHOW, "--size", "train="], "train="),
    "size of another split": ([*SHOW, "--size", "trian=5"], "trian"),
    "size of minus one": ([*SHOW, "--size", "train=-1"], "train=-1"),
    "size of 5,000 digits": ([*SHOW, "--size", "train=" + "9" * 5000], "train="),
    "splits that are not there": ([*SHOW, "--splits", "nowhere"], "nowhere"),
    "splits that are a file": ([*SHOW, "--splits", "file"], "file"),
    "splits in a loop": ([*SHOW, "--splits", "loop"], "loop"),
    "no splits in it": ([*SHOW, "--splits", "full"], "full"),
    "data that is not there": (["data", "show", "gsm8k", "--data-dir", "nowhere"], "nowhere"),
    "data that is a file": (["data", "show", "gsm8k", "--data-dir", "file"], "file"),
    "a tokenizer that is not there": ([*SHOW, "--tokenizer", "nowhere"], "nowhere"),
    "n-grams of nothing": (["data", "check", "nano_gsm8k", "-n", "0"], "-n"),
    "n-grams to fail on of nothing": (["data", "check", "nano_gsm8k", "--fail-on", "0"], "--fail-on"),
    "n of text": (["data", "check", "nano_gsm8k", "-n", "x"], "-n"),
    "diagnose: no data": (["diagnose", "--out", "out"], "data"),
    "diagnose: a task that is none": (["diagnose", "--data", "gsm9k", "--out", "out"], "gsm9k"),
    "diagnose: one model": ([*DIAGNOSE, "--teacher", "full", "--out", "out"], "--student"),
    "diagnose: no students": ([*DIAGNOSE, "--transferred", "full", "--out", "out"], "full"),
    "diagnose: few tokens": ([*DIAGNOSE, "--tokens", "1", "--out", "out"], "tokens"),
    "diagnose: a format": ([*DIAGNOSE, "--chat-format", "html", "--out", "out"], "chat_format"),
    "diagnose: a seed": ([*DIAGNOSE, "--seed", "-1", "--out", "out"], "seed"),
    "status of nothing": (["status", "nowhere"], "nowhere"),
    "status of a file": (["status", "file"], "file"),
    "status of a loop": (["status", "loop"], "loop"),
    "status of another folder": (["status", "full"], "full"),
    "run nothing": (["run"], "YAML"),
    "run a folder": (["run", "full"], "full"),
    "run what is not there": (["run", "nowhere.yaml"], "nowhere"),
    "run a loop": (["run", "loop"], "loop"),
    "run a long name": (["run", LONG], "xxx"),
    "run only what is not there": (["run", "suite.yaml", "--only", "lorra"], "lorra"),
    "report of nothing": (["report", "nowhere", "--out", "out"], "nowhere"),
    "report of an empty folder": (["report", "full", "--out", "out"], "full"),
    "records kept in what they are of": (["report", "run", "--out", "run", "--keep-records"], "--keep-records"),
    "records kept below that": (["report", "run", "--out", "run/board", "--keep-records"], "--keep-records"),
    "records kept beside others": (["report", ".", "--out", "out", "--keep-records"], "--keep-records"),
    "records of records": (["report", "run/records", "--out", "run", "--keep-records"], "--keep-records"),
    "report of a file": (["report", "file", "--out", "out"], "file"),
    "report of a loop": (["report", "loop", "--out", "out"], "loop"),
    "gate of nothing": (["gate", "--baseline", "nowhere", "--candidate", "full"], "nowhere"),
    "gate of an empty folder": (["gate", "--baseline", "full", "--candidate", "full"], "full"),
    "gate of one folder": (["gate", "--baseline", "full"], "candidate"),
}  # fmt: skip


@pytest.mark.parametrize("what", COMMANDS)
def test_a_wrong_command(what, places, refuses, monkeypatch):
    refuses(*COMMANDS[what])
    assert not Path("out").exists()


def test_a_level_of_the_log_that_is_none(monkeypatch, refuses):
    monkeypatch.setenv("LOGLEVEL", "loud")
    refuses(["methods"], "LOUD")
