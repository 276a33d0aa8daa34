"""Saved students, and the wrapper's own arguments."""

import json

import pytest
from bounded import DEEP, refused

from pkt_eval.errors import ConfigError

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
    "a length of three": ({"method": "vanilla", "max_length": 3}, "max_length=3 is not between 8"),
    "a prefix below zero": ({"method": "vanilla", "prefix_token_id": -5}, "prefix_token_id=-5 is no token"),
    "a prefix past the last": ({"method": "vanilla", "prefix_token_id": 10**6}, "numbers end at"),
    "an end of thought below zero": ({"method": "vanilla", "think_end_token": -1}, "think_end_token=-1 is no token"),
    "an end of thought past the last": ({"method": "vanilla", "think_end_token": 10**9}, "numbers end at"),
    "an end of thought of 1.5": ({"method": "vanilla", "think_end_token": 1.5}, "think_end_token='1.5'"),
    "an end of thought that is true": ({"method": "vanilla", "think_end_token": True}, "think_end_token='True'"),
    **{f"{name} of nothing": ({"method": "vanilla", name: ""}, f"{name}= is empty")
       for name in ("tokenizer", "think_end_token", "peft", "delta", "gguf_file", "device", "dtype", "autogptq")},
    **{f"{name} of a list": ({"method": "vanilla", name: ["x"]}, f"{name}=")
       for name in ("tokenizer", "peft", "delta", "backend", "subfolder", "offload_folder", "device_map")},
    **{f"{name} of its own": ({"method": "vanilla", name: "x"}, f"{name}= is not taken")
       for name in ("config", "gpus", "output_loading_info", "quantization_config", "state_dict", "torch_dtype")},
    "a map of devices that is none": ({"method": "vanilla", "device_map": "x"}, "device_map='x'"),
    "loops of a word": ({"method": "vanilla", "stock_loops": "maybe"}, "stock_loops"),
    "a backend that is none": ({"method": "vanilla", "backend": "sideways"}, "backend='sideways'"),
    "an adapter that is not there": ({"method": "vanilla", "peft": "nowhere"}, "peft"),
    "a tokenizer that is not there": ({"method": "vanilla", "tokenizer": "nowhere/at-all"}, "tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRAPPER)
def test_a_wrong_argument_of_the_wrapper(what, monkeypatch):
    from pkt_eval.model_wrappers.student import PKTStudent

    arguments, says = WRAPPER[what]
    refused(lambda: PKTStudent(**{"device": "cpu", **arguments}), says)


def test_where_a_model_lies_is_hfs_to_say():
    """A word that ``hf`` hands on is no slip of the pen for ``device``."""
    from pkt_eval.model_wrappers.student import PKTStudent

    assert PKTStudent(method="vanilla", device="cpu", device_map="auto").device.type == "cpu"


CANNOT_LOAD: dict[str, dict[str, object]] = {
    "a package that is not installed": {"gptqmodel": True},
    "two that exclude each other": {"gptqmodel": True, "autogptq": True},
    "a tokenizer that is not there": {"tokenizer": "nowhere/at-all"},
}


@pytest.mark.parametrize("what", CANNOT_LOAD)
def test_what_hf_cannot_load_is_said_with_its_arguments_and_without_a_token(what, monkeypatch):
    """``hf`` ends in assertions, import errors and several lines; a token is not repeated."""
    from pkt_eval.model_wrappers.student import PKTStudent

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    arguments = CANNOT_LOAD[what]
    with pytest.raises(ConfigError, match=r"hf cannot load .* with ") as error:
        PKTStudent(method="vanilla", device="cpu", token="hf_" + 20 * "x", **arguments)
    said = str(error.value)
    assert all(f"{name}={value}" in said for name, value in arguments.items()), said
    assert "token=" not in said and "\n" not in said
