"""More wrong requests: options of single methods, files that are no files, places, and what ``hf`` takes.

As ``test_errors``: a row is a request and a word that its one line must hold. Pipes are there because opening one waits
for ever, ``/dev/zero`` because it never ends.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pkt_eval import cli, nano
from pkt_eval.errors import PKTError

SECONDS = 60
TEACHER, STUDENT = nano.model_path("teacher"), nano.model_path("student")
NANO = "transfer_task=nano_gsm8k"
LATEN, SEEKING = ["transfer", "method=laten", NANO], ["transfer", "method=seeking", NANO]
LORA, DIAGNOSE = ["transfer", "method=lora", NANO], ["diagnose", "--data", "nano_gsm8k"]
OUT = ["--out", "out"]
LONG = "x" * 300
DEEP = "[" * 100_000
OTHERS = ("WARNING", "INFO", "Usage:", "Try", "usage:")


class TooLongError(BaseException):
    """Not an Exception, which the code under test might turn into a line."""


@contextmanager
def bounds() -> Iterator[None]:
    """Stop what hangs."""

    def stop(*_: object) -> None:
        raise TooLongError(f"over {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def ends(words: list[str], capfd, main: Callable[[], object] = cli.main) -> tuple[int, list[str], str]:
    """Exit code of a command, its lines on stderr without what others say there, and all of stderr."""
    sys.argv = ["pkt-eval", *words]
    capfd.readouterr()
    with bounds(), pytest.raises(SystemExit) as ended:
        main()
    error = capfd.readouterr().err
    lines = [line for line in error.splitlines() if line.strip() and not line.startswith(OTHERS)]
    return ended.value.code, [line for line in lines if "it/s]" not in line and "s/it]" not in line], error


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch) -> None:
    """``file``, a full folder ``full``, a loop, a ``fifo``, a suite and records."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", sys.argv)
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "suite.yaml").write_text("benchmarks: [nano_mmlu]\nmethods: [vanilla]\n")
    lay(tmp_path / "run")


def lay(folder: Path, items: int = 2, **changes: object) -> None:
    """Records of one task, in lm-eval's shape."""
    task, pkt = "pkt_gsm8k_chat", {"method": "vanilla", "student": "a/b"}
    content = {
        "results": {task: {"exact_match,strict-match": 0.5}},
        "configs": {task: {"generation_kwargs": {}}},
        "config": {"model": "pkt_student", "model_args": {"pretrained": "a/b"}, "pkt": pkt},
        "versions": {task: 1},
        "n-shot": {task: 0},
        "n-samples": {task: {"original": items, "effective": items}},
        "group_subtasks": {},
        "date": 1.0,
        **changes,
    }
    folder.mkdir()
    (folder / "results_2026.json").write_text(json.dumps(content))
    lines = [
        {
            "doc_id": i, "doc": {"question": f"q{i}"}, "target": "t", "resps": [["a"]], "filtered_resps": ["a"],
            "arguments": {"gen_args_0": {"arg_0": "p", "arg_1": {}}}, "filter": "strict-match",
            "doc_hash": f"{i:064}", "prompt_hash": "2" * 64, "target_hash": "3" * 64, "exact_match": i % 2,
        }
        for i in range(items)
    ]  # fmt: skip
    (folder / f"samples_{task}_2026.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


COMMANDS: dict[str, tuple[list[str], str]] = {
    # transfer: options of single methods
    "rate of nothing": ([*LATEN, "rate=0", *OUT], "rate"),
    "rate of nan": ([*LATEN, "rate=nan", *OUT], "rate"),
    "rate above one": ([*LATEN, "rate=10", *OUT], "rate"),
    "steps of zero": ([*LATEN, "steps=0", *OUT], "steps"),
    "steps of infinity": ([*LATEN, "steps=inf", *OUT], "steps"),
    "one sample a step": ([*LATEN, "samples_per_step=1", *OUT], "samples_per_step"),
    "a judge that is none": ([*LATEN, "select_by=luck", *OUT], "select_by"),
    "an attribution that is none": ([*LATEN, "attribution=guess", *OUT], "attribution"),
    "blocks that LaTen has not": ([*LATEN, "modules=gate", *OUT], "gate"),
    "LaTen's rate of nan": ([*LATEN, "learning_rate=nan", *OUT], "learning_rate"),
    "LaTen's rate of infinity": ([*LATEN, "learning_rate=3e-4+inf", *OUT], "learning_rate"),
    "LaTen's rate of 1e300": ([*LATEN, "learning_rate=1e300", *OUT], "learning_rate"),
    "a scale for LaTen": ([*LATEN, "scale=2", *OUT], "scale"),
    "a scale of nan": (["transfer", "method=unaligned", NANO, "scale=nan", *OUT], "scale"),
    "a scale of infinity": (["transfer", "method=unaligned", NANO, "scale=inf", *OUT], "scale"),
    "a wrong task for Seeking": ([*SEEKING, "wrong_task=nano_mbpp", *OUT], "wrong_task"),
    "the wrong task is the right one": (
        ["transfer", "method=seeking_wrong_task", NANO, "wrong_task=nano_gsm8k", *OUT],
        "wrong_task",
    ),
    "a wrong task that is none": (["transfer", "method=seeking_wrong_task", NANO, "wrong_task=x", *OUT], "'x'"),
    "LoRA's option for LaTen": ([*LATEN, "train_batch_size=4", *OUT], "train_batch_size"),
    "an option of vanilla": (["transfer", "method=vanilla", "rank=4", *OUT], "rank"),
    # transfer: words
    "a word twice": ([*LORA, "rank=4", "rank=8", *OUT], "rank"),
    "a word of nothing": ([*LORA, "rank=", *OUT], "rank"),
    "a word in capitals": ([*LORA, "Rank=4", *OUT], "rank"),
    "a word with spaces": ([*LORA, " rank = 4", *OUT], "rank"),
    "a word of 10,000 letters": ([*LORA, f"{'rank' * 2500}=4", *OUT], "rankrank"),
    "a word with an escape": ([*LORA, "\x1b[2Jrank=4", *OUT], "rank"),
    "a comma for a space": (["transfer", f"method=lora,{NANO}", *OUT], "method"),
    "thinking perhaps": ([*LORA, "enable_thinking=perhaps", *OUT], "enable_thinking"),
    "template arguments cut": ([*LORA, 'chat_template_args={"a":', *OUT], "chat_template_args"),
    "template arguments of a list": ([*LORA, "chat_template_args=[1]", *OUT], "chat_template_args"),
    "template arguments deep": ([*LORA, f"chat_template_args={DEEP}", *OUT], "chat_template_args"),
    "template arguments that are ours": ([*LORA, 'chat_template_args={"tokenize": true}', *OUT], "tokenize"),
    "more records than there are": ([*LORA, "train_samples=10**9", *OUT], "train_samples"),
    "a data folder that is a file": (["transfer", "method=lora", "transfer_task=gsm8k", "data_dir=file", *OUT], "file"),
    "a data folder in a loop": (["transfer", "method=lora", "transfer_task=gsm8k", "data_dir=loop", *OUT], "loop"),
    "splits that are a file": ([*LORA, "splits=file", *OUT], "file"),
    "a model that is a file": ([*LORA, "pretrained=file", *OUT], "file"),
    "a model in a loop": ([*LORA, "pretrained=loop", *OUT], "loop"),
    "a model of nothing": ([*LORA, "pretrained=", *OUT], "pretrained"),
    "a model that is a pipe": ([*LORA, "pretrained=fifo", *OUT], "fifo"),
    "a model that is all there is": ([*LORA, "pretrained=/", *OUT], "config.json"),
    "a teacher of nothing": ([*SEEKING, f"pretrained={STUDENT}", "teacher=", *OUT], "teacher"),
    "a teacher smaller than its student": (
        [*SEEKING, f"pretrained={TEACHER}", f"teacher={STUDENT}", *OUT],
        "teacher",
    ),
    "no words": (["transfer", *OUT], "KEY=VALUE"),
    "an output of nothing": ([*LORA, "--out", ""], "is empty"),
    "an output that is a pipe": ([*LORA, "--out", "fifo"], "fifo"),
    "an output in /dev": ([*LORA, "--out", "/dev/null/x"], "/dev/null"),
    # run and status
    "a suite that never ends": (["run", "/dev/zero", *OUT], "/dev/zero"),
    "a suite that is a pipe": (["run", "fifo", *OUT], "fifo"),
    "a suite with a null": (["run", "a\0b"], "a"),
    "a suite's engine with a path": (["run", "engine.yaml"], "engine"),
    "a suite's device of a list": (["run", "device.yaml"], "device"),
    "only nothing": (["run", "suite.yaml", "--only", ""], "is empty"),
    "status of nothing at all": (["status", ""], "is empty"),
    "status of a pipe": (["status", "fifo"], "fifo"),
    "status of a null": (["status", "a\0b"], "a"),
    "status of a long name": (["status", LONG], "xxx"),
    # report
    "report of a pipe": (["report", "fifo", *OUT], "fifo"),
    "report of what never ends": (["report", "/dev/zero", *OUT], "/dev/zero"),
    "report of a null": (["report", "a\0b", *OUT], "a"),
    "report of a long name": (["report", LONG, *OUT], "xxx"),
    "report of a samples file": (["report", "run/samples_pkt_gsm8k_chat_2026.jsonl", *OUT], "samples_pkt"),
    "a correction that is none": (["report", "run", "--correction", "bonferroni", *OUT], "correction"),
    "a score of nan": (["report", "score-nan", *OUT], "results_2026.json"),
    "a score above one": (["report", "score-7", *OUT], "results_2026.json"),
    "a score below zero": (["report", "score-below", *OUT], "results_2026.json"),
    "items below zero": (["report", "items-below", *OUT], "results_2026.json"),
    "results that are a pipe": (["report", "piped", *OUT], "results_2026.json"),
    "results that are a folder": (["report", "foldered", *OUT], "results_2026.json"),
    "samples that are a pipe": (["report", "piped-samples", *OUT], "samples_pkt_gsm8k_chat"),
    # gate
    "gate of a pipe": (["gate", "--baseline", "fifo", "--candidate", "run"], "fifo"),
    "gate of colons": (["gate", "--baseline", "::", "--candidate", "run"], "::"),
    "gate of a student of nothing": (["gate", "--baseline", "::lora", "--candidate", "run"], "::lora"),
    "gate of no name": (["gate", "--baseline", "run::", "--candidate", "run"], "run::"),
    "gate of an unknown student": (["gate", "--baseline", "run::lroa", "--candidate", "run"], "vanilla"),
    "gate of an unknown seed": (["gate", "--baseline", "run::vanilla/seed3", "--candidate", "run"], "seed"),
    "alpha below zero": (["gate", "--baseline", "run", "--candidate", "run", "--alpha", "-1"], "alpha"),
    "alpha of a half": (["gate", "--baseline", "run", "--candidate", "run", "--alpha", "0.5"], "alpha"),
    "alpha of next to nothing": (["gate", "--baseline", "run", "--candidate", "run", "--alpha", "1e-300"], "items"),
    "a tolerance with a comma": (["gate", "--baseline", "run", "--candidate", "run", "--tolerance", "0,02"], "0.02"),
    "a tolerance in per cent": (["gate", "--baseline", "run", "--candidate", "run", "--tolerance", "2%"], "0.02"),
    "a tolerance in points": (["gate", "--baseline", "run", "--candidate", "run", "--tolerance", "2"], "0.02"),
    "a tolerance of no name": (["gate", "--baseline", "run", "--candidate", "run", "--tolerance", "=0.02"], "="),
    "a tolerance of next to nothing": (
        ["gate", "--baseline", "run", "--candidate", "run", "--tolerance", "1e-9"],
        "two points are 0.02",
    ),
    "JUnit of nothing": (["gate", "--baseline", "run", "--candidate", "run", "--junit", ""], "is empty"),
    "JUnit into a pipe's folder": (["gate", "--baseline", "run", "--candidate", "run", "--junit", "fifo/x"], "fifo"),
    "JUnit and JSON in one": (["gate", "--baseline", "run", "--candidate", "run", "--junit", "x", "--json", "x"], "x"),
    # data
    "a seed below zero": (["data", "show", "nano_gsm8k", "--seed", "-1"], "seed"),
    "a seed of thirty digits": (["data", "build", "nano_gsm8k", "--seed", "9" * 30, *OUT], "seed"),
    "a size twice": (["data", "show", "nano_gsm8k", "--size", "train=5", "--size", "train=6"], "train"),
    "a size of no split": (["data", "show", "nano_gsm8k", "--size", "=5"], "=5"),
    "a tokenizer that is a file": (["data", "show", "nano_gsm8k", "--tokenizer", "file"], "file"),
    "a tokenizer of nothing": (["data", "show", "nano_gsm8k", "--tokenizer", ""], "is empty"),
    "data built into nothing": (["data", "build", "nano_gsm8k", "--out", ""], "is empty"),
    "data built into a pipe": (["data", "build", "nano_gsm8k", "--out", "fifo"], "fifo"),
    "splits that are a pipe": (["data", "show", "nano_gsm8k", "--splits", "piped-splits"], "piped-splits"),
    "splits of folders": (["data", "show", "nano_gsm8k", "--splits", "foldered-splits"], "foldered-splits"),
    "rows that are a pipe": (["data", "show", "gsm8k", "--data-dir", "piped-rows"], "train.jsonl"),
    "rows that are a folder": (["data", "show", "gsm8k", "--data-dir", "foldered-rows"], "train.jsonl"),
    "allow less than nothing": (["data", "check", "nano_gsm8k", "--allow", "-1"], "--allow"),
    "n of a billion": (["data", "check", "nano_gsm8k", "-n", "1000000000"], "-n"),
    "a task of nothing": (["data", "show", ""], "is empty"),
    "a task with a path": (["data", "show", "../gsm8k"], "gsm8k"),
    # diagnose
    "a student that is a file": ([*DIAGNOSE, "--transferred", "file", *OUT], "file"),
    "a student that is a pipe": ([*DIAGNOSE, "--transferred", "fifo", *OUT], "fifo"),
    "a seed too large": ([*DIAGNOSE, "--seed", str(2**32), *OUT], "seed"),
    "tokens of a billion billions": ([*DIAGNOSE, "--tokens", "1" + "0" * 18, *OUT], "tokens"),
    "samples of a billion": ([*DIAGNOSE, "--samples", "1" + "0" * 18, *OUT], "samples"),
    "texts that are not there": (["diagnose", "--data", "gsm8k", "--data-dir", "nowhere", *OUT], "nowhere"),
    "a pair that is none": (
        [*DIAGNOSE, "--teacher", TEACHER, "--student", "full", *OUT],
        "full",
    ),
    # methods, doctor and the command itself
    "a method of nothing": (["methods", ""], "is empty"),
    "a method with a path": (["methods", "../lora"], "lora"),
    "two methods": (["methods", "lora", "pissa"], "pissa"),
    "a level of nothing but spaces": (["doctor", "--level", " "], "level"),
    "half a level": (["doctor", "--level", "bwrap"], "bwrap+seccomp"),
    "an option before the command": (["--colour", "methods"], "--colour"),
    "a command of nothing": ([""], "is empty"),
    "a command of data that is none": (["data", "biuld"], "biuld"),
}


def prepare(folder: Path) -> None:
    """The files that some rows name."""
    (folder / "engine.yaml").write_text("benchmarks: [nano_mmlu]\nmethods: [vanilla]\nengine: ../local\n")
    (folder / "device.yaml").write_text("benchmarks: [nano_mmlu]\nmethods: [vanilla]\ndevice: [cpu]\n")
    task = "pkt_gsm8k_chat"
    lay(folder / "score-nan", results={task: {"exact_match,strict-match": float("nan")}})
    lay(folder / "score-7", results={task: {"exact_match,strict-match": 7}})
    lay(folder / "score-below", results={task: {"exact_match,strict-match": -0.5}})
    lay(folder / "items-below", **{"n-samples": {task: {"original": -2, "effective": -2}}})
    for name in ("piped", "piped-samples", "foldered"):
        lay(folder / name)
    (folder / "piped" / "results_2026.json").unlink()
    os.mkfifo(folder / "piped" / "results_2026.json")
    (folder / "foldered" / "results_2026.json").unlink()
    (folder / "foldered" / "results_2026.json").mkdir()
    (folder / "piped-samples" / "samples_pkt_gsm8k_chat_2026.jsonl").unlink()
    os.mkfifo(folder / "piped-samples" / "samples_pkt_gsm8k_chat_2026.jsonl")
    for split in ("extract", "align", "train", "validation"):
        for name, make in (("piped-splits", os.mkfifo), ("foldered-splits", os.mkdir)):
            (folder / name).mkdir(exist_ok=True)
            make(folder / name / f"nano_gsm8k_{split}_split.jsonl")
    for name, make in (("piped-rows", os.mkfifo), ("foldered-rows", os.mkdir)):
        (folder / name / "gsm8k").mkdir(parents=True)
        make(folder / name / "gsm8k" / "train.jsonl")


@pytest.mark.parametrize("what", COMMANDS)
def test_a_wrong_command(what, capfd, tmp_path):
    prepare(tmp_path)
    words, says = COMMANDS[what]
    code, lines, error = ends(words, capfd)
    assert code == 2 and "Traceback" not in error, error[-2000:]
    assert len(lines) == 1 and says in lines[0], error[-2000:]
    assert not (tmp_path / "out").exists()


WRAPPER: dict[str, tuple[dict[str, object], str]] = {
    "a student of nothing": ({"student": ""}, "student"),
    "a student that is a file": ({"student": "file"}, "file"),
    "a student that is a pipe": ({"student": "fifo"}, "fifo"),
    "a student and its base": ({"student": "full", "pretrained": "x"}, "pretrained"),
    "a model that is a number": ({"method": "vanilla", "pretrained": 3}, "3"),
    "a model that is true": ({"method": "vanilla", "pretrained": True}, "pretrained"),
    "a model that is a pipe": ({"method": "vanilla", "pretrained": "fifo"}, "fifo"),
    "a method of a list": ({"method": ["lora"]}, "method"),
    "a method of a number": ({"method": 3}, "method"),
    "a seed that is true": ({"method": "lora", "transfer_task": "nano_gsm8k", "seed": True}, "seed"),
    "a rank that is true": ({"method": "lora", "transfer_task": "nano_gsm8k", "rank": True}, "rank"),
    "a rank of a list": ({"method": "lora", "transfer_task": "nano_gsm8k", "rank": [4]}, "rank"),
    "the second CPU": ({"method": "vanilla", "device": "cpu:1"}, "device"),
    "a device of a list": ({"method": "vanilla", "device": ["cpu"]}, "device"),
    "a batch size below zero": ({"method": "vanilla", "batch_size": -3}, "batch_size"),
    "half a batch": ({"method": "vanilla", "batch_size": 1.5}, "batch_size"),
    "automatic, of text": ({"method": "vanilla", "batch_size": "auto:x"}, "batch_size"),
    "a batch size without end": ({"method": "vanilla", "batch_size": float("inf")}, "batch_size"),
    "a largest batch of nothing": ({"method": "vanilla", "batch_size": 1, "max_batch_size": 0}, "max_batch_size"),
    "a largest batch of text": ({"method": "vanilla", "batch_size": "auto", "max_batch_size": "x"}, "max_batch_size"),
    "a length that is true": ({"method": "vanilla", "max_length": True}, "max_length"),
    "truncation perhaps": ({"method": "vanilla", "truncation": "perhaps"}, "truncation"),
    "a beginning perhaps": ({"method": "vanilla", "add_bos_token": "perhaps"}, "add_bos_token"),
    "trust perhaps": ({"method": "vanilla", "trust_remote_code": "perhaps"}, "trust_remote_code"),
    "thinking perhaps": ({"method": "vanilla", "enable_thinking": "perhaps"}, "enable_thinking"),
    "template arguments deep": ({"method": "vanilla", "chat_template_args": DEEP}, "chat_template_args"),
    "template arguments of a number": ({"method": "vanilla", "chat_template_args": 3}, "chat_template_args"),
    "an adapter in a file": ({"method": "vanilla", "peft": "file"}, "peft"),
    "an adapter in a full folder": ({"method": "vanilla", "peft": "full"}, "peft"),
    "an adapter of true": ({"method": "vanilla", "peft": True}, "peft"),
    "a tokenizer in a file": ({"method": "vanilla", "tokenizer": "file"}, "tokenizer"),
    "a subfolder that is not there": ({"method": "vanilla", "subfolder": "nowhere"}, "nowhere"),
    "a backend that is none": ({"method": "vanilla", "backend": "encoder"}, "backend"),
    "a GGUF file that is not there": ({"method": "vanilla", "gguf_file": "nowhere.gguf"}, "nowhere.gguf"),
    "a softmax of float13": ({"method": "vanilla", "softmax_dtype": "float13"}, "softmax_dtype"),
    "mixed float13": ({"method": "vanilla", "mixed_precision_dtype": "float13"}, "mixed_precision_dtype"),
    "a first token of text": ({"method": "vanilla", "prefix_token_id": "x"}, "prefix_token_id"),
    "GPTQ perhaps": ({"method": "vanilla", "autogptq": "nowhere"}, "autogptq"),
    "four bits": ({"method": "vanilla", "load_in_4bit": True}, "load_in_4bit"),
    "a splits folder of true": ({"method": "lora", "transfer_task": "nano_gsm8k", "splits": True}, "splits"),
    "an argument with a space": ({"method": "vanilla", "pre trained": "x"}, "pretrained"),
}


@pytest.mark.parametrize("what", WRAPPER)
def test_a_wrong_argument_of_the_wrapper(what):
    from pkt_eval.model_wrappers.student import PKTStudent

    arguments, says = WRAPPER[what]
    with bounds(), pytest.raises(PKTError) as ended:
        PKTStudent(**{"device": "cpu", **arguments})
    said = str(ended.value)
    assert says in said and "\n" not in said.strip(), said


TRAINING: dict[str, tuple[list[str], str]] = {
    "no folder": ([], "--out"),
    "a role that is none": (["--role", "pupil", *OUT], "--role"),
    "a scale of nothing": (["--scale", "0", *OUT], "scale"),
    "a scale of nan": (["--scale", "nan", *OUT], "scale"),
    "a scale of infinity": (["--scale", "inf", *OUT], "scale"),
    "a scale of 1e300": (["--scale", "1e300", *OUT], "scale"),
    "a seed below zero": (["--seed", "-1", *OUT], "seed"),
    "a seed of thirty digits": (["--seed", "9" * 30, *OUT], "seed"),
    "threads of nothing": (["--threads", "0", *OUT], "threads"),
    "threads of a billion": (["--threads", "1000000000", *OUT], "threads"),
    "a precision that is none": (["--precision", "fp4", *OUT], "--precision"),
    "under a file": (["--smoke", "--out", "file/x"], "file"),
    "in a loop": (["--smoke", "--out", "loop/x"], "loop"),
    "with a long name": (["--smoke", "--out", LONG], "long"),
    "in a pipe": (["--smoke", "--out", "fifo"], "fifo"),
    "with a null": (["--smoke", "--out", "a\0b"], "null"),
}


@pytest.mark.parametrize("what", TRAINING)
def test_a_wrong_training_of_the_family(what, capfd):
    from pkt_eval.nano_training import train

    words, says = TRAINING[what]
    code, lines, error = ends(words, capfd, lambda: sys.exit(train.main(words)))
    assert code == 2 and "Traceback" not in error and says in lines[-1], error[-2000:]
