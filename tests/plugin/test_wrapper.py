"""``pkt_student`` inside lm-eval: what it evaluates is the student, and no cache can mix two of them."""

import json
import logging
import shutil
from functools import cache

import lm_eval
import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from typer.testing import CliRunner

import pkt_eval.tasks
from pkt_eval import nano
from pkt_eval.cli import app
from pkt_eval.code.pool import Pool
from pkt_eval.errors import ConfigError
from pkt_eval.model_wrappers.student import PKTLoRA, PKTPostPKT, PKTStudent, PKTVanilla
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import read_manifest, two_dtypes
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import Transfer, make_student

CPU = dict(device="cpu", batch_size=8)


def evaluate(model="pkt_student", *, tasks=("nano_gsm8k",), limit=4, chat=True, model_args=None, **kwargs):
    return lm_eval.simple_evaluate(
        model=model,
        model_args=model_args or {},
        tasks=list(tasks),
        limit=limit,
        batch_size=8,
        device="cpu",
        apply_chat_template=chat,
        bootstrap_iters=0,
        gen_kwargs="max_gen_toks=12",
        task_manager=manager(),
        **kwargs,
    )


@cache
def manager() -> TaskManager:
    """Of our tasks alone: scanning lm-eval's 14,000 task files takes 6 s."""
    return TaskManager(include_path=list(pkt_eval.tasks.__path__), include_defaults=False)


def ask(lm, text="<|user|>\nHow many?\n\n<|assistant|>\n"):
    requests = [Instance("loglikelihood", {}, (text, c), i, metadata=("nano_gsm8k", i, 1)) for i, c in enumerate("A1 ")]
    return [score for score, _ in lm.loglikelihood(requests, disable_tqdm=True)]


def alike(scores):
    """Log-likelihoods of ``hf``, which adds the same products in another order."""
    return pytest.approx(scores, abs=1e-4)


def test_the_results_carry_provenance_and_can_be_written_as_json(small):
    results = evaluate(model_args={"method": "lora", **small})
    pkt = results["config"]["pkt"]
    assert pkt["method"] == "lora" and pkt["transfer_task"] == "nano_gsm8k" and pkt["seed"] == 0
    for key in (
        "fingerprint",
        "weights_digest",
        "student_digest",
        "split_digests",
        "versions",
        "config",
        "seconds",
    ):
        assert pkt[key], key
    assert json.loads(json.dumps(pkt)) == pkt
    assert "exact_match,flexible-extract" in results["results"]["nano_gsm8k"]


def test_vanilla_scores_what_hf_scores():
    ours = evaluate("pkt_vanilla", tasks=("nano_mmlu",), limit=10)
    theirs = evaluate(
        "hf",
        tasks=("nano_mmlu",),
        limit=10,
        model_args={"pretrained": nano.model_path("student"), "dtype": "float32"},
    )
    for mine, other in zip(ours["samples"]["nano_mmlu"], theirs["samples"]["nano_mmlu"], strict=True):
        assert mine["arguments"] == other["arguments"]
        (scores, likeliest), (theirs_too, same) = (zip(*s["filtered_resps"], strict=True) for s in (mine, other))
        assert list(scores) == alike(list(theirs_too)) and likeliest == same


def test_the_loaded_model_is_the_student(small):
    lm = PKTPostPKT(**CPU, **small)
    assert isinstance(lm, HFLM)
    student = make_student(make_recipe({"method": "seeking", **small}))  # from the store
    assert student.provenance.fingerprint == lm.student.provenance.fingerprint
    reference = HFLM(pretrained=student.base.path, dtype="float32", **CPU)
    assert ask(lm) != alike(ask(reference))
    student.apply(reference.model)
    assert ask(lm) == alike(ask(reference))


def test_shorthands_and_mistakes(small):
    assert PKTVanilla(**CPU).student.provenance.method == "vanilla"
    for words, message in [
        (dict(teacher="x", pretrained="y"), "method= is not"),
        (dict(method="seeking", transfer_task="nano_gsm8k", ranks=4), r"ranks= did you mean 'rank'"),
        (dict(method="vanilla", rank=4), "rank= is an option of lora"),
        (dict(teachr="x", method="vanilla"), "teachr= did you mean 'teacher'"),
        (dict(student="somewhere", seed=3), "cannot be changed"),
    ]:
        with pytest.raises(ConfigError, match=message):
            PKTStudent(**CPU, **words)
    with pytest.raises(ConfigError, match="this model is method=lora"):
        PKTLoRA(method="seeking", **CPU, **small)


def test_transfer_writes_what_student_and_hf_evaluate_alike(small, tmp_path):
    out = tmp_path / "student"
    words = [f"{k}={v}" for k, v in small.items()]
    done = CliRunner().invoke(app, ["transfer", "method=seeking", *words, "--out", str(out), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "validation loss" in done.output and "lm_eval --model pkt_student" in done.output
    live = PKTStudent(method="seeking", **CPU, **small)
    saved = PKTStudent(student=str(out), **CPU)
    hf = HFLM(pretrained=str(out / "merged"), **CPU)
    assert read_manifest(out)["merged"]["dtype"] == "float32"  # nano is stored in float16, in which no CPU is fast
    torch.testing.assert_close(torch.tensor(ask(saved)), torch.tensor(ask(live)), rtol=0, atol=5e-2)
    assert ask(saved) == alike(ask(hf))
    assert saved.tokenizer.chat_template == live.tokenizer.chat_template == hf.tokenizer.chat_template
    assert saved.student.provenance.fingerprint == live.student.provenance.fingerprint
    again = CliRunner().invoke(app, ["transfer", "method=seeking", *words, "--out", str(out)])
    assert isinstance(again.exception, ConfigError) and "not empty" in str(again.exception)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_a_student_and_its_merged_checkpoint_give_one_score_or_it_is_said_how(stored, small, tmp_path, monkeypatch):
    base, out = tmp_path / "base", tmp_path / "student"
    source = ModelSource(nano.model_path("student"))
    source.model(torch.float32).to(stored).save_pretrained(base)
    source.tokenizer.save_pretrained(base)
    make_student(make_recipe({"method": "lora", "pretrained": str(base), **small})).save(out, merged=True)
    assert read_manifest(out)["merged"]["dtype"] == "float32"  # a two-step LoRA would be lost
    for fast in (True, False):  # in bfloat16: such a CPU evaluates students of the base in it, another one in float32
        monkeypatch.setattr("pkt_eval._util.devices._has_fast_bf16", lambda fast=fast: fast)
        said = two_dtypes(out, "cpu")
        assert bool(said) == (fast and stored == torch.bfloat16)
        assert not said or ("computes in bfloat16" in said and "dtype=float32 in both" in said)
        told = {"dtype": "float32"} if said else {}
        saved, hf = PKTStudent(student=str(out), **told, **CPU), HFLM(pretrained=str(out / "merged"), **told, **CPU)
        assert ask(saved) == alike(ask(hf))


def test_use_cache_never_serves_one_student_anothers_answers(small, tmp_path):
    cache = str(tmp_path / "answers")
    plain = {name: evaluate(name, limit=6, model_args=args) for name, args in models(small).items()}
    for _ in range(2):  # the second round is all from the cache
        for name, args in models(small).items():
            cached = evaluate(name, limit=6, model_args=args, use_cache=cache)
            assert responses(cached) == responses(plain[name]), name
    assert responses(plain["pkt_vanilla"]) != responses(plain["pkt_postpkt"])


def test_use_cache_does_serve_a_student_its_own_answers(tmp_path, monkeypatch):
    cache = str(tmp_path / "answers")
    first = evaluate("pkt_vanilla", use_cache=cache)

    def never(self, requests, *args, **kwargs):
        raise AssertionError("asked again")

    monkeypatch.setattr(HFLM, "generate_until", never)
    assert responses(evaluate("pkt_vanilla", use_cache=cache)) == responses(first)


def models(small: dict) -> dict[str, dict]:
    # a student that says something else: trained at a rate that wrecks it
    return {"pkt_vanilla": {}, "pkt_postpkt": {**small, "learning_rate": 0.1, "max_steps": 4}}


def responses(results) -> list:
    return [sample["resps"] for sample in results["samples"]["nano_gsm8k"]]


def test_the_request_cache_tells_chat_formats_apart():
    papers, own = (PKTVanilla(chat_format=f, **CPU) for f in ("paper", "model"))
    assert papers.tokenizer_name != own.tokenizer_name or papers.tokenizer.chat_template == own.tokenizer.chat_template


def test_a_chat_task_without_the_template_is_warned_about_once(caplog):
    with caplog.at_level(logging.WARNING):
        evaluate("pkt_vanilla", tasks=("nano_gsm8k", "nano_mmlu"), limit=1, chat=False)
    assert caplog.text.count("without --apply_chat_template") == 1
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        evaluate("pkt_vanilla", limit=1, chat=True)
    assert "without --apply_chat_template" not in caplog.text


def test_training_and_scoring_see_the_same_tokens(small):
    """What lm-eval asks is the beginning of what the transfer was trained on, token for token."""
    from pkt_eval.data.chat import ChatFormat
    from pkt_eval.data.records import to_chat

    lm = PKTPostPKT(**CPU, **small)
    results = lm_eval.simple_evaluate(
        model=lm,
        tasks=["nano_gsm8k"],
        limit=3,
        apply_chat_template=True,
        bootstrap_iters=0,
        task_manager=manager(),
    )
    for sample in results["samples"]["nano_gsm8k"]:
        asked = lm.tok_encode(sample["arguments"][0][0])
        trained = ChatFormat("paper").encode(lm.tokenizer, to_chat("nano_gsm8k", sample["doc"]))["input_ids"]
        assert trained[: len(asked)] == asked


def test_code_is_judged_while_the_model_generates(monkeypatch):
    """When the filter asks for the verdicts, every answer but those of the last batch has long been handed over."""
    begun, asked = [], []
    begin, submit = Pool.begin, Pool.submit

    def begins(self, job):
        begun.append(job)
        begin(self, job)

    def submits(self, job):
        asked.append((job, job in self._ahead))
        return submit(self, job)

    monkeypatch.setattr(Pool, "begin", begins)
    monkeypatch.setattr(Pool, "submit", submits)
    results = lm_eval.simple_evaluate(
        model="pkt_vanilla",
        tasks=["nano_humaneval"],
        limit=6,
        batch_size=2,
        device="cpu",
        apply_chat_template=True,
        bootstrap_iters=0,
        task_manager=manager(),
        confirm_run_unsafe_code=True,
    )
    assert len(begun) == 6
    by_filter = [ahead for _, ahead in asked[-len(set(begun)) :]]
    assert all(by_filter), "the filter found every verdict begun"
    verdicts = [json.loads(s["filtered_resps"][0][0]) for s in results["samples"]["nano_humaneval"]]
    assert {v["program"] for v in verdicts} == {job.candidate for job in begun}


THINKING = (
    "{% for m in messages %}{{ '<|user|>' + m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}"
    "{% if enable_thinking is defined %}{{ 'thinks' if enable_thinking else 'does not' }}{% endif %}"
    "{{ mood }}{% endif %}"
)
TOLD = {"chat_format": "model", "enable_thinking": False, "chat_template_args": {"mood": " gladly"}}


@pytest.fixture
def thinker(tmp_path) -> str:
    """A base whose chat template looks at ``enable_thinking``."""
    shutil.copytree(nano.model_path("student"), tmp_path / "thinker")
    (tmp_path / "thinker" / "chat_template.jinja").write_text(THINKING)
    return str(tmp_path / "thinker")


def prompt(lm) -> str:
    return lm.apply_chat_template([{"role": "user", "content": "Why?"}])


def test_a_student_is_asked_with_what_its_template_was_told(small, thinker, tmp_path):
    words = {"pretrained": thinker, **TOLD}
    learnt = Transfer(make_recipe({"method": "lora", **words, **small}))
    trained = learnt.recipe.chat.prompt(learnt.pair.student.tokenizer, [{"role": "user", "content": "Why?"}])
    assert trained.endswith("<|assistant|>does not gladly")
    live = PKTLoRA(**CPU, **words, **small)
    live.student.save(tmp_path / "saved")
    saved = PKTStudent(student=str(tmp_path / "saved"), **CPU)
    hf = {k: v for k, v in words.items() if k != "chat_format"}
    assert prompt(live) == prompt(saved) == prompt(PKTVanilla(**CPU, **words)) == trained == prompt(HFLM(**CPU, **hf))
    made = saved.student.provenance
    assert (made.enable_thinking, made.chat_template_args) == (False, {"mood": " gladly"})
    with pytest.raises(ConfigError, match="enable_thinking cannot be changed"):
        PKTStudent(student=str(tmp_path / "saved"), enable_thinking=False, **CPU)

    plain = PKTVanilla(pretrained=thinker, chat_format="model", **CPU)
    before, key, name = prompt(plain), plain.cache_key(), plain.tokenizer_name
    first = plain.student
    plain.become(live.student)
    assert prompt(plain) == trained and plain.tokenizer_name == live.tokenizer_name != name
    plain.become(first)
    assert (prompt(plain), plain.cache_key(), plain.tokenizer_name) == (before, key, name)
    asked = PKTVanilla(**CPU, **words)
    assert asked.cache_key() != key and asked.tokenizer_name != name


def test_a_suite_asks_each_student_with_what_its_template_was_told(small, thinker, tmp_path):
    from pkt_eval.suite.run import Run
    from pkt_eval.suite.schema import Suite

    unlike = {"method": "lora", "name": "unlike", "options": {"enable_thinking": None, "chat_template_args": {}}}
    options = {k: v for k, v in small.items() if k != "transfer_task"} | TOLD
    suite = {"student": thinker, "benchmarks": ["nano_gsm8k"], "methods": ["vanilla", "lora", unlike], "limit": 2}
    statuses = Run(Suite(**suite, options=options, device="cpu"), tmp_path / "out").run()
    assert {status.state for status in statuses.values()} == {"done"}, statuses
    ends = {}
    for name in statuses:
        (samples,) = (tmp_path / "out" / name).glob("samples_*.jsonl")
        asked = [json.loads(line)["arguments"]["gen_args_0"]["arg_0"] for line in samples.read_text().splitlines()]
        ends[name.partition("/")[0]] = {text.rpartition("<|assistant|>")[2] for text in asked}
    assert ends == {"vanilla": {"does not gladly"}, "lora": {"does not gladly"}, "unlike": {""}}


def test_thoughts_that_nothing_splits_off_are_refused_before_the_work(small, thinker):
    with pytest.raises(ConfigError, match="needs think_end_token="):
        PKTLoRA(pretrained=thinker, chat_format="model", enable_thinking=True, **CPU, **small)
    thinks = PKTVanilla(pretrained=thinker, chat_format="model", enable_thinking=True, think_end_token="x", **CPU)
    plain = PKTVanilla(pretrained=thinker, chat_format="model", **CPU)
    assert prompt(thinks).endswith("thinks")
    with pytest.raises(ConfigError, match="needs think_end_token="):
        plain.become(thinks.student)


def test_words_of_digits_are_text(tmp_path, monkeypatch):
    """lm-eval makes numbers of them; a folder or a revision may be called so."""
    monkeypatch.chdir(tmp_path)
    made = PKTVanilla(pretrained=nano.model_path("student"), revision=1234567, **CPU)
    assert made.source.revision == "1234567"
    made.student.save("7")
    assert PKTStudent(student=7, **CPU).student.provenance.student_revision == "1234567"
