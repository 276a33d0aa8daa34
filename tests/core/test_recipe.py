"""What a user can say, what is refused, and what decides a fingerprint."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pkt_eval import nano
from pkt_eval._util import sources
from pkt_eval._util.digests import file_digest
from pkt_eval.errors import ConfigError, IncompatiblePairError, MissingDataError
from pkt_eval.methods.base import methods
from pkt_eval.models.source import ModelSource
from pkt_eval.transfer.arguments import unknown_options
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import Transfer, make_student


def fingerprint_of(**arguments) -> dict:
    return Transfer(make_recipe(arguments)).identity


def test_without_models_the_nano_family_is_meant():
    recipe = make_recipe({"method": "seeking", "transfer_task": "nano_gsm8k"})
    assert (recipe.teacher, recipe.pretrained) == (nano.model_path("teacher"), nano.model_path("student"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "seekng"}, r"unknown method 'seekng': did you mean 'seeking'"),
        ({"method": "lora"}, r"method=lora needs transfer_task=, one of mmlu"),
        ({"method": "lora", "transfer_task": "gsm8"}, r"unknown transfer_task 'gsm8': did you mean 'gsm8k'"),
        ({"method": "lora", "transfer_task": "gsm8k", "rnk": 3}, r"no option 'rnk': did you mean 'rank'"),
        ({"method": "lora", "transfer_task": "gsm8k", "rank": 0}, r"rank=0: .*greater than 0"),
        ({"method": "lora", "transfer_task": "gsm8k", "modules": "up+upp"}, r"distinct names out of up"),
        ({"method": "vanilla", "rank": 4}, r"method=vanilla has no option 'rank'"),
        ({"teacher": "x"}, r"pretrained= is not"),
        ({"pretrained": "x", "method": "seeking", "transfer_task": "gsm8k"}, r"needs a teacher"),
        ({"chat_format": "chatml"}, r"chat_format='chatml'"),
        ({"seed": "many"}, r"seed='many'"),
        ({"chat_template_args": "{"}, r"chat_template_args='\{': .*it is a JSON object"),
        ({"chat_template_args": "[1]"}, r"chat_template_args='\[1\]': .*it is a JSON object"),
        ({"chat_template_args": {"tokenize": True}}, r"tokenize is not for a template to choose"),
        ({"enable_thinking": "perhaps"}, r"enable_thinking='perhaps'"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        make_recipe(arguments)


def test_words_from_a_command_line_are_read_as_what_they_are():
    recipe = make_recipe(
        {
            "method": "lora",
            "transfer_task": "gsm8k",
            "seed": "3",
            "rank": "8",
            "learning_rate": "1e-3+3e-4",
            "modules": "q+v",
        }
    )
    config = recipe.entry.configure(recipe.options).config
    assert (recipe.seed, config.rank, config.learning_rate, config.modules) == (
        3,
        8,
        (1e-3, 3e-4),
        ("q", "v"),
    )


def test_what_a_template_is_told_is_joined_as_hf_joins_it():
    words = {"chat_template_args": '{"date_string": "1 May 2025", "enable_thinking": true}', "enable_thinking": "False"}
    assert make_recipe(words).chat.arguments == {"date_string": "1 May 2025", "enable_thinking": False}
    assert make_recipe({}).chat.arguments == {}


def test_unclaimed_words_are_said_only_where_they_are_probably_ours():
    said = unknown_options(["rank", "teachr", "device_map", "attn_implementation"], ["teacher", "pretrained"])
    assert set(said) == {"rank", "teachr"}
    assert "lora" in said["rank"] and "teacher" in said["teachr"]


def test_the_fingerprint_has_everything_that_decides_and_no_place_on_disk(small, tmp_path):
    base = dict(method="seeking", **small)
    same = fingerprint_of(**base)
    assert fingerprint_of(**base) == same
    changes = [
        {"method": "seeking_self"},
        {"seed": 1},
        {"rank": 5},
        {"train_samples": 9},
        {"transfer_task": "nano_mbpp"},
        {"chat_format": "model"},
        {"enable_thinking": False},
        {"chat_template_args": '{"enable_thinking": false}'},
        {"loss_on": "all"},
        {"transfer_max_length": 99},
        {"transfer_dtype": "bfloat16"},
    ]
    for change in changes:
        assert fingerprint_of(**{**base, **change}) != same, change
        vanilla = {k: v for k, v in change.items() if k.startswith(("chat_", "enable_"))}  # how it is asked
        assert (fingerprint_of(**vanilla) != fingerprint_of()) == bool(vanilla), change
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(nano.model_path("student"), elsewhere)
    moved = {**base, "pretrained": str(elsewhere), "teacher": nano.model_path("teacher")}
    assert fingerprint_of(**moved) == same
    weights = bytearray((elsewhere / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (elsewhere / "model.safetensors").write_bytes(weights)
    assert fingerprint_of(**moved)["student_digest"] != same["student_digest"]


def test_a_student_from_the_store_calls_its_models_as_they_are_called_now(small, tmp_path):
    """Else a report would show another row's folder, and a model of another name than vanilla's."""
    words = {"method": "lora", **small, "max_steps": 1}
    first = make_student(make_recipe(words)).provenance
    shutil.copytree(nano.model_path("student"), tmp_path / "elsewhere")
    moved = make_student(make_recipe({**words, "pretrained": str(tmp_path / "elsewhere")}))
    assert moved.provenance == replace(first, student=str(tmp_path / "elsewhere"))
    assert moved.base.path == str(tmp_path / "elsewhere")


def test_the_wrong_tasks_samples_count_in_the_fingerprint(small):
    one = fingerprint_of(method="seeking_wrong_task", **small)
    other = fingerprint_of(method="seeking_wrong_task", wrong_task="nano_mmlu", **small)
    assert set(one["other_split_digests"]) == {"nano_humaneval"}
    assert set(other["other_split_digests"]) == {"nano_mmlu"}
    with pytest.raises(ConfigError, match="is the task that is transferred"):
        fingerprint_of(method="seeking_wrong_task", wrong_task="nano_gsm8k", **small)
    with pytest.raises(ConfigError, match="has no effect"):
        fingerprint_of(method="seeking", wrong_task="nano_mmlu", **small)


def test_a_digest_is_remembered_until_the_file_changes(tmp_path):
    file = tmp_path / "big"

    def write(content: bytes, when: int) -> None:
        file.write_bytes(content * (2 << 20))
        os.utime(file, (when, when))

    write(b"a", 1_000_000_000)
    first = file_digest(file)
    time.sleep(0.05)  # a disk's clock ticks some hundred times a second
    write(b"b", 1_000_000_000)  # behind our back, as `cp -p` does: same place, size and modification time
    assert file_digest(file) == hashlib.sha256(b"b" * (2 << 20)).hexdigest() != first
    now = int(time.time())
    write(b"c", now)
    write(b"d", now)  # too fresh to be remembered
    assert file_digest(file) == hashlib.sha256(b"d" * (2 << 20)).hexdigest()


def test_a_model_that_is_not_there_or_holds_pickles_only(tmp_path):
    with pytest.raises(MissingDataError, match="cannot open the model"):
        _ = ModelSource(str(tmp_path / "nothing")).config
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(MissingDataError, match="reads no pickles"):
        _ = ModelSource(str(tmp_path)).digest


def test_pairs_that_cannot_be_are_refused_with_both_names(tiny, tmp_path, small):
    teacher, student = tiny("qwen2")
    words = dict(method="seeking", **small)
    with pytest.raises(IncompatiblePairError, match=rf"(?s){Path(student).name}.*smaller than.*{Path(teacher).name}"):
        make_student(make_recipe({**words, "teacher": student, "pretrained": teacher}))

    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    unlike = tmp_path / "unlike"
    shutil.copytree(teacher, unlike)
    tokenizer = AutoTokenizer.from_pretrained(unlike)
    tokenizer.add_tokens(["<extra>"])
    tokenizer.save_pretrained(unlike)
    with pytest.raises(IncompatiblePairError, match=rf"(?s)unlike.*{Path(student).name}.*different tokenizers"):
        make_student(make_recipe({**words, "teacher": str(unlike), "pretrained": student}))

    gpt = tmp_path / "gpt"
    config = AutoConfig.for_model("gpt2", n_layer=1, n_head=2, n_embd=16, vocab_size=100)
    AutoModelForCausalLM.from_config(config).save_pretrained(gpt)
    AutoTokenizer.from_pretrained(teacher).save_pretrained(gpt)
    with pytest.raises(IncompatiblePairError, match=rf"(?s)gpt2.*not supported.*{Path(student).name}"):
        make_student(make_recipe({**words, "teacher": str(gpt), "pretrained": student}))


def test_every_method_has_its_papers_and_its_options_explained():
    for method in methods().values():
        assert method.title and method.reference and method.paradigm in ("PostPKT", "PrePKT", "baseline", "control")
        assert method.uses <= {"teacher", "data"}
        assert all(field.description for field in method.options().values()), method.name


def test_every_source_that_a_transfer_imports_counts_in_the_fingerprint():
    code = (
        "import sys; from pkt_eval.methods.base import methods; methods();"
        "print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('pkt_eval.') and m.__file__))"
    )
    imported = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split())
    counted = {str(f) for f in sources.source_files(sources.TRANSFER).values()}
    # Each method's own source counts for itself; nano's rows count by content.
    imported = {f for f in imported if Path(f).parent.name not in ("methods", "nano")}
    assert len(imported) > 20
    # How something is said and shown decides nothing.
    assert {Path(f).name for f in imported - counted} <= {"plugin.py", "progress.py", "text.py", "__init__.py"}
