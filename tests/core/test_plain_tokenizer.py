"""What is read of a plain tokenizer's files is what transformers would say; what is not plain is left to it."""

import json
import shutil

import pytest

from pkt_eval import nano
from pkt_eval.data.chat import ChatFormat
from pkt_eval.models.plain_tokenizer import plain_tokenizer
from pkt_eval.models.source import ModelSource


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_it_says_what_transformers_says(role):
    source = ModelSource(nano.model_path(role))
    plain = plain_tokenizer(source.files)
    assert plain is not None and plain.eos_token_id == source.tokenizer.eos_token_id
    assert source.tokenizer.bos_token_id is None
    assert ChatFormat().template(plain) == ChatFormat().template(source.tokenizer)


@pytest.mark.parametrize(
    "change",
    [
        {"bos_token": "<|endoftext|>"},
        {"add_bos_token": True},
        {"tokenizer_class": "LlamaTokenizerFast"},
        {"eos_token": "<none>"},
        {"eos_token": {"content": "<|endoftext|>"}},
        {"eos_token": None},
    ],
    ids=str,
)
def test_what_is_not_plain_is_left_to_transformers(change, tmp_path):
    shutil.copytree(nano.model_path("student"), tmp_path / "model")
    path = tmp_path / "model" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert plain_tokenizer(ModelSource(str(tmp_path / "model")).files) is None


@pytest.mark.parametrize("content", ["[]", '{"added_tokens": [3]}', '{"added_tokens": {"a": 1}}', "{}"])
def test_what_is_malformed_is_left_to_transformers(content, tmp_path):
    shutil.copytree(nano.model_path("student"), tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text(content)
    assert plain_tokenizer(ModelSource(str(tmp_path / "model")).files) is None
