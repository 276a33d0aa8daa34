"""``method=laten`` and its controls, from options to a saved student and into lm-eval."""

import json
import logging

import lm_eval
import pytest
import torch
from lm_eval.tasks import TaskManager
from transformers import AutoModelForCausalLM, AutoTokenizer

import pkt_eval.tasks
from pkt_eval import nano
from pkt_eval._util import sources
from pkt_eval._util.progress import Progress
from pkt_eval.align.choice import published_rates, rates_to_try
from pkt_eval.data.chat import ChatFormat
from pkt_eval.data.splits import Splits
from pkt_eval.data.transfer_data import TransferData
from pkt_eval.errors import ConfigError, DataError, StoreError
from pkt_eval.locate import map_layers, neuron_attribution
from pkt_eval.locate.samples import attribution_samples, examples
from pkt_eval.locate.select import best, neuron_counts, value_scores
from pkt_eval.methods.base import methods
from pkt_eval.model_wrappers.student import PKTPrePKT
from pkt_eval.models import blocks
from pkt_eval.models.student import load_student
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import make_student

FAMILY = [m.name for m in methods().values() if m.cls.__name__ == "LaTen"]
WORDS = dict(
    transfer_task="nano_gsm8k",
    extract_samples=2,
    align_samples=3,
    validation_samples=2,
    samples_per_step=3,
    steps=2,
    learning_rate=1e-2,
)

pytestmark = pytest.mark.usefixtures("short_answers")


def student_of(tiny, method="laten", family="qwen2", **changes):
    teacher, base = tiny(family)
    words = {**WORDS, "teacher": teacher, "pretrained": base, "method": method, **changes}
    return make_student(make_recipe({k: v for k, v in words.items() if v is not None}), progress=Progress(False))


@torch.no_grad()
def logits(base, student=None) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    if student:
        student.apply(model)
    return model(input_ids=torch.arange(1, 40)[None]).logits


def test_the_family_has_its_rows():
    assert FAMILY == ["laten", "laten_random", "laten_self", "laten_shuffled", "laten_zero", "unaligned"]


@pytest.mark.parametrize("family", blocks.FAMILIES)
def test_moves_the_student_on_every_family(family, tiny):
    student = student_of(tiny, family=family)
    assert len(student.edits) == 3 * 4
    moved = logits(student.base.path, student)
    assert torch.isfinite(moved).all() and (moved - logits(student.base.path)).abs().max() > 1e-3


def test_from_oneself_is_laten_whose_teacher_is_the_student(tiny):
    _, base = tiny("qwen2")
    alone = student_of(tiny, "laten_self", teacher=None)
    assert alone.provenance.teacher is None and alone.provenance.control_of == ("laten",)
    assert alone.weights_digest() == student_of(tiny, teacher=base).weights_digest()
    assert alone.weights_digest() != student_of(tiny).weights_digest()


def test_the_record_says_what_happened(tiny):
    record = student_of(tiny).provenance.record
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["kept_per_layer"] == {"ffn": 9, "attention": 9, "value": 3}
    for layers in record["teacher_layers"].values():
        assert len(layers) == 3 and layers == sorted(set(layers)) and set(layers) <= set(range(4))
    alignment = record["alignment"]
    assert [s["step"] for s in alignment["steps"]] == [1, 2]
    losses = [s["validation_loss"] for s in alignment["steps"]]
    assert alignment["chosen_step"] == 1 + losses.index(min(losses)) and alignment["chosen_by"] == "validation"
    assert all({"lm_loss", "penalty", "learning_rate"} <= s.keys() for s in alignment["steps"])
    for norms in record["delta_norm_per_layer"].values():
        assert len(norms) == 3 and all(n > 0 for n in norms)
    assert record["changed_share"]["float32"] > 0.9


def test_zero_is_vanilla_exactly_and_needs_no_teacher(tiny):
    student = student_of(tiny, "laten_zero", teacher=None)
    assert len(student.edits) == 12 and not any(e.delta.any() for e in student.edits)
    assert torch.equal(logits(student.base.path, student), logits(student.base.path))


def test_unaligned_adds_the_teachers_vectors_rank_to_rank_and_layer_to_layer(tiny):
    teacher, base = tiny("qwen2")
    recipe = make_recipe({**WORDS, "teacher": teacher, "pretrained": base, "method": "unaligned", "scale": 0.5})
    student = make_student(recipe, progress=Progress(False))
    record = student.provenance.record
    splits, tokenizer = recipe.task_splits("nano_gsm8k"), AutoTokenizer.from_pretrained(base)
    samples, _ = attribution_samples(TransferData(splits, ChatFormat("paper"), "answer", 1024, None), tokenizer)
    theirs, ours = (AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32) for f in (teacher, base))
    keep = neuron_counts(blocks.dims(ours.config), 0.1)
    scored = {}
    for role, model in (("teacher", theirs), ("student", ours)):
        scores = sum_of([neuron_attribution(model, ids, target, scoring="full") for ids, target in samples])
        scored[role] = {
            "up": best(scores.ffn, keep.ffn),
            "down": best(scores.ffn, keep.ffn),
            "o": best(scores.attention, keep.attention),
            "v": best(value_scores(scores.attention, blocks.dims(model.config)), keep.value),
        }
        if role == "teacher":
            for block in ("up", "down"):
                assert record["teacher_layers"][block] == map_layers(4, 3, scores.layer_ffn)
            for block in ("v", "o"):
                assert record["teacher_layers"][block] == map_layers(4, 3, scores.layer_attention)
    for edit in student.edits:
        layer = blocks.layer_of(edit.name)
        block = next(b for b in ("up", "down", "v", "o") if f"{b}_proj" in edit.name)
        from_layer = record["teacher_layers"][block][layer]
        weight = theirs.get_parameter(blocks.weight_name(block, from_layer)).detach()
        vectors = (weight if block in ("up", "v") else weight.T)[scored["teacher"][block][from_layer], :48]
        assert torch.equal(edit.indices, scored["student"][block][layer])
        assert torch.equal(2 * edit.delta, vectors)
    assert record["alignment"]["validation_loss"] != record["alignment"]["validation_loss_of_base"]


def sum_of(scores):
    total, *others = scores
    for other in others:
        total = total + other
    return total


def test_controls_differ_from_the_method_where_they_should(tiny):
    students = {m: student_of(tiny, m) for m in ("laten", "laten_shuffled", "laten_random")}
    places = {m: [e.indices.tolist() for e in s.edits] for m, s in students.items()}
    assert places["laten"] == places["laten_shuffled"] != places["laten_random"]
    digests = {s.weights_digest() for s in students.values()}
    assert len(digests) == 3


@pytest.mark.parametrize("method", FAMILY)
def test_the_same_seed_gives_the_same_student(method, tiny, tmp_path, monkeypatch):
    digests = []
    for run, seed in enumerate((0, 0, 1)):
        monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path / str(run)))
        provenance = student_of(tiny, method, seed=seed).provenance
        digests.append((provenance.fingerprint, provenance.weights_digest))
    assert digests[0] == digests[1] and digests[0][0] != digests[2][0] and digests[0][1] != digests[2][1]


def test_options_reach_the_transfer(tiny):
    student = student_of(tiny, modules="up+v", rate="0.2", steps="1", validation_samples=None, samples_per_step="2")
    record = student.provenance.record
    assert {e.name.split(".")[-2] for e in student.edits} == {"up_proj", "v_proj"}
    assert record["kept_per_layer"]["ffn"] == 19 and len(record["alignment"]["steps"]) == 1
    one, published, full = (
        student_of(tiny, **words).provenance
        for words in ({"locate_with": "one"}, {"attribution": "published"}, {"scoring": "full"})
    )
    assert one.record["extract_samples"] == 1
    assert len({p.fingerprint for p in (one, published, full)}) == 3
    assert student_of(tiny, steps=None).provenance.record["alignment"]["steps"][-1]["step"] == 4  # gsm8k's


def test_each_step_locates_with_its_own_sample_and_the_student_is_edited_where_the_chosen_one_did(tiny):
    teacher, base = tiny("qwen2")
    recipe = make_recipe({**WORDS, "teacher": teacher, "pretrained": base, "method": "laten", "steps": 2})
    student = make_student(recipe, progress=Progress(False))
    record = student.provenance.record
    assert record["located_with"] == "step" and record["extract_samples"] == 2
    splits, tokenizer = recipe.task_splits("nano_gsm8k"), AutoTokenizer.from_pretrained(base)
    samples, _ = attribution_samples(TransferData(splits, ChatFormat("paper"), "answer", 1024, None), tokenizer)
    ours, theirs = (AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32) for f in (base, teacher))
    scores = [neuron_attribution(ours, ids, target, scoring="full") for ids, target in samples]
    chosen = record["alignment"]["chosen_step"] - 1
    for edit in student.edits:
        if "up_proj" in edit.name:
            layer = blocks.layer_of(edit.name)
            own, other = (best(scores[i].ffn, 9)[layer] for i in (chosen, 1 - chosen))
            assert torch.equal(edit.indices, own) and not torch.equal(own, other)
    of_teacher = neuron_attribution(theirs, *samples[chosen], scoring="full")
    assert record["teacher_layers"]["up"] == map_layers(4, 3, of_teacher.layer_ffn)
    whole = student_of(tiny, locate_with="all")
    assert whole.provenance.record["located_with"] == "all" and whole.weights_digest() != student.weights_digest()
    # Nothing takes steps there.
    assert student_of(tiny, "unaligned").provenance.record["located_with"] == "all"


def test_rates_and_steps_are_chosen_on_validation_by_loss(tiny):
    record = student_of(tiny, learning_rate="1e-3+3e-2+1e-2", select_by="loss").provenance.record["alignment"]
    tried = [record, *record["other_rates"]]
    assert sorted(t["learning_rate"] for t in tried) == [1e-3, 1e-2, 3e-2] and record["select_by"] == "loss"
    losses = {(t["learning_rate"], s["step"]): s["validation_loss"] for t in tried for s in t["steps"]}
    assert len(losses) == 6 and min(losses, key=losses.get) == (record["learning_rate"], record["chosen_step"])
    assert all("answers" not in s for t in tried for s in t["steps"])


def test_the_score_chooses_and_the_loss_among_equals(tiny, monkeypatch):
    from pkt_eval.methods import laten
    from pkt_eval.tune.selection import Answers

    for accuracies, expected in [((0.2, 0.5, 0.4, 0.5), (1, 3)), ((0.0, 0.0, 0.0, 0.0), (0, 1, 2, 3))]:
        # Of the base, of each candidate, and of the student.
        told = iter([0.9, *accuracies, 0.7])
        monkeypatch.setattr(laten, "generate_answers", lambda *_, told=told: Answers(next(told), 1.0, 0.0, 2))
        record = student_of(tiny, learning_rate="1e-2+3e-2", seed=len(expected)).provenance.record
        alignment = record["alignment"]
        tried = sorted([alignment, *alignment["other_rates"]], key=lambda t: t["learning_rate"])
        steps = [(t["learning_rate"], s) for t in tried for s in t["steps"]]
        assert [s["answers"]["accuracy"] for _, s in steps] == list(accuracies) and alignment["select_by"] == "score"
        rate, step = min((steps[i] for i in expected), key=lambda rs: rs[1]["validation_loss"])
        assert (alignment["learning_rate"], alignment["chosen_step"]) == (rate, step["step"])
        assert record["answers"]["accuracy"] == 0.7 and alignment["answers_of_base"]["accuracy"] == 0.9


def test_the_default_rates_are_the_published_ones_as_printed_and_by_width(tiny):
    assert published_rates(5120) == (3e-5, 3e-4)
    assert published_rates(1536) == pytest.approx((3e-5, 3e-4, 1e-4, 1e-3))
    record = student_of(tiny, learning_rate=None, steps=1).provenance.record["alignment"]
    tried = [record, *record["other_rates"]]
    assert sorted(t["learning_rate"] for t in tried) == pytest.approx([3e-5, 3e-4, 3e-5 * 80, 3e-4 * 80])
    with pytest.raises(ConfigError, match="no validation record to choose by"):
        rates_to_try((1e-3, 1e-2), 64, False)
    assert rates_to_try((), 64, False) == (3e-5,) and rates_to_try((1e-3,), 64, False) == (1e-3,)


def test_a_rate_that_diverges_is_left_out_and_said(tiny, caplog, monkeypatch):
    # A rate that surely diverges is none that an option may have.
    monkeypatch.setattr("pkt_eval.methods.laten.rates_to_try", lambda *_: (1e-2, 1e12))
    with caplog.at_level(logging.WARNING):
        record = student_of(tiny, steps=2).provenance.record["alignment"]
    (diverged,) = record["other_rates"]
    assert record["learning_rate"] == 1e-2 and "diverged in step 2 of 2" in diverged["diverged"]
    assert len(diverged["steps"]) == 1 and "1e+12" in caplog.text


@pytest.mark.parametrize("method", FAMILY)
def test_the_record_says_how_large_deltas_are_and_how_answers_end(method, tiny):
    student = student_of(tiny, method)
    record = student.provenance.record
    model = AutoModelForCausalLM.from_pretrained(student.base.path, dtype=torch.float32)
    for block, share in record["delta_over_weight"].items():
        ratios = []
        for edit in student.edits:
            if f"{block}_proj" in edit.name:
                weight = model.get_parameter(edit.name).detach()
                lines = (weight if edit.axis == "rows" else weight.T)[edit.indices]
                ratios.append(edit.delta.norm(dim=1) / lines.norm(dim=1))
        assert share == pytest.approx(float(torch.stack(ratios).mean()), rel=1e-4)
    assert record["delta_over_weight"].keys() == {"up", "down", "v", "o"}
    assert record["answers"].keys() == {"accuracy", "ended", "looped", "items"} and record["answers"]["items"] == 2
    if method == "laten_zero":
        assert student_of(tiny, "unaligned").provenance.record["alignment"]["answers_of_base"] == record["answers"]


def test_programs_go_by_the_loss_and_it_is_said(tiny):
    record = student_of(tiny, transfer_task="nano_mbpp", select_by="score", steps=1).provenance.record
    assert record["alignment"]["select_by"] == "loss" and "programs" in record["alignment"]["select_by_loss_because"]
    assert record["answers"]["accuracy"] is None and 0 <= record["answers"]["ended"] <= 1


def test_a_student_in_16_bits_is_aligned_in_them(tiny):
    record = student_of(tiny, transfer_dtype="bfloat16").provenance.record
    assert record["student_dtype"] == "bfloat16"
    assert all(0 < n < 1 for n in record["delta_over_weight"].values())


def test_mistakes_are_named(tiny):
    for words, message in [
        (dict(modules="up+gate"), "LaTen edits up, down, v, o, not gate"),
        (dict(rate=0), "rate=0"),
        (dict(learning_rate="1e-3+0"), "above 0"),
        (dict(select_by="luck"), "score"),
        (dict(rate=0.01), "keeps 0 of"),
        (dict(attribution="rounded"), "exact"),
        (dict(scale=2), "no effect on method=laten"),
        (dict(transfer_max_length=8), "no extract record"),
    ]:
        with pytest.raises((ConfigError, DataError), match=message):
            student_of(tiny, **words)


def test_a_saved_student_differs_from_vanilla_exactly_where_it_was_edited_and_comes_back_equal(tiny, tmp_path):
    student = student_of(tiny)
    student.save(tmp_path / "s", merged=True)
    before = AutoModelForCausalLM.from_pretrained(student.base.path).state_dict()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "s" / "merged")
    edits = {e.name: e for e in student.edits}
    for name, after in merged.state_dict().items():
        changed = after != before[name]
        if name not in edits:
            assert not changed.any(), name
            continue
        lines = changed if edits[name].axis == "rows" else changed.T
        assert set(lines.any(dim=1).nonzero().flatten().tolist()) == set(edits[name].indices.tolist())
    live = AutoModelForCausalLM.from_pretrained(student.base.path)
    student.apply(live)
    assert all(torch.equal(live.state_dict()[n], t) for n, t in merged.state_dict().items())

    loaded = load_student(tmp_path / "s")
    assert loaded.weights_digest() == student.weights_digest()
    assert {e.name for e in loaded.edits} == set(edits)
    for edit in loaded.edits:
        assert edit.axis == edits[edit.name].axis
        assert torch.equal(edit.indices, edits[edit.name].indices) and torch.equal(edit.delta, edits[edit.name].delta)
    file = tmp_path / "s" / "located" / "edits.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(StoreError, match="altered or truncated"):
        load_student(tmp_path / "s")


def test_deltas_that_16_bits_would_swallow_are_kept_in_float32(tiny, tmp_path, caplog):
    teacher, base = tiny("qwen2")
    half = tmp_path / "half"
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(half)
    AutoTokenizer.from_pretrained(base).save_pretrained(half)
    with caplog.at_level(logging.WARNING):
        student = student_of(tiny, pretrained=str(half), learning_rate=1e-4)
    assert student.provenance.record["changed_share"]["bfloat16"] < 0.5 and "round away in bfloat16" in caplog.text
    student.save(tmp_path / "s", merged=True)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "s" / "merged", dtype="auto").state_dict()
    before = AutoModelForCausalLM.from_pretrained(half, dtype=torch.float32).state_dict()
    for edit in student.edits:
        lines = merged[edit.name] != before[edit.name]
        lines = lines if edit.axis == "rows" else lines.T
        assert set(lines.any(dim=1).nonzero().flatten().tolist()) == set(edit.indices.tolist())
    lm = PKTPrePKT(
        teacher=teacher, pretrained=str(half), device="cpu", batch_size=1, **{**WORDS, "learning_rate": 1e-4}
    )
    # They act beside the weights, which are the base's, to the bit; in whatever dtype this processor computes.
    assert all(torch.equal(w.float(), before[n]) for n, w in lm.model.state_dict().items() if n in before)
    reference = AutoModelForCausalLM.from_pretrained(half, dtype=torch.float32).eval()
    tokens = torch.arange(1, 40)[None]
    with torch.no_grad():
        vanilla, beside = reference(tokens).logits, lm.model(tokens).logits.float()
        student.apply(reference)
        wanted = reference(tokens).logits
    assert (beside - wanted).norm() < 0.02 * wanted.norm() and not torch.equal(wanted, vanilla)


def test_a_stored_student_is_used_again(tiny):
    first, again = student_of(tiny), student_of(tiny)
    assert first.provenance == again.provenance
    assert first.weights_digest() == again.weights_digest() == again.provenance.weights_digest


@pytest.mark.parametrize("locate_with", ["all", "step"])
def test_an_interrupted_transfer_goes_on_behind_the_locating_and_its_controls_share_it(locate_with, tiny, monkeypatch):
    from pkt_eval.align import choice
    from pkt_eval.methods import laten

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(choice, "align", interrupted)
        student_of(tiny, locate_with=locate_with)
    plain = student_of(tiny, extract_samples=3).weights_digest()
    with monkeypatch.context() as patch:
        patch.setattr(laten, "attribute_sets", interrupted)
        record = student_of(tiny, locate_with=locate_with).provenance.record
        assert record["located_before"] == ["teacher", "student"]
        for control in ("laten_shuffled", "unaligned") if locate_with == "all" else ("laten_shuffled",):
            record = student_of(tiny, control, locate_with=locate_with).provenance.record
            assert record["located_before"] == ["teacher", "student"]
        with pytest.raises(KeyboardInterrupt):
            student_of(tiny, attribution="published")
    again = student_of(tiny, extract_samples=3, learning_rate=1e-2, steps=2)
    assert again.weights_digest() == plain


def test_teacher_and_student_are_never_in_memory_together(tiny, monkeypatch):
    from contextlib import contextmanager

    from pkt_eval.models.source import ModelSource

    plain, opened, seen = ModelSource.open, [], []

    @contextmanager
    def watched(self, *args, **kwargs):
        with plain(self, *args, **kwargs) as model:
            opened.append(self.path)
            seen.append(list(opened))
            yield model
        opened.pop()

    monkeypatch.setattr(ModelSource, "open", watched)
    student_of(tiny)
    assert seen == [[tiny("qwen2")[0]], [tiny("qwen2")[1]]]


def test_damaged_scores_are_said_and_made_anew(tiny, tmp_path, caplog):
    first = student_of(tiny, "laten_zero")
    (file,) = (tmp_path / "store" / "scores").iterdir()
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        again = student_of(tiny, "laten_zero", learning_rate=0.5)
    assert "damaged" in caplog.text and again.weights_digest() == first.weights_digest()


def data_of(records: list[dict], max_length=64) -> TransferData:
    splits = Splits("gsm8k", records, records, [], records, "by hand")
    return TransferData(splits, ChatFormat("paper"), "answer", max_length, lambda task: splits)


def record(answer: str, question="How many?") -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def test_the_target_is_the_last_token_before_trailing_punctuation(caplog):
    tokenizer = AutoTokenizer.from_pretrained(nano.model_path("student"))
    plain, trailing = record("It is 42"), record('It is 42." ),]\n')
    data = data_of([plain, trailing, record('." ]'), record("far too long " * 40)])
    samples, skipped = attribution_samples(data, tokenizer)
    assert skipped == {"extract: empty answer": 1, "extract: too long": 1}
    (one, target), (other, same) = samples
    assert torch.equal(one, other) and target == same
    text = tokenizer.decode([*one.tolist(), target])
    assert text == "<|user|>\nHow many?\n\n<|assistant|>\nIt is 42"
    with caplog.at_level(logging.WARNING):
        kept = examples(data, tokenizer, "align", skipped)
    assert len(kept) == 3 and skipped["align: too long"] == 1 and "skipped" in caplog.text
    with pytest.raises(DataError, match="no extract record"):
        attribution_samples(data_of([record(".")]), tokenizer)


def test_align_counts_in_the_digest_of_the_code(monkeypatch):
    from pathlib import Path

    read, seen = Path.read_bytes, []
    monkeypatch.setattr(Path, "read_bytes", lambda self: seen.append(self.parent.name + "/" + self.name) or read(self))
    sources.digest.__wrapped__(sources.TRANSFER)
    sources.module_digest.__wrapped__("pkt_eval.methods.laten")
    assert {"align/loop.py", "locate/attribution.py", "extract/neurons.py", "methods/laten.py"} <= set(seen)


def test_prepkt_runs_in_lm_eval():
    results = lm_eval.simple_evaluate(
        model="pkt_prepkt",
        model_args=WORDS,
        tasks=["nano_mmlu"],
        limit=4,
        batch_size=4,
        device="cpu",
        apply_chat_template=True,
        bootstrap_iters=0,
        task_manager=TaskManager(include_path=list(pkt_eval.tasks.__path__), include_defaults=False),
    )
    pkt = results["config"]["pkt"]
    assert pkt["method"] == "laten" and pkt["paradigm"] == "PrePKT"
    assert len(pkt["record"]["alignment"]["steps"]) == 2
    assert PKTPrePKT.METHOD == "laten"
