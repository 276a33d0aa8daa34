"""Models whose configuration, weights or tokenizer are broken, and kinds that are not supported."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from bounded import DEEP, refused

from pkt_eval import nano


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
    "an unknown activation": (configured(hidden_act="siluu"), "finds nothing under 'siluu'"),
    "an activation of 3": (configured(hidden_act=3), "field 'hidden_act': "),
    "an end that is no token": (
        written("tokenizer_config.json", b'{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<none>"}'),
        "has no token '<none>', its eos_token",
    ),
    "added tokens of numbers": (written("tokenizer.json", b'{"added_tokens": [3]}'), "AutoTokenizer"),
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
