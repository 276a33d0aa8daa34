"""A model is path, revision and trust; its digest is of all that loading reads; broken ones are refused."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pkt_eval import nano
from pkt_eval.errors import IncompatiblePairError, PKTError
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import load_student
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import Transfer

SMALL = dict(transfer_task="nano_gsm8k", train_samples=8, validation_samples=2, extract_samples=1, align_samples=1)


@pytest.fixture
def copy(tmp_path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(nano.model_path("student"), folder)
    return folder


def digests(folder: Path) -> tuple[str, str]:
    source = ModelSource(str(folder))
    return source.digest, source.transfer_digest


def edited(folder: Path, name: str, **changes) -> None:
    path = folder / name
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_digest_is_of_all_that_loading_reads(copy):
    whole, transfer = digests(copy)
    assert digests(Path(nano.model_path("student"))) == (whole, transfer)
    (copy / "README.md").write_text("A card decides nothing.")
    assert digests(copy) == (whole, transfer)
    edited(copy, "generation_config.json", repetition_penalty=3.0)
    answers = digests(copy)
    assert answers[0] != whole and answers[1] == transfer, "how answers are generated decides no transfer"
    (copy / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert digests(copy)[0] != answers[0]
    before = digests(copy)
    (copy / "additional_chat_templates").mkdir()
    (copy / "additional_chat_templates" / "tools.jinja").write_text("x")
    assert digests(copy)[0] != before[0]
    before = digests(copy)
    (copy / "custom_generate").mkdir()
    (copy / "custom_generate" / "generate.py").write_text("x = 1")
    assert digests(copy)[0] != before[0]
    before = digests(copy)
    (copy / "modeling_mine.py").write_text("x = 1")
    assert digests(copy)[0] != before[0] and digests(copy)[1] != before[1]
    before = digests(copy)
    edited(copy, "config.json", rms_norm_eps=1e-3)
    assert digests(copy)[0] != before[0] and digests(copy)[1] != before[1]


def test_a_template_counts_in_a_transfer_as_it_is_rendered(copy, tmp_path):
    def of(text: str, **words) -> dict:
        (copy / "chat_template.jinja").write_text(text)
        return Transfer(make_recipe({"pretrained": str(copy), "method": "lora", **SMALL, **words})).identity

    a, b = (f"{{% for m in messages %}}{x} {{{{ m['content'] }}}}{{% endfor %}}" for x in "ab")
    assert of(a, chat_format="model") != of(b, chat_format="model")
    assert of(a, chat_format="model") == of(a, chat_format="model")
    assert of(a) == of(b), "the papers' format does not ask the model's"


def test_a_source_travels_to_another_process_as_what_it_is():
    source = ModelSource(nano.model_path("student"), "v1", True)
    _ = source.digest, source.config
    again = pickle.loads(pickle.dumps(source))
    assert again == source and hash(again) == hash(source)
    assert vars(again).keys() == {"path", "revision", "trust_remote_code"}
    assert ModelSource.from_json(json.loads(json.dumps(source.to_json()))) == source
    assert ModelSource.from_json("acme/small") == ModelSource("acme/small")


@pytest.fixture
def hub(tmp_path) -> dict[str, str]:
    """A hub's cache with one model in two revisions, ``v1`` alone by name; the environment that finds it."""
    repository = tmp_path / "hub" / "models--me--both"
    for commit, ref in (("b" * 40, None), ("c" * 40, "v1")):
        shutil.copytree(nano.model_path("student"), repository / "snapshots" / commit)
        if ref:
            (repository / "refs").mkdir()
            (repository / "refs" / ref).write_text(commit)
    weights = load_file(repository / "snapshots" / ("c" * 40) / "model.safetensors")
    changed = {n: w * 0 if "up_proj" in n else w.clone() for n, w in weights.items()}
    save_file(changed, repository / "snapshots" / ("c" * 40) / "model.safetensors", metadata={"format": "pt"})
    return {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "PKT_EVAL_STORE": str(tmp_path / "store")}


RUN = """
import json, sys
from lm_eval.__main__ import cli_evaluate
from pkt_eval.cli import main

for command, *words in json.loads(sys.argv[1]):
    sys.argv = [command, *words]
    try:
        {"pkt-eval": main, "lm_eval": cli_evaluate}[command]()
    except SystemExit as ended:
        if ended.code:
            raise
"""


def run(*commands: list[str], env: dict[str, str], cwd: Path) -> str:
    """What some commands print, in one process: to import everything anew takes seconds."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        env=os.environ | env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_revision_is_transferred_merged_recorded_and_evaluated(hub, tmp_path, lean_lm_eval):
    """With ``v1`` alone in the cache: nothing may ask for ``main``."""
    words = ["pretrained=me/both", "revision=v1", "method=lora", "epochs=1", *(f"{k}={v}" for k, v in SMALL.items())]
    ask = ["lm_eval", "--tasks", "nano_mmlu", "--limit", "2", "--batch_size", "2", "--model", "pkt_student"]
    shown = run(
        ["pkt-eval", "transfer", *words, "--out", "out"],
        [*ask, "--model_args", "pretrained=me/both,revision=v1"],
        [*ask, "--model_args", "student=out"],
        env={**hub, "PYTHONPATH": lean_lm_eval},
        cwd=tmp_path,
    )
    assert shown.replace(" ", "").count("|nano_mmlu|") == 2
    merged = load_file(tmp_path / "out" / "merged" / "model.safetensors")
    v1 = load_file(tmp_path / "hub/models--me--both/snapshots" / ("c" * 40) / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    assert 0 < (merged[name].float() - v1[name].float()).abs().max() < 0.01
    student = load_student(tmp_path / "out")
    assert student.base == ModelSource("me/both", "v1") and student.provenance.student_revision == "v1"
    assert json.loads((tmp_path / "out" / "adapter" / "adapter_config.json").read_text())["revision"] == "v1"


def test_a_teacher_has_a_revision_of_its_own():
    recipe = make_recipe(
        {"pretrained": "a/b", "teacher": "c/d", "method": "teacher", "revision": "v1", "teacher_revision": 2}
    )
    assert recipe.base_source == ModelSource("c/d", "2")
    assert Transfer(recipe).pair.student == ModelSource("a/b", "v1")


def broken(copy: Path, how: str) -> str:
    """Break a model in some way; returns what the message has to name."""
    weights = load_file(copy / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    if how == "missing":
        del weights[name]
    elif how == "unexpected":
        weights[name := "model.layers.1.mlp.extra.weight"] = torch.zeros(2)
    elif how in ("nan", "inf"):
        weights[name][3, 4] = float(how)
    elif how == "shape":
        weights[name] = weights[name][:-1].clone()
    else:
        layers = json.loads((copy / "config.json").read_text())["num_hidden_layers"]
        edited(copy, "config.json", num_hidden_layers=layers + (1 if how == "deeper" else -1))
        name = f"model.layers.{layers if how == 'deeper' else layers - 1}."
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return name


@pytest.mark.parametrize("how", ["missing", "unexpected", "nan", "inf", "shape", "deeper", "shallower"])
def test_a_broken_model_is_refused_by_name_and_never_scored(how, copy):
    from pkt_eval.model_wrappers.student import PKTVanilla

    name = broken(copy, how)
    with pytest.raises(PKTError, match=name.replace(".", r"\.")):
        ModelSource(str(copy)).model(torch.float32)
    with pytest.raises(PKTError, match=name.replace(".", r"\.")):
        PKTVanilla(pretrained=str(copy), device="cpu")


def test_a_sound_model_loads(copy):
    assert ModelSource(str(copy)).model(torch.float32).dtype == torch.float32
    broken(copy, "unexpected")
    with pytest.raises(IncompatiblePairError, match=r"extra"):
        ModelSource(str(copy)).model(torch.float32)


def with_code(folder: Path, marker: Path) -> None:
    """A copy of the nano student with code of its own, which leaves a file wherever it is run."""
    edited(
        folder,
        "config.json",
        model_type="mine",
        architectures=["Mine"],
        auto_map={"AutoConfig": "configuration_mine.MineConfig", "AutoModelForCausalLM": "modeling_mine.Mine"},
    )
    (folder / "configuration_mine.py").write_text(
        "from transformers import LlamaConfig\n\n\nclass MineConfig(LlamaConfig):\n    model_type = 'mine'\n"
    )
    (folder / "modeling_mine.py").write_text(
        f"open({str(marker)!r}, 'w').close()\nfrom transformers import LlamaForCausalLM\n"
        "from .configuration_mine import MineConfig\n\n\nclass Mine(LlamaForCausalLM):\n    config_class = MineConfig\n"
    )


def test_a_models_own_code_is_run_only_for_who_says_so(copy, tmp_path):
    """Whoever made a saved student trusted the code of its base: that is no consent of who evaluates it."""
    from pkt_eval.model_wrappers.student import PKTStudent, PKTVanilla

    with_code(copy, marker := tmp_path / "ran")
    with pytest.raises(PKTError):
        PKTVanilla(pretrained=str(copy), device="cpu")
    assert not marker.exists()
    trusted = make_recipe({"pretrained": str(copy), "method": "vanilla", "trust_remote_code": True})
    Transfer(trusted).make().save(tmp_path / "saved")
    marker.unlink(missing_ok=True)
    with pytest.raises(PKTError):
        PKTStudent(student=str(tmp_path / "saved"), device="cpu")
    assert not marker.exists()
    lm = PKTStudent(student=str(tmp_path / "saved"), trust_remote_code=True, device="cpu")
    assert marker.exists() and lm.source.trust_remote_code and type(lm.model).__name__ == "Mine"


def test_logits_that_are_no_numbers_are_refused_however_an_answer_is_generated(copy):
    """Finite weights that overflow on the way; alone in a batch, with others, and by beams."""
    from lm_eval.api.instance import Instance

    from pkt_eval.model_wrappers.student import PKTVanilla

    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"].float(), 3e38)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    for size, asked in ((1, {}), (2, {}), (2, {"num_beams": 2})):
        lm = PKTVanilla(pretrained=str(copy), device="cpu", dtype="float32", batch_size=size)
        words = {"until": ["\n"], "max_gen_toks": 4, **asked}
        with pytest.raises(PKTError, match="NaN"):
            lm.generate_until([Instance("generate_until", {}, (f"Question {i}", words), i) for i in range(2)])


def test_a_log_likelihood_that_is_no_number_is_never_kept_nor_passed_on(copy, tmp_path):
    """lm-eval keeps each answer as it comes: the second run would be served the NaN, and score it."""
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import CachingLM

    from pkt_eval.model_wrappers.student import PKTVanilla

    weights = load_file(copy / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"].float(), 3e38)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    lm = PKTVanilla(pretrained=str(copy), device="cpu", dtype="float32")
    cached = CachingLM(lm, str(tmp_path / "answers.db"))
    for kind, words in {"loglikelihood": ("one", " two"), "loglikelihood_rolling": ("one two",)}.items():
        for _ in range(2):
            with pytest.raises(PKTError, match="as the log-likelihood of 1 of 1 answers"):
                getattr(cached, kind)([Instance(kind, {}, words, 0)])


def test_an_adapter_that_is_not_whole_is_refused(copy, tmp_path):
    from pkt_eval.model_wrappers.student import PKTVanilla

    recipe = make_recipe({"pretrained": str(copy), "method": "lora", "max_steps": 1, **SMALL})
    Transfer(recipe).make().save(tmp_path / "s")
    adapter = tmp_path / "s" / "adapter"
    PKTVanilla(pretrained=str(copy), peft=str(adapter), device="cpu")
    tensors = load_file(adapter / "adapter_model.safetensors")
    kept = dict(list(sorted(tensors.items()))[:4])
    save_file(kept, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PKTError, match="missing adapter keys"):
        PKTVanilla(pretrained=str(copy), peft=str(adapter), device="cpu")
    first = sorted(tensors)[0]
    more = {**tensors, first.replace("layers.0", "layers.99"): tensors[first].clone()}
    save_file(more, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PKTError, match=r"no place for, first .*layers\.99"):
        PKTVanilla(pretrained=str(copy), peft=str(adapter), device="cpu")
    save_file({k: t * float("nan") for k, t in tensors.items()}, adapter / "adapter_model.safetensors")
    with pytest.raises(PKTError, match="NaN"):
        PKTVanilla(pretrained=str(copy), peft=str(adapter), device="cpu")


def test_answers_of_stock_loops_are_kept_apart(copy):
    from pkt_eval.model_wrappers.student import PKTVanilla

    keys = [
        PKTVanilla(pretrained=str(copy), device="cpu", stock_loops=stock).cache_key() for stock in (False, False, True)
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_merged_checkpoint_with_a_file_too_many_is_refused(copy, tmp_path):
    from pkt_eval.model_wrappers.student import PKTStudent

    recipe = make_recipe({"pretrained": str(copy), "method": "lora", "max_steps": 1, **SMALL})
    Transfer(recipe).make().save(tmp_path / "s", merged=True)
    copy.rename(tmp_path / "moved")
    assert PKTStudent(student=str(tmp_path / "s"), device="cpu").source.path == str(tmp_path / "s" / "merged")
    shutil.copy(tmp_path / "s" / "adapter" / "adapter_config.json", tmp_path / "s" / "merged")
    with pytest.raises(PKTError, match=r"adapter_config\.json is no part of this student"):
        PKTStudent(student=str(tmp_path / "s"), device="cpu")


def test_a_teacher_that_was_changed_is_no_longer_the_student_that_was_saved(copy, tmp_path):
    """``method=teacher`` edits nothing: what it is made for is the teacher, which is its base."""
    from pkt_eval.model_wrappers.student import PKTStudent

    recipe = make_recipe({"pretrained": nano.model_path("student"), "teacher": str(copy), "method": "teacher"})
    Transfer(recipe).make().save(tmp_path / "s")
    assert PKTStudent(student=str(tmp_path / "s"), device="cpu").source.path == str(copy)
    weights = load_file(copy / "model.safetensors")
    save_file({k: t * 2 for k, t in weights.items()}, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PKTError, match="another one than this student was made for"):
        PKTStudent(student=str(tmp_path / "s"), device="cpu")


def test_an_adapter_on_the_hub_counts_by_what_its_name_leads_to(tmp_path, monkeypatch):
    import huggingface_hub.constants

    from pkt_eval.model_wrappers import hf_arguments

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--me--ad"
    (repository / "refs").mkdir(parents=True)
    digests = []
    for commit in ("b" * 40, "c" * 40, "b" * 40):
        folder = repository / "snapshots" / commit
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "adapter_config.json").write_text(json.dumps({"r": commit[0]}))
        (repository / "refs" / "main").write_text(commit)
        digests.append(hf_arguments.content_digest({"peft": "me/ad"}))
    assert digests[0] == digests[2] != digests[1]
    assert hf_arguments.content_digest({"peft": "no/body"}) == hf_arguments.content_digest({"peft": "no/body"})


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.bool])
def test_a_weight_without_its_scale_is_no_weight(copy, dtype):
    """transformers takes it for the numbers that it is."""
    name = "model.layers.0.mlp.up_proj.weight"
    tensors = load_file(copy / "model.safetensors")
    tensors["model.rotary_emb.position_ids"] = torch.arange(3)  # a table may be one of whole numbers
    save_file(tensors | {name: tensors[name].to(dtype)}, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IncompatiblePairError, match=f"{name}' in .* no quantisation"):
        ModelSource(str(copy)).check()


@pytest.mark.parametrize("text", ["{", "[]", "", "null"])
def test_settings_of_answers_that_cannot_be_read_are_not_passed_over(copy, text):
    (copy / "generation_config.json").write_text(text)
    with pytest.raises(PKTError, match=r"generation_config\.json is no JSON"):
        ModelSource(str(copy)).check()
