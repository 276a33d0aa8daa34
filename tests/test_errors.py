"""Wrong requests at every entrance end in one line that names what is wrong, with code 2, and before any work.

A row is a request and a word that its line must hold. Each has 60 seconds and 4 GB besides what is there already: a
request that is believed, and computed, fails here as well as one that ends in a traceback.
"""

import json
import resource
import shutil
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pkt_eval import cli, nano
from pkt_eval.errors import PKTError
from pkt_eval.transfer.recipe import make_recipe

SECONDS, BYTES = 60, 4 << 30
LONG = "x" * 300
DEEP = 100_000


class TooLongError(BaseException):
    """Not an Exception, which the code under test might turn into a line."""


@contextmanager
def bounds() -> Iterator[None]:
    """Stop what takes too long or too much."""

    def stop(*_: object) -> None:
        raise TooLongError(f"over {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (size + BYTES, hard))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture
def refuses(monkeypatch, capfd, tmp_path) -> Callable[..., None]:
    """``refuses(words, says)``: the command ends with code 2 and one line."""

    def run(words: list[str], says: str) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["pkt-eval", *words])
        capfd.readouterr()
        with bounds(), pytest.raises(SystemExit) as ended:
            cli.main()
        error = capfd.readouterr().err
        lines = [line for line in error.splitlines() if not line.startswith(("WARNING", "INFO", "Usage:", "Try"))]
        lines = [line for line in lines if line.strip() and "it/s]" not in line]
        assert ended.value.code == 2, error[-2000:]
        assert len(lines) == 1 and "Traceback" not in error, error[-2000:]
        assert says in lines[0], lines[0]

    return run


def refused(work: Callable[[], object], says: str) -> None:
    """A call ends in an error of ours that says so, in one line."""
    with bounds(), pytest.raises(PKTError) as ended:
        work()
    said = str(ended.value)
    assert says in said and "\n" not in said.strip(), said


# --- Options: of a recipe and its method, from Python, by the command and by the wrapper -----------------------------

LORA = {"method": "lora", "transfer_task": "nano_gsm8k"}
OPTIONS = {
    "rank": ["0", "-1", "1e300", "x", "nan", "1000000000", "4096"],
    "alpha": ["0", "nan", "inf", "-1"],
    "learning_rate": ["nan", "inf", "0", "-1e-3", "1e-4+nan", "fast", "1e300", ""],
    "epochs": ["inf", "1e300", "nan", "-1", "many"],
    "max_steps": ["-2", "1e30", "half"],
    "seed": ["-1", "x", "1e30", "1.5", "99999999999999999999"],
    "train_batch_size": ["0", "-1", "1e10"],
    "micro_batch_size": ["0", "1000000000000"],
    "warmup_ratio": ["1", "nan", "-0.1"],
    "modules": ["", "up+up", "all", "up+"],
    "transfer_dtype": ["float13", "float16"],
    "transfer_max_length": ["7", "1e30", "inf"],
    "chat_format": ["html"],
    "loss_on": ["question"],
    "train_samples": ["0", "-5", "²", "inf"],
    "method": ["lorra", "", "../lora", "☃"],
    "transfer_task": ["gsm9k", "", "☃"],
    "trust_remote_code": ["perhaps"],
    "splits": ["nowhere"],
    "lerning_rate": ["1e-4"],
}
WRONG_OPTIONS = [(name, value) for name, values in OPTIONS.items() for value in values]


@pytest.mark.parametrize(("name", "value"), WRONG_OPTIONS)
def test_a_wrong_option_of_the_command(name, value, refuses):
    words = [f"{k}={v}" for k, v in {**LORA, name: value}.items()]
    refuses(["transfer", *words, "--out", "out"], name.replace("lerning", "learning"))
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("name", "value"), [w for w in WRONG_OPTIONS if w not in {("rank", "4096"), ("splits", "nowhere")}]
)
def test_a_wrong_option_from_python(name, value):
    refused(lambda: make_recipe({**LORA, name: value}), name if name != "lerning_rate" else "learning_rate")


@pytest.mark.parametrize(("name", "value"), WRONG_OPTIONS)
def test_a_wrong_option_of_the_wrapper(name, value):
    from pkt_eval.model_wrappers.student import PKTStudent

    refused(lambda: PKTStudent(**{**LORA, name: value, "device": "cpu"}), name.replace("lerning", "learning"))


# --- Models ----------------------------------------------------------------------------------------------------------


def change(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v != "gone"}))


def configured(**changes: object) -> Callable[[Path], None]:
    return lambda folder: change(folder, **changes)


def written(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def header(content: object, tail: bytes = b"") -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + tail


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def reshaped(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.1.self_attn.q_proj.weight"
    tensors[name] = tensors[name][:-3].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def sharded(index: object) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
        text = index if isinstance(index, bytes) else json.dumps(index).encode()
        (folder / "model.safetensors.index.json").write_bytes(text)

    return act


def without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


W = "model.safetensors"


def tensor(dtype: str, shape: object, *offsets: int, tail: bytes = b"") -> Callable[[Path], None]:
    return written(W, header({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}, tail))


MODELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (without("config.json"), "config.json"),
    "config cut": (written("config.json", b'{"model_type": "lla'), "config.json"),
    "config empty": (written("config.json", b""), "config.json"),
    "config not UTF-8": (written("config.json", b'{"model_type": "\xff\xfe"}'), "config.json"),
    "config deep": (written("config.json", b"[" * DEEP), "config.json"),
    "config a list": (written("config.json", b"[1]"), "config.json"),
    "config of null": (written("config.json", b"null"), "config.json"),
    "no kind": (configured(model_type="gone"), "model_type"),
    "a kind of 7": (configured(model_type=7), "model_type"),
    "an unknown kind": (configured(model_type="llamma"), "llamma"),
    "encoder-decoder": (configured(model_type="t5", is_encoder_decoder=True), "encoder-decoder"),
    "encoder-decoder, unsaid": (configured(model_type="t5", architectures=["T5ForConditionalGeneration"]), "t5"),
    "GPTQ": (configured(quantization_config={"quant_method": "gptq", "bits": 4}), "gptq"),
    "bitsandbytes": (configured(quantization_config={"quant_method": "bitsandbytes", "bits": 4}), "bitsandb"),
    "a quantisation of 3": (configured(quantization_config=3), "quantised"),
    "ten million layers": (configured(num_hidden_layers=10**7), "num_hidden_layers"),
    "ten thousand layers": (configured(num_hidden_layers=10**4), "model.layers.4."),
    "no layers": (configured(num_hidden_layers=0), "num_hidden_layers"),
    "layers of text": (configured(num_hidden_layers="four"), "num_hidden_layers"),
    "layers of null": (configured(num_hidden_layers=None), "num_hidden_layers"),
    "half a layer": (configured(num_hidden_layers=3.5), "num_hidden_layers"),
    "no heads": (configured(num_attention_heads=0), "num_attention_heads"),
    "no kv heads": (configured(num_key_value_heads=0), "num_key_value_heads"),
    "odd kv heads": (configured(num_key_value_heads=4), "num_key_value_heads"),
    "negative heads": (configured(head_dim=-32), "head_dim"),
    "other heads": (configured(head_dim=16), "self_attn.q_proj"),
    "no width": (configured(hidden_size=0), "hidden_size"),
    "another width": (configured(hidden_size=145), "mlp.up_proj"),
    "a vast vocabulary": (configured(vocab_size=10**12), "vocab_size"),
    "another vocabulary": (configured(vocab_size=1537), "embed_tokens"),
    "a vast network": (configured(intermediate_size=10**7), "mlp.up_proj"),
    "float13": (configured(dtype="float13"), "float13"),
    "float13, as it was called": (configured(torch_dtype="float13"), "float13"),
    "a dtype of 7": (configured(dtype=7), "dtype"),
    "an unknown activation": (configured(hidden_act="siluu"), "siluu"),
    "weights empty": (written(W, b""), W),
    "weights of seven bytes": (written(W, b"1234567"), W),
    "weights cut": (cut, W),
    "weights are text": (written(W, b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"), W),
    "header bomb": (written(W, struct.pack("<Q", 2**62) + b"{}"), W),
    "header of nothing": (written(W, header({})), "model.layers.0."),
    "header deep": (written(W, header(b"[" * DEEP)), W),
    "header a list": (written(W, header([1, 2])), W),
    "header not UTF-8": (written(W, header(b'{"\xff": 1}')), W),
    "offsets beyond": (tensor("F32", [2], 0, 8), W),
    "offsets backwards": (tensor("F32", [2], 8, 0), W),
    "a vast tensor": (tensor("F32", [2**40, 2**40], 0, 8, tail=b"8" * 8), W),
    "an unknown dtype": (tensor("F13", [1], 0, 4, tail=b"1234"), W),
    "a shape of text": (tensor("F32", "[1]", 0, 4, tail=b"1234"), W),
    "bytes to spare": (lambda f: (f / W).write_bytes((f / W).read_bytes() + b"more"), W),
    "another shape": (reshaped, "model.layers.1.self_attn.q_proj.weight"),
    "pickles": (pickled, "pickles"),
    "a shard is missing": (sharded({"weight_map": {"a": "model-00002-of-00002.safetensors"}}), "model-00002"),
    "a shard elsewhere": (sharded({"weight_map": {"a": "../../secret.safetensors"}}), "secret"),
    "an index of text": (sharded(b"weight_map"), "index"),
    "an index of another shape": (sharded({"weight_map": [1]}), "weight_map"),
    "no tokenizer": (lambda f: [p.unlink() for p in f.glob("tokenizer*")], "tokenizer"),
    "tokenizer cut": (written("tokenizer.json", b'{"version": "1.0", "mod'), "okenizer"),
    "tokenizer of another shape": (written("tokenizer.json", b'{"model": 3}'), "okenizer"),
    "tokenizer deep": (written("tokenizer.json", b"[" * DEEP), "okenizer"),
    "tokenizer not UTF-8": (written("tokenizer.json", b'{"\xff": 1}'), "okenizer"),
}  # fmt: skip


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(nano.model_path("student"), folder)
    return folder


@pytest.mark.parametrize("how", MODELS)
def test_a_wrong_model_of_the_wrapper(how, model):
    from pkt_eval.model_wrappers.student import PKTStudent

    act, says = MODELS[how]
    act(model)
    refused(lambda: PKTStudent(pretrained=str(model), method="vanilla", device="cpu"), says)


@pytest.mark.parametrize("how", MODELS)
def test_a_wrong_model_of_the_command(how, model, refuses):
    act, says = MODELS[how]
    act(model)
    small = ["train_samples=4", "validation_samples=2", "extract_samples=1", "align_samples=1", "max_steps=1"]
    refuses(
        ["transfer", f"pretrained={model}", "method=lora", "transfer_task=nano_gsm8k", *small, "--out", "out"], says
    )


@pytest.mark.parametrize("how", ["GPTQ", "weights cut", "ten million layers", "config deep", "no tokenizer"])
def test_a_wrong_teacher(how, model, refuses):
    act, says = MODELS[how]
    act(model)
    student = f"pretrained={nano.model_path('student')}"
    words = [student, f"teacher={model}", "method=seeking", "transfer_task=nano_gsm8k", "--out", "out"]
    refuses(["transfer", *words], says)


# --- Words, places and devices of commands ---------------------------------------------------------------------------

TRANSFER = ["transfer", "method=lora", "transfer_task=nano_gsm8k", "train_samples=4", "max_steps=1"]
SHOW, BUILD = ["data", "show", "nano_gsm8k"], ["data", "build", "nano_gsm8k"]
DIAGNOSE = ["diagnose", "--data", "nano_gsm8k"]


@pytest.fixture
def places(tmp_path) -> None:
    """``file``, a full folder, a loop and a link that leads nowhere."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "nowhere-link").symlink_to(tmp_path / "gone")
    (tmp_path / "suite.yaml").write_text("benchmarks: [nano_mmlu]\nmethods: [vanilla]\n")
    lay(tmp_path / "run", results(**{"n-samples": {"pkt_gsm8k_chat": {"effective": 1}}}), json.dumps(SAMPLE).encode())


OUTS = {
    "file/out": "file",
    "file": "file",
    "loop": "loop",
    "loop/out": "loop",
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


@pytest.mark.parametrize("device", ["mps", "cuda:99", "gpu", "", "tpu", "meta", "xpu", "cuda:x", "☃"])
@pytest.mark.parametrize("command", [TRANSFER, DIAGNOSE, ["run"]], ids=lambda c: c[0])
def test_a_device_that_is_not_there(command, device, places, refuses, tmp_path):
    if not device:
        pytest.skip("means the default")
    if command == ["run"]:
        suite = json.dumps({"benchmarks": ["nano_mmlu"], "methods": ["vanilla"], "device": device})
        (tmp_path / "suite.yaml").write_text(suite)
        refuses(["run", "suite.yaml"], "device")
    else:
        refuses([*command, "--out", "out", "--device", device], "device")


@pytest.mark.parametrize("device", ["mps", "cuda:99", "gpu", "meta", "xpu", "cuda:x"])
def test_a_device_that_is_not_there_of_the_wrapper(device):
    from pkt_eval.model_wrappers.student import PKTStudent

    refused(lambda: PKTStudent(**LORA, device=device), "device")


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
    "report of a file": (["report", "file", "--out", "out"], "file"),
    "report of a loop": (["report", "loop", "--out", "out"], "loop"),
    "gate of nothing": (["gate", "--baseline", "nowhere", "--candidate", "full"], "nowhere"),
    "gate of an empty folder": (["gate", "--baseline", "full", "--candidate", "full"], "full"),
    "gate of one folder": (["gate", "--baseline", "full"], "candidate"),
}  # fmt: skip


@pytest.mark.parametrize("what", COMMANDS)
def test_a_wrong_command(what, places, refuses, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refuses(*COMMANDS[what])
    assert not Path("out").exists()


def test_a_level_of_the_log_that_is_none(monkeypatch, refuses):
    monkeypatch.setenv("LOGLEVEL", "loud")
    refuses(["methods"], "LOUD")


# --- Suites ----------------------------------------------------------------------------------------------------------

GOOD = "benchmarks: [nano_mmlu]\nmethods: [vanilla]\n"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
SUITES: dict[str, tuple[bytes | str, str]] = {
    "empty": ("", "suite.yaml"),
    "not UTF-8": (b"benchmarks: [\xff\xfe]\n", "suite.yaml"),
    "UTF-16": ("benchmarks: []".encode("utf-16"), "suite.yaml"),
    "deep": ("[" * DEEP, "suite.yaml"),
    "deep mapping": ("a: " + "{a: " * 5000, "suite.yaml"),
    "an alias bomb": (BOMB + GOOD, "suite.yaml"),
    "an alias bomb as a method": (BOMB + "benchmarks: [nano_mmlu]\nmethods: *i\n", "suite.yaml"),
    "an alias of itself": ("&a [*a]", "suite.yaml"),
    "itself as a method": ("benchmarks: [nano_mmlu]\nmethods: &a [*a]\n", "methods"),
    "itself as options": (GOOD + "options: &a {rank: *a}\n", "rank"),
    "a list": ("- a", "suite.yaml"),
    "text": ("hello", "suite.yaml"),
    "cut": ("benchmarks: [nano_mmlu", "suite.yaml"),
    "a tag of Python": ("!!python/object/apply:os.system [echo]", "suite.yaml"),
    "a key of 3": (GOOD + "3: x\n", "suite.yaml"),
    "a key of a list": (GOOD + "? [a]\n: x\n", "suite.yaml"),
    "a key of null": (GOOD + "~: x\n", "suite.yaml"),
    "no methods": ("benchmarks: [nano_mmlu]\n", "methods"),
    "methods of nothing": ("benchmarks: [nano_mmlu]\nmethods: []\n", "methods"),
    "methods of 3": ("benchmarks: [nano_mmlu]\nmethods: 3\n", "methods"),
    "methods of numbers": ("benchmarks: [nano_mmlu]\nmethods: [3]\n", "methods"),
    "an unknown method": ("benchmarks: [nano_mmlu]\nmethods: [lorra]\n", "lorra"),
    "an unknown benchmark": ("benchmarks: [mmmlu]\nmethods: [vanilla]\n", "mmmlu"),
    "benchmarks of numbers": ("benchmarks: [3]\nmethods: [vanilla]\n", "benchmarks"),
    "benchmarks of a mapping": ("benchmarks: {a: b}\nmethods: [vanilla]\n", "benchmarks"),
    "a misspelt key": (GOOD + "seed: [1]\n", "seeds"),
    "seeds of text": (GOOD + "seeds: [one]\n", "seeds"),
    "seeds of nothing": (GOOD + "seeds: []\n", "seeds"),
    "seeds below zero": ("benchmarks: [nano_mmlu]\nmethods: [lora]\nseeds: [-1]\n", "seed"),
    "seeds of infinity": (GOOD + "seeds: [.inf]\n", "seeds"),
    "limit of zero": (GOOD + "limit: 0\n", "limit"),
    "limit of text": (GOOD + "limit: few\n", "limit"),
    "limit of another benchmark": (GOOD + "limit: {gsm8k: 3}\n", "gsm8k"),
    "batch size below zero": (GOOD + "batch_size: -1\n", "batch_size"),
    "dtype": (GOOD + "dtype: float13\n", "dtype"),
    "engine": (GOOD + "engine: slurm\n", "slurm"),
    "engine of a list": (GOOD + "engine: [a]\n", "engine"),
    "options of an engine that is not asked": (GOOD + "ray: {num_cpus: 2}\n", "ray"),
    "options of a list": (GOOD + "options: [a]\n", "options"),
    "an option that nobody takes": (GOOD + "options: {rnk: 3}\n", "rnk"),
    "a rank of 1e9": ("benchmarks: [nano_mmlu]\nmethods: [lora]\noptions: {rank: 1000000000}\n", "rank"),
    "a rate of nan": ("benchmarks: [nano_mmlu]\nmethods: [lora]\noptions: {learning_rate: .nan}\n", "learning_rate"),
    "epochs of inf": ("benchmarks: [nano_mmlu]\nmethods: [lora]\noptions: {epochs: .inf}\n", "epochs"),
    "a name as a path": ("benchmarks: [nano_mmlu]\nmethods: [{method: lora, name: ../x}]\n", "name"),
    "a long name": (f"benchmarks: [nano_mmlu]\nmethods: [{{method: lora, name: {LONG}}}]\n", "name"),
    "a name twice": ("benchmarks: [nano_mmlu]\nmethods: [lora, lora]\n", "lora"),
    "a teacher alone": (GOOD + "teacher: x/y\n", "student"),
    "a protocol": (GOOD + "protocol: mine\n", "protocol"),
    "a date": (GOOD + "student: 2020-01-01\n", "student"),
    "no consent": ("benchmarks: [humaneval]\nmethods: [vanilla]\n", "confirm_run_unsafe_code"),
}  # fmt: skip


@pytest.mark.parametrize("what", SUITES)
def test_a_wrong_suite(what, refuses, tmp_path):
    content, says = SUITES[what]
    (tmp_path / "suite.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    refuses(["run", "suite.yaml"], says)
    assert not list(tmp_path.glob("suite/*/*"))


# --- Data ------------------------------------------------------------------------------------------------------------

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


# --- Records ---------------------------------------------------------------------------------------------------------


def results(**changes: object) -> dict[str, object]:
    """A results JSON of one task, without samples."""
    return {
        "results": {"pkt_gsm8k_chat": {"exact_match,strict-match": 0.5}},
        "configs": {"pkt_gsm8k_chat": {"generation_kwargs": {}}},
        "config": {"model": "hf", "model_args": {"pretrained": "a/b"}},
        "versions": {"pkt_gsm8k_chat": 1},
        "n-shot": {"pkt_gsm8k_chat": 0},
        "n-samples": {"pkt_gsm8k_chat": {"original": 2, "effective": 2}},
        "group_subtasks": {},
        "date": 1.0,
        **changes,
    }


SAMPLE = {
    "doc_id": 0, "doc": {"question": "q"}, "target": "t", "arguments": {"gen_args_0": {"arg_0": "p", "arg_1": {}}},
    "resps": [["a"]], "filtered_resps": ["a"], "filter": "strict-match", "doc_hash": "1" * 64, "prompt_hash": "2" * 64,
    "target_hash": "3" * 64, "exact_match": 0.5,
}  # fmt: skip
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


def lay(folder: Path, content: object, samples: bytes | None = None) -> None:
    folder.mkdir()
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    (folder / "results_2026.json").write_bytes(raw)
    if samples is not None:
        (folder / "samples_pkt_gsm8k_chat_2026.jsonl").write_bytes(samples)


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
    "JUnit in a folder": (["--junit", "run"], "run"),
    "JSON with a long name": (["--json", LONG], "xxx"),
    "JSON in a loop": (["--json", "loop/x"], "x"),
}


@pytest.mark.parametrize("what", GATES)
def test_a_wrong_gate(what, refuses, places, tmp_path):
    words, says = GATES[what]
    refuses(["gate", "--baseline", "run", "--candidate", "run", *words], says)


# --- Students --------------------------------------------------------------------------------------------------------

MANIFESTS: dict[str, object] = {
    "not UTF-8": b'{"\xff": 1}',
    "deep": b"[" * DEEP,
    "null": b"null",
    "a list": b"[1]",
    "empty": b"",
    "no files": {"base": "x", "chat_template": None, "provenance": None},
    "files of a list": {"base": "x", "chat_template": None, "provenance": None, "files": [1]},
    "a file that is not there": {"base": "x", "chat_template": None, "provenance": None, "files": {"adapter/x": "0"}},
    "a file elsewhere": {"base": "x", "chat_template": None, "provenance": None, "files": {"/etc/passwd": "0"}},
    "a base of 3": {"base": 3, "chat_template": None, "provenance": None, "files": {}},
    "a base without a revision": {"base": {"path": "x"}, "chat_template": None, "provenance": None, "files": {}},
    "a provenance of 3": {"base": "x", "chat_template": None, "provenance": 3, "files": {}},
    "a provenance of no method": {"base": "x", "chat_template": None, "provenance": {}, "files": {}},
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_wrong_student(what, tmp_path, monkeypatch):
    from pkt_eval.model_wrappers.student import PKTStudent

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    content = MANIFESTS[what]
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    (tmp_path / "pkt_student.json").write_bytes(raw)
    refused(lambda: PKTStudent(student=str(tmp_path), device="cpu"), "")


WRAPPER: dict[str, tuple[dict[str, object], str]] = {
    "no student": ({"student": "nowhere"}, "nowhere"),
    "a student and a method": ({"student": "nowhere", "method": "lora"}, "method"),
    "a teacher without a method": ({"teacher": "x", "pretrained": "y"}, "method"),
    "an unknown dtype": ({"method": "vanilla", "dtype": "float13"}, "float13"),
    "an unknown argument": ({"method": "vanilla", "pretraind": "x"}, "pretrained"),
    "another argument": ({"method": "vanilla", "colour": "red"}, "colour"),
    "a batch size": ({"method": "vanilla", "batch_size": "many"}, "batch_size"),
    "a batch size of zero": ({"method": "vanilla", "batch_size": 0}, "batch_size"),
    "a length of text": ({"method": "vanilla", "max_length": "long"}, "max_length"),
    "a length below zero": ({"method": "vanilla", "max_length": -1}, "max_length"),
    "an adapter that is not there": ({"method": "vanilla", "peft": "nowhere"}, "peft"),
    "a tokenizer that is not there": ({"method": "vanilla", "tokenizer": "nowhere/at-all"}, "tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRAPPER)
def test_a_wrong_argument_of_the_wrapper(what, monkeypatch):
    from pkt_eval.model_wrappers.student import PKTStudent

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    arguments, says = WRAPPER[what]
    refused(lambda: PKTStudent(**{"device": "cpu", **arguments}), says)
