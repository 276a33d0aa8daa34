"""``backend=vllm``: the plumbing with a stand-in for the engine, and the scores with the real one where it is."""

import dataclasses
import json
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pkt_eval import nano
from pkt_eval.errors import ConfigError, PrerequisiteError
from pkt_eval.models.edits import DenseEdit, LowRankEdit
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import Student

REAL = find_spec("vllm") is not None
PARTS = ("lora", "lora.request", "engine", "engine.arg_utils", "renderers", "renderers.hf", "tokenizers")
PROMPTS = ["<|user|>\nWhat is 2 + 3?\n<|assistant|>\n", "<|user|>\nName a colour.\n<|assistant|>\n"]


class Engine:
    """In vLLM's place: answers with two tokens, and notes who asks."""

    loaded: ClassVar[list["Engine"]] = []

    def __init__(self, model: str, **arguments):
        self.model, self.arguments, self.asked = model, arguments, []
        dtype = getattr(torch, "float32" if arguments["dtype"] == "auto" else arguments["dtype"])
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(dtype=dtype, max_model_len=512))
        Engine.loaded.append(self)

    def generate(self, prompts, sampling_params, use_tqdm, lora_request):
        self.asked.append(lora_request)
        ends = ["stop", "length"]
        said = [
            SimpleNamespace(token_ids=[5, 6], text=f"answer {i}", finish_reason=ends[i % 2])
            for i in range(len(prompts))
        ]
        return [SimpleNamespace(outputs=[one]) for one in said]


@pytest.fixture(scope="module")
def _stand_in(tmp_path_factory):
    """Everything that lm-eval imports of vLLM, for as long as this file is tested."""
    if REAL:
        pytest.skip("vLLM itself is here")
    import lm_eval.models  # noqa: F401  registers the models
    from lm_eval.api.registry import model_registry

    made = {name: module_from_spec(ModuleSpec(name, None)) for name in ("vllm", *(f"vllm.{x}" for x in PARTS))}
    made["vllm"].LLM, made["vllm"].SamplingParams = Engine, lambda **how: SimpleNamespace(**how)
    made["vllm"].TokensPrompt = dict
    made["vllm.lora.request"].LoRARequest = lambda *said: SimpleNamespace(number=said[1], path=said[2])
    made["vllm.engine.arg_utils"].EngineArgs = dataclasses.make_dataclass("EngineArgs", ["enforce_eager"])
    made["vllm.renderers.hf"].resolve_chat_template = lambda **_: None
    made["vllm.tokenizers"].get_tokenizer = lambda path, **_: AutoTokenizer.from_pretrained(path)
    information = tmp_path_factory.mktemp("site") / "vllm-0.32.0.dist-info" / "METADATA"
    information.parent.mkdir()
    information.write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0\n")
    known = model_registry._objs["vllm"]
    with pytest.MonkeyPatch.context() as patch:
        for name, module in made.items():
            patch.setitem(sys.modules, name, module)
        patch.syspath_prepend(information.parents[1])
        yield
    model_registry._objs["vllm"] = known
    for name in ("lm_eval.models.vllm_causallms", "pkt_eval.model_wrappers.vllm"):
        sys.modules.pop(name, None)


@pytest.fixture
def engines(_stand_in):
    """Engines as they are loaded."""
    Engine.loaded.clear()
    return Engine.loaded


def opened(**arguments):
    from pkt_eval.model_wrappers.student import PKTVanilla

    return PKTVanilla(backend="vllm", dtype="float32", **arguments)


def asked(*prompts):
    from lm_eval.api.instance import Instance

    how = {"until": ["\n"], "max_gen_toks": 8, "do_sample": False}
    return [Instance("generate_until", {}, (prompt, how), i) for i, prompt in enumerate(prompts)]


def student(rank=None, dense=False):
    base = ModelSource(nano.model_path("student"))
    name, shape = "model.layers.1.mlp.up_proj.weight", (384, 144)
    generator = torch.Generator().manual_seed(0)
    if dense:
        return Student(base, (DenseEdit(name, torch.randn(shape, generator=generator)),))
    a, b = torch.randn(rank, shape[1], generator=generator), torch.randn(shape[0], rank, generator=generator)
    return Student(base, (LowRankEdit(name, b, a),))


@pytest.mark.skipif(REAL, reason="vLLM is here")
def test_without_vllm_it_is_said_what_to_install(tmp_path):
    from pkt_eval.suite.run import Run
    from pkt_eval.suite.schema import Suite

    with pytest.raises(PrerequisiteError, match=r"pip install 'pkt-eval\[vllm\]'"):
        opened()
    with pytest.raises(PrerequisiteError, match=r"pip install 'pkt-eval\[vllm\]'"):
        Run(Suite(benchmarks=["nano_mmlu"], methods=["vanilla"], backend="vllm"), tmp_path).run()
    with pytest.raises(ValueError, match="say backend: vllm, too"):
        Suite(benchmarks=["nano_mmlu"], methods=["vanilla"], vllm={"max_model_len": 64})


def test_one_engine_answers_for_every_student_of_low_rank(engines):
    lm = opened()
    lm.generate_until(asked(*PROMPTS))
    lm.become(student(rank=4))
    lm.generate_until(asked(*PROMPTS))
    lm.become(student(rank=64))
    lm.generate_until(asked(*PROMPTS))
    lm.become(Student(lm.source))
    lm.generate_until(asked(*PROMPTS))
    (engine,) = engines
    assert engine.model == nano.model_path("student") and engine.arguments["enable_prefix_caching"]
    assert engine.arguments["enable_lora"] and engine.arguments["max_lora_rank"] == 64
    vanilla, four, many, again = engine.asked
    assert vanilla is again is None and four.number != many.number
    assert json.loads((Path(four.path) / "adapter_config.json").read_text())["r"] == 4


@pytest.mark.parametrize("other", [{"rank": 65}, {"dense": True}], ids=["a larger rank", "dense"])
def test_what_is_no_adapter_is_loaded_merged(engines, other):
    lm = opened()
    lm.become(student(**other))
    lm.generate_until(asked(*PROMPTS))
    assert len(engines) == 2 and engines[1].asked == [None]
    merged = AutoModelForCausalLM.from_pretrained(engines[1].model, dtype=torch.float32)
    wanted = AutoModelForCausalLM.from_pretrained(nano.model_path("student"), dtype=torch.float32)
    student(**other).apply(wanted)
    assert torch.allclose(*(m.model.layers[1].mlp.up_proj.weight for m in (merged, wanted)), rtol=1e-3, atol=2e-3)
    lm.become(student(rank=4))
    assert len(engines) == 3 and engines[2].model == nano.model_path("student"), "and the base again"


def test_answers_are_kept_with_what_was_asked_and_say_how_they_ended(engines):
    kept = []
    lm = opened()
    lm.cache_hook = SimpleNamespace(add_partial=lambda *call: kept.append(call))
    requests = asked(*PROMPTS)
    texts = lm.generate_until(requests)
    assert {args[0] for _, args, _ in kept} == set(PROMPTS)
    assert all(call[1] in [r.args for r in requests] for call in kept), "lm-eval's own keeps another key"
    assert sorted(text.ended for text in texts) == [False, True]
    info = lm.get_model_info()
    assert (
        info["pkt_backend"] == "vllm 0.32.0" and info["model_dtype"] == "float32" and info["pkt"]["method"] == "vanilla"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"lora_local_path": "x"}, "backend=vllm sets lora_local_path itself"),
        ({"nonsense": 1}, "nonsense"),
        ({"device": "mps"}, "device=mps: vLLM computes on"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(engines, arguments, said):
    with pytest.raises(ConfigError, match=said):
        opened(**arguments)
    assert not engines


@pytest.mark.skipif(not REAL, reason="needs vLLM: pip install 'pkt-eval[vllm]'")
def test_the_scores_are_those_of_hf(tmp_path):
    """Two students of one base; in float32 an answer may differ where two tokens are as likely as one another."""
    suite = {
        "benchmarks": ["nano_mmlu", "nano_gsm8k"],
        "methods": ["vanilla", {"method": "lora", "options": {"learning_rate": 5e-3}}, "laten"],
        "options": {"train_samples": 96, "epochs": 1, "validation_samples": 8, "align_samples": 16},
        "limit": 60,
        "batch_size": 30,
        "dtype": "float32",
        "device": "cpu",
    }
    found = {"hf": {}, "vllm": {}}
    for backend, scores in found.items():
        engine = {"backend": "vllm", "vllm": {"enforce_eager": True}} if backend == "vllm" else {}
        path, out = tmp_path / f"{backend}.yaml", tmp_path / backend
        path.write_text(json.dumps(suite | engine))
        command = [sys.executable, "-m", "pkt_eval", "run", str(path), "--out", str(out)]
        environment = {**os.environ, "PKT_EVAL_STORE": str(tmp_path / "store"), "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
        subprocess.run(command, env=environment, check=True, timeout=1800)
        for samples in out.rglob("samples_*.jsonl"):
            cell = str(samples.parent.relative_to(out))
            scores[cell] = {s["doc_id"]: s.get("acc", s.get("exact_match")) for s in map(json.loads, samples.open())}
    assert found["hf"].keys() == found["vllm"].keys() and len(found["hf"]) == 6
    for cell, scores in found["hf"].items():
        other = found["vllm"][cell]
        assert scores.keys() == other.keys() and len(scores) == 60
        assert sum(scores[i] != other[i] for i in scores) <= 1, cell
