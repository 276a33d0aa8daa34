"""The baselines: peft's starts are peft's, every budget is equal to the token, prompting is rendered as it is meant."""

from functools import partial

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from pkt_eval._util.progress import Progress
from pkt_eval.data.chat import IGNORE, ChatFormat, collate
from pkt_eval.data.splits import build_splits
from pkt_eval.errors import ConfigError, IncompatiblePairError
from pkt_eval.methods.fewshot import shown_before
from pkt_eval.models import blocks
from pkt_eval.models.cost import count_passes
from pkt_eval.models.edits import DoraEdit
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.store import Store
from pkt_eval.transfer.transfer import Transfer, make_student
from pkt_eval.tune import checkpoints, on_policy
from pkt_eval.tune.adapter import quiet_peft
from pkt_eval.tune.starts import peft_start

QUIET = Progress(enabled=False)


def student_of(**arguments):
    return make_student(make_recipe(arguments), progress=Progress(enabled=False))


def load(folder: str):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def encoded(folder: str, count: int = 8) -> list[dict]:
    splits = build_splits("nano_gsm8k", seed=0, sizes={"train": count}, names=("train",))
    return ChatFormat().encode_all(AutoTokenizer.from_pretrained(folder), splits["train"])


def wrapped_by_peft(base: str, init: str, examples: list[dict], names: list[str]):
    """The whole model, as peft's documentation has it initialised."""
    from peft import EvaConfig, LoraConfig, LoraGAConfig, get_peft_model, initialize_lora_eva_weights
    from peft.tuners.lora.config import CordaConfig
    from peft.tuners.lora.corda import preprocess_corda
    from peft.tuners.lora.loraga import preprocess_loraga

    model, kind = load(base), init.partition("_")[0] if init.startswith("corda") else init
    config = LoraConfig(
        r=4,
        lora_alpha=4,
        target_modules=names,
        init_lora_weights=kind,
        eva_config=EvaConfig(rho=1.0, use_label_mask=False) if kind == "eva" else None,
        corda_config=CordaConfig(corda_method=init[-3:]) if kind == "corda" else None,
        lora_ga_config=LoraGAConfig() if kind == "lora_ga" else None,
    )
    torch.manual_seed(3)
    batch = collate(examples, 0)
    with quiet_peft():
        if kind == "corda":
            preprocess_corda(model, config, lambda: [model(torch.tensor([e["input_ids"]])) for e in examples])
        if kind == "lora_ga":
            preprocess_loraga(model, config, lambda: model(**batch).loss.backward())
        wrapped = get_peft_model(model, config)
        if kind == "eva":
            initialize_lora_eva_weights(wrapped, [batch], show_progress_bar=False)
    return wrapped


@pytest.mark.parametrize("init", ["pissa", "olora", "orthogonal", "mica", "eva", "corda_ipm", "corda_kpm", "lora_ga"])
def test_a_start_is_what_peft_makes_of_the_whole_model(init, tiny):
    _, base = tiny()
    examples = encoded(base)
    names = [blocks.module_name(block, layer) for layer in range(3) for block in ("up", "v")]
    ours = peft_start(load(base), names, init, 4, 3, examples)
    torch.manual_seed(8)
    for name, again in peft_start(load(base), names, init, 4, 3, examples).items():
        assert all(map(torch.equal, ours[name], again))  # by its seed alone
    layers = wrapped_by_peft(base, init, examples, names).base_model.model
    for name, (B, A) in ours.items():
        layer = layers.get_submodule(name)
        B2, A2 = layer.lora_B["default"].weight.detach(), layer.lora_A["default"].weight.detach()
        assert A.any() or B.any()
        if init == "orthogonal":  # drawn at random, in an order of its own: what it is for is that the product is none
            assert (B @ A).norm() < 1e-5 and (B2 @ A2).norm() < 1e-5 and 0.5 < B.norm() / B2.norm() < 2
        elif init == "mica":
            torch.testing.assert_close(B @ B.T, B2 @ B2.T, rtol=0, atol=1e-4)  # the subspace: signs are arbitrary
            assert not A.any()
        elif init == "lora_ga":  # two subspaces of one decomposition, which is drawn at random
            for ours_, theirs in ((A.T @ A, A2.T @ A2), (B @ B.T, B2 @ B2.T)):
                torch.testing.assert_close(ours_, theirs, rtol=0, atol=0.02 * float(theirs.abs().max()))
        elif init == "eva":
            torch.testing.assert_close(A.T @ A, A2.T @ A2, rtol=0, atol=1e-2)  # one batch there, the same here
            assert not B.any()
        else:
            torch.testing.assert_close(B @ A, B2 @ A2, rtol=0, atol=2e-3 * float((B2 @ A2).abs().max()))


def test_what_a_start_reads_is_read_once_and_the_model_is_left_as_found(tiny, small, tmp_path, monkeypatch):
    _, base = tiny()
    words = dict(pretrained=base, method="lora_ga", **small)
    first = make_student(make_recipe(words), store=Store(tmp_path / "a"), progress=QUIET)

    def never(*_, **__):
        raise AssertionError("it is in the store")

    monkeypatch.setattr("pkt_eval.methods.lora.peft_start", never)
    again = make_student(make_recipe(words), store=Store(tmp_path / "b"), progress=Progress(enabled=False))
    assert again.weights_digest() == first.weights_digest()
    starts = [s.provenance.record["start"] for s in (first, again)]
    assert [s["stored"] for s in starts] == [False, True] and starts[0]["records"] == 8
    # What it cost does not hang on what was there.
    assert again.provenance.passes == first.provenance.passes
    monkeypatch.undo()
    model = load(base)
    before = {name: p.clone() for name, p in model.named_parameters()}
    for init in ("lora_ga", "corda_ipm", "eva"):
        peft_start(model, [blocks.module_name("up", 0)], init, 4, 0, encoded(base))
    assert all(torch.equal(p, before[name]) and p.grad is None for name, p in model.named_parameters())
    assert not [m for m in model.modules() if m._forward_hooks or hasattr(m, "eigens")] and not model.training


@pytest.mark.parametrize(
    ("method", "rank", "said"), [("orthogonal", 5, "rank=5 is odd"), ("lora_ga", 17, "16 is the most here")]
)
def test_a_rank_that_a_start_cannot_have_is_refused(method, rank, said, tiny, small):
    _, base = tiny()
    with pytest.raises(ConfigError, match=said):
        student_of(pretrained=base, method=method, **{**small, "rank": rank})


def test_an_equal_budget_is_equal_to_the_token(tiny, small):
    """And is what passed through the student with gradients."""
    teacher, base = tiny()
    words = {**small, "max_steps": 3, "teacher": teacher, "pretrained": base}  # a pass and a half
    lora = student_of(method="lora", **words).provenance
    for method in ("dora", "seqkd", "kd", "gkd"):
        own = {"on_policy": 1.0, "answer_tokens": 20} if method == "gkd" else {}
        made = student_of(method=method, **words, **own).provenance
        assert made.record["training"]["tokens"] == lora.record["training"]["tokens"], method
        assert made.passes["student"]["trained_tokens"] == made.record["training"]["tokens"], method
        assert ("teacher" in made.passes) == (method != "dora") and made.passes["student"]["flops"] > 0
    assert lora.passes["student"]["trained_tokens"] == lora.record["training"]["tokens"]


def test_flops_are_two_a_weight_and_token_and_as_many_for_each_gradient(tiny):
    _, base = tiny()
    model, told = load(base), []
    size = sum(p.numel() for layer in blocks.layers(model) for p in layer.parameters())
    count_passes(model, told.append)
    ids = torch.arange(1, 13).reshape(2, 6)
    with torch.no_grad():
        model(ids, attention_mask=torch.tensor([[1] * 6, [0, 0, 1, 1, 1, 1]]))
        blocks.decoder(model)(input_ids=ids)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("up_proj" in name)
    model(ids)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert [t["tokens"] for t in told] == [10, 12, 12] and [t["trained_tokens"] for t in told] == [0, 0, 12]
    assert [t["flops"] for t in told] == [20 * size, 24 * size, 12 * (4 * size + 2 * trained)]


def test_seqkd_learns_the_teachers_greedy_answers(tiny, small, monkeypatch):
    teacher, base = tiny()
    taught = {}
    monkeypatch.setattr("pkt_eval.methods.distill.finetune", lambda *_, **how: taught.update(how) or ((), {}))
    recipe = make_recipe({**small, "teacher": teacher, "pretrained": base, "method": "seqkd", "answer_tokens": 6})
    make_student(recipe, progress=QUIET)
    model, tokenizer = load(teacher), AutoTokenizer.from_pretrained(base)
    vocabulary = len(tokenizer)
    labels = ChatFormat().encode_all(tokenizer, recipe.task_splits("nano_gsm8k").train)
    for example, label in zip(taught["examples"], labels, strict=True):
        start = next(i for i, token in enumerate(example["labels"]) if token != IGNORE)
        assert example["input_ids"][:start] == label["input_ids"][:start]
        ids = list(example["input_ids"][:start])
        for said in example["input_ids"][start:]:
            with torch.no_grad():
                assert said == int(model(torch.tensor([ids])).logits[0, -1, :vocabulary].argmax())
            ids.append(said)
        assert len(ids) - start == 6 or ids[-1] == tokenizer.eos_token_id


def test_distillation_refuses_another_vocabulary(tiny, small, tmp_path):
    teacher, base = tiny()
    other = tmp_path / "other"
    load(teacher).save_pretrained(other)
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    tokenizer.add_tokens(["<one more>"])
    tokenizer.save_pretrained(other)
    with pytest.raises(IncompatiblePairError, match="different tokenizers"):
        student_of(teacher=str(other), pretrained=base, method="kd", **small)


def test_an_interrupted_on_policy_training_goes_on(tiny, small, tmp_path, monkeypatch):
    teacher, base = tiny()
    recipe = make_recipe(
        {**small, "teacher": teacher, "pretrained": base, "method": "gkd", "max_steps": 4, "answer_tokens": 12}
        | {"micro_batch_size": 2}
    )
    undisturbed = make_student(recipe, store=Store(tmp_path / "a"), progress=QUIET)
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    jsd, done = on_policy.generalised_jsd, []

    def counted(*arguments):
        done.append(1)
        if len(done) == 6:
            raise KeyboardInterrupt
        return jsd(*arguments)

    monkeypatch.setattr(on_policy, "generalised_jsd", counted)
    with pytest.raises(KeyboardInterrupt):
        make_student(recipe, store=Store(tmp_path / "b"), progress=Progress(enabled=False))
    student = make_student(recipe, store=Store(tmp_path / "b"), progress=Progress(enabled=False))
    assert student.weights_digest() == undisturbed.weights_digest()
    losses = [s.provenance.record["training"]["tried"][0]["train_loss"] for s in (student, undisturbed)]
    assert losses[0] == losses[1]


def test_a_dora_beside_the_weights_is_the_merged_one():
    from pkt_eval.models.beside import Beside

    torch.manual_seed(0)
    linear = torch.nn.Linear(30, 40)
    edit = DoraEdit("0.weight", torch.randn(40, 3) / 3, torch.randn(3, 30) / 6, 1 + torch.rand(40))
    model, x = torch.nn.Sequential(linear), torch.randn(5, 30)
    before = linear.weight.detach().clone()
    beside = Beside(model, [edit])
    got = model(x)
    beside.remove()
    assert torch.equal(linear.weight, before)
    edit.apply(linear.weight)
    torch.testing.assert_close(got, model(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(linear.weight.norm(dim=1), edit.magnitude, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chat_format", ["paper", "model"])
def test_worked_examples_stand_before_every_conversation(chat_format, tiny, small):
    _, base = tiny()
    tokenizer = AutoTokenizer.from_pretrained(base)
    if chat_format == "model":
        tokenizer.chat_template = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
    template = ChatFormat(chat_format).template(tokenizer)
    turns = [
        {"role": "user", "content": "\"q\" '{{ x }}' {% raw %}\\n\n\t", "more": 1},
        {"role": "assistant", "content": "é 😀 \u2028"},
    ]
    render = partial(tokenizer.apply_chat_template, tokenize=False, add_generation_prompt=True)
    question, system = [{"role": "user", "content": "?"}], [{"role": "system", "content": "s"}]
    behind = shown_before(turns, template)
    for first in ([], system):
        expected = render([*first, *turns, *question], chat_template=template)
        assert render([*first, *question], chat_template=behind) == expected


def test_fewshot_is_vanilla_behind_train_records(tiny, small, tmp_path):
    _, base = tiny()
    words = {name: small[name] for name in ("transfer_task", "train_samples")}
    student = student_of(pretrained=base, method="fewshot", shots=3, **words)
    assert not student.edits and student.provenance.record["shots"] == 3
    tokenizer = AutoTokenizer.from_pretrained(base)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "?"}], chat_template=student.chat_template, tokenize=False
    )
    transfer = Transfer(make_recipe(dict(pretrained=base, method="fewshot", shots=3, **words)))
    for record in transfer.splits.train[:3]:
        assert all(message["content"] in text for message in record["messages"])
    assert text.count("<|assistant|>") == 3 and text.endswith("<|user|>\n?\n\n")
