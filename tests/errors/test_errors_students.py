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
    "loops of a word": ({"method": "vanilla", "stock_loops": "maybe"}, "stock_loops"),
    "an adapter that is not there": ({"method": "vanilla", "peft": "nowhere"}, "peft"),
    "a tokenizer that is not there": ({"method": "vanilla", "tokenizer": "nowhere/at-all"}, "tokenizer"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRAPPER)
def test_a_wrong_argument_of_the_wrapper(what, monkeypatch):
    from pkt_eval.model_wrappers.student import PKTStudent

    arguments, says = WRAPPER[what]
    refused(lambda: PKTStudent(**{"device": "cpu", **arguments}), says)


CANNOT_LOAD: dict[str, dict[str, object]] = {
    "a package that is not installed": {"gptqmodel": True},
    "two that exclude each other": {"gptqmodel": True, "autogptq": True},
    "a tokenizer that is not there": {"tokenizer": "nowhere/at-all"},
    "a backend that is none": {"backend": "sideways"},
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
