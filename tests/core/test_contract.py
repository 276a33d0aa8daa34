"""The methods' contract: every registered method keeps it, and what breaks it is named."""

import importlib.metadata
import random
from dataclasses import dataclass

import pytest
import torch

from pkt_eval.errors import ConfigError
from pkt_eval.methods import LowRankEdit, Method, MethodConfig, Student, TransferMethod, base, blocks, methods, register
from pkt_eval.methods.testing import check
from pkt_eval.models.source import ModelSource
from pkt_eval.tune.config import TrainingConfig

FINETUNE = dict(rank=4, alpha=4, max_steps=2, train_batch_size=4, learning_rate=1e-3)
ALIGN = dict(samples_per_step=3, steps=2, learning_rate=1e-2)
CLOSED = dict(tokens=200, strength=0.2, depth=0.5, ridge=0.1, rate=0.1)  # of closed forms: one candidate
WORDS = dict(title="t", reference="r", paradigm="control")


def options(name: str) -> dict:
    config = methods()[name].cls.Config
    fast = {**(FINETUNE if issubclass(config, TrainingConfig) else ALIGN), **CLOSED}
    return {option: value for option, value in fast.items() if option in config.model_fields}


@pytest.fixture
def registry():
    """Whatever a test registers is gone after it."""
    methods()
    before = dict(base._registry)
    yield
    base._registry.clear()
    base._registry.update(before)


#: They differ from ``lora`` in the start or the form alone, which tests/methods/test_baselines.py looks at.
VARIANTS = {name for name, row in methods().items() if row.cls is methods()["lora"].cls} - {"lora", "dora", "lora_ga"}


@pytest.mark.parametrize("name", [name for name in methods() if name not in VARIANTS])
def test_every_method_keeps_the_contract(name, tiny):
    teacher, student = tiny("qwen2")
    interruptions = 3 if methods()[name].paradigm in ("PostPKT", "PrePKT") or name == "lora" else 1
    # A letter is the answer, so that no long ones are generated wherever validation is answered.
    check(name, task="nano_mmlu", teacher=teacher, student=student, interruptions=interruptions, **options(name))


def test_a_method_keeps_it_on_the_nano_pair():
    check("unaligned", interruptions=1)


def broken(name: str, transfer, **words):
    """Register a method that does ``transfer``."""

    @register(name, **{**WORDS, **words})
    class Broken(TransferMethod[MethodConfig]):
        def transfer(self, pair, data, progress):
            return transfer(self, pair, data, progress)

    Broken.__qualname__ = name


def edit(pair, value: float, block: str = "down") -> LowRankEdit:
    rows, columns = pair.student.dims.shape(block)
    return LowRankEdit(blocks.weight_name(block, 0), torch.full((rows, 1), value), torch.ones(1, columns))


def resumed_wrongly(self, pair, data, progress):
    """Keeps a step before it was taken."""
    total = 0.0
    for step in progress.bar(range(4), "steps"):
        kept = self.work / str(step)
        if not kept.exists():
            kept.touch()
            total += 1e-3 * (step + 1)
    return Student(pair.student, (edit(pair, total),))


BROKEN = {
    "global_random": (
        lambda self, pair, data, progress: Student(pair.student, (edit(pair, float(torch.rand(()))),)),
        "a second transfer with the same seed gave another student",
    ),
    "python_random": (
        lambda self, pair, data, progress: Student(pair.student, (edit(pair, random.random()),)),
        "a second transfer with the same seed",
    ),
    "forgets_what_it_did": (resumed_wrongly, r"interrupted at step \d of 4 and went on"),
    "nan": (
        lambda self, pair, data, progress: Student(pair.student, (edit(pair, float("nan")),)),
        r"down_proj.weight, B is not finite",
    ),
    "looks_elsewhere": (
        lambda self, pair, data, progress: data.examples(pair.student.tokenizer, "train", task="nano_mmlu"),
        "nano_mmlu, which is not in its other_tasks",
    ),
    "twice": (
        lambda self, pair, data, progress: Student(pair.student, (edit(pair, 0.1), edit(pair, 0.2))),
        "more than once",
    ),
    "no_json": (
        lambda self, pair, data, progress: Student(pair.student, record={"loss": torch.zeros(())}),
        "no JSON",
    ),
    "tuples": (
        lambda self, pair, data, progress: Student(pair.student, record={"layers": (1, 2)}),
        "no tuples",
    ),
    "another_base": (
        lambda self, pair, data, progress: Student(ModelSource("elsewhere")),
        "base is elsewhere",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_contract_is_named(name, registry, tiny):
    transfer, message = BROKEN[name]
    broken(name, transfer, uses=("data",))
    teacher, student = tiny("qwen2")
    with pytest.raises(AssertionError, match=message):
        check(name, teacher=teacher, student=student)


def test_data_and_a_teacher_that_were_not_asked_for_are_not_there(registry, tiny):
    teacher, student = tiny("qwen2")
    broken("undeclared", lambda self, pair, data, progress: data.examples(pair.student.tokenizer, "train"))
    with pytest.raises(ConfigError, match=r"method=undeclared looks at data\.splits: register it with uses"):
        check("undeclared", teacher=teacher, student=student)


def test_unknown_words_of_a_row_are_refused():
    for words, message in [
        (dict(paradigm="PostPTK"), r"paradigm='PostPTK': did you mean 'PostPKT'\? choose from baseline, PostPKT"),
        (dict(uses=("teachr",)), r"uses='teachr': did you mean 'teacher'\? choose from teacher, data"),
        (dict(uses="data"), r"uses is a tuple: \('data',\)"),
        (dict(variant={"start": "random"}), "no instance of a frozen dataclass"),
        (dict(control_of="lora"), r"control_of is a tuple: \('lora',\)"),
        (dict(control_of=("mine",)), "names the method itself"),
    ]:
        with pytest.raises(ConfigError, match=rf"register\('mine'\).*{message}"):
            register("mine", **{**WORDS, **words})


def test_a_variant_is_what_the_row_says(registry):
    @dataclass(frozen=True)
    class Start:
        kind: str

    @register("one", **WORDS, variant=Start("random"))
    @register("two", **WORDS, variant=Start("principal"))
    class Family(TransferMethod[MethodConfig]):
        variant: Start

        def transfer(self, pair, data, progress): ...

    assert [methods()[name].configure({}).variant.kind for name in ("one", "two")] == ["random", "principal"]


class Plugin(importlib.metadata.EntryPoint):
    """An entry point that runs code instead of importing it."""

    def load(self):
        exec(self.value)


GOOD = "register('good', title='t', reference='r', paradigm='PostPKT')(type('Good', (TransferMethod,), {}))"
PLUGINS = {
    "good": GOOD,
    "half": GOOD.replace("'good'", "'half'") + ";" + GOOD.replace("'good'", "'other'").replace("PostPKT", "OurPKT"),
    "no_module": "import no_such_module",
    "taken": GOOD.replace("'good'", "'lora'"),
}


def discovered(monkeypatch, plugins: dict[str, str]) -> dict[str, Method]:
    entries = [Plugin(name, value, "pkt_eval.methods") for name, value in plugins.items()]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries)
    base._discover.cache_clear()
    try:
        return methods()
    finally:
        base._discover.cache_clear()


def test_a_broken_plug_in_is_named_and_left_out(registry, monkeypatch, caplog):
    known = discovered(monkeypatch, PLUGINS)
    assert "good" in known and not {"half", "other"} & set(known)
    assert known["lora"].cls.__name__ == "LoRA"
    for name, why in [("half", "paradigm='OurPKT'"), ("no_module", "no_such_module"), ("taken", "is registered by")]:
        (said,) = [r.getMessage() for r in caplog.records if f"plug-in {name} " in r.getMessage()]
        assert "broken and left out" in said and why in said
    assert "plug-in good " not in caplog.text


def test_every_control_of_ours_says_of_which_methods_it_is_one():
    for name, row in methods().items():
        assert bool(row.control_of) == (row.paradigm == "control"), name
        assert all(methods()[other].paradigm in ("PostPKT", "PrePKT") for other in row.control_of), name


def test_a_control_of_nothing_known_is_named_and_kept(registry, monkeypatch, caplog):
    row = GOOD.replace("PostPKT", "control")
    plugins = {"older": row, "typo": row.replace("'good'", "'typo'").replace("ol')", "ol', control_of=('latn',))")}
    known = discovered(monkeypatch, plugins)
    assert {"good", "typo"} <= set(known)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert said[0].startswith("the control good does not say of which method")
    assert said[1].startswith("typo is a control of 'latn', which is no method: did you mean 'laten'?")
