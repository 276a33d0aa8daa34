"""A model that is read a layer at a time is the same model: states, logits, sensitivities, students."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from pkt_eval import nano
from pkt_eval._util.progress import Progress
from pkt_eval.data.chat import collate
from pkt_eval.diagnose.activations import draw_tokens, layer_batches
from pkt_eval.errors import ConfigError, DataError, IncompatiblePairError
from pkt_eval.locate import attribution as attribution_room
from pkt_eval.locate.attribution import attribute, attribute_sets
from pkt_eval.locate.select import neuron_counts
from pkt_eval.locate.sensitivity import layer_sensitivities, parameter_sensitivity
from pkt_eval.models import blocks, pair
from pkt_eval.models.activations import Tap, activations
from pkt_eval.models.source import ModelSource
from pkt_eval.models.states import KeptStates
from pkt_eval.models.stream import StreamedModel
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.store import Store
from pkt_eval.transfer.transfer import Transfer

MODULES = ("up", "down", "v", "o")


def changed(folder: str, to: Path, **config) -> str:
    """A copy of a model whose configuration says something else."""
    shutil.copytree(folder, to)
    path = to / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return str(to)


def examples(n: int = 3) -> list[dict]:
    generator = torch.Generator().manual_seed(5)
    made = []
    for i in range(n):
        ids = torch.randint(0, 200, (6 + 12 * i,), generator=generator).tolist()
        made.append({"input_ids": ids, "labels": [-100] * 3 + ids[3:]})
    return made


@pytest.fixture(scope="module")
def folders(tiny, tmp_path_factory):
    """Every family, tied and not; local and global attention; the nano teacher; one in shards."""
    root = tmp_path_factory.mktemp("streamed")
    found = {f"{family}-{tie}": tiny(family, tie=tie)[0] for family in blocks.FAMILIES for tie in (True, False)}
    found["sliding"] = changed(found["gemma2-True"], root / "sliding", sliding_window=8)
    found["nano"] = nano.model_path("teacher")
    model = AutoModelForCausalLM.from_pretrained(found["qwen2-False"])
    model.save_pretrained(root / "sharded", max_shard_size="200KB")
    assert len(list((root / "sharded").glob("*.safetensors"))) > 2
    found["sharded"] = str(root / "sharded")
    return found


ALL = [*(f"{family}-{tie}" for family in blocks.FAMILIES for tie in (True, False)), "sliding", "nano", "sharded"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ALL)
def test_states_and_logits_are_those_of_the_whole_model(name, dtype, folders):
    source = ModelSource(folders[name])
    whole, streamed = source.model(dtype), StreamedModel(source, dtype)
    padded = collate(examples(), 0)
    batches = [{"input_ids": padded["input_ids"][2:]}, {k: padded[k] for k in ("input_ids", "attention_mask")}]
    passages = streamed.begin(batches)
    with torch.no_grad():
        expected = [whole(**batch, output_hidden_states=True) for batch in batches]
        for number, layer in streamed.layers(range(streamed.count), "layers"):
            for passage, of_whole in zip(passages, expected, strict=True):
                assert torch.equal(passage.states, of_whole.hidden_states[number])
            streamed.forward(passages, number, layer)
        for batch, passage, of_whole in zip(batches, passages, expected, strict=True):
            with streamed.head(), streamed.ending_in(passage.states) as ending:
                assert torch.equal(ending(**batch).logits, of_whole.logits)
    assert torch.equal(streamed.unembedding(), blocks.unembedding(whole))


@pytest.mark.parametrize("name", ALL)
def test_sensitivities_are_those_of_the_whole_model(name, folders):
    source = ModelSource(folders[name])
    batches = [collate([e], 0) for e in examples()]
    expected = parameter_sensitivity(source.model(torch.float32), batches, MODULES)
    streamed = StreamedModel(source, torch.float32)
    order = []
    for found in layer_sensitivities(streamed, batches, MODULES):
        order.append(found.layer)
        for block in MODULES:
            torch.testing.assert_close(found.scores[block], expected.pop(blocks.weight_name(block, found.layer)))
    assert not expected and order == list(reversed(range(streamed.count)))


def test_two_layers_are_held_at_most(folders, monkeypatch):
    source = ModelSource(folders["llama-False"])
    streamed = StreamedModel(source, torch.float32)
    most = 0

    def held() -> int:
        real = [p for p in streamed.skeleton.parameters() if not p.is_meta]
        return sum(p.numel() for p in real)

    one = sum(p.numel() for p in blocks.layers(streamed.skeleton)[0].parameters())
    before = held()
    for found in layer_sensitivities(streamed, [collate(examples(), 0)], MODULES):
        most = max(most, held() - before)
        assert {
            n.split(".")[2] for n, p in streamed.skeleton.named_parameters() if not p.is_meta and "layers" in n
        } == {str(found.layer)}
    assert most == one and held() == before


def test_states_beyond_the_budget_are_kept_in_files(tmp_path):
    states = [torch.randn(1, 5, 8), torch.randn(1, 3, 8).bfloat16()]
    kept = KeptStates(most=5 * 8 * 4 + 3 * 8 * 2)
    for layer in range(3):
        kept.put(layer, [t + layer for t in states])
    for layer in reversed(range(3)):
        for found, t in zip(kept.take(layer), states, strict=True):
            assert found.dtype == t.dtype and torch.equal(found, t + layer)
    assert not list((tmp_path / "store").iterdir()), "a file without a name leaves nothing behind"


def test_what_the_files_lack_have_too_much_or_no_number_in_is_refused(folders, tmp_path):
    def saved(name: str, change) -> StreamedModel:
        shutil.copytree(folders["llama-True"], tmp_path / name)
        tensors = load_file(tmp_path / name / "model.safetensors")
        change(tensors)
        save_file(tensors, tmp_path / name / "model.safetensors", {"format": "pt"})
        return StreamedModel(ModelSource(str(tmp_path / name)), torch.float32)

    with pytest.raises(IncompatiblePairError, match=r"lacks tensors .*model\.norm\.weight"):
        saved("lacks", lambda t: t.pop("model.norm.weight"))
    with pytest.raises(IncompatiblePairError, match=r"has no place for: model\.layers\.9\.x"):
        saved("more", lambda t: t.update({"model.layers.9.x": torch.zeros(1)}))
    with pytest.raises(IncompatiblePairError, match=r"another shape .*model\.norm\.weight"):
        saved("shape", lambda t: t.update({"model.norm.weight": torch.zeros(3)}))
    nan = saved("nan", lambda t: t["model.layers.1.mlp.up_proj.weight"].fill_(torch.nan))
    with pytest.raises(IncompatiblePairError, match=r"NaN or infinite\) in model\.layers\.1\.mlp\.up_proj\.weight"):
        list(layer_sensitivities(nan, [collate(examples(1), 0)], MODULES))
    with pytest.raises(DataError, match="no sample"):
        layer_sensitivities(StreamedModel(ModelSource(folders["nano"]), torch.float32), [], MODULES)


@pytest.mark.parametrize(
    ("family", "method"), [("nano", "seeking"), ("gemma2", "seeking"), ("qwen2", "seeking_random")]
)
def test_seeking_makes_the_same_student(tiny, small, tmp_path, family, method):
    teacher, student = tiny(family) if family != "nano" else (nano.model_path("teacher"), nano.model_path("student"))
    options = small | {"method": method, "teacher": teacher, "pretrained": student, "max_steps": 1}
    transfers = [
        Transfer(make_recipe(options | {"teacher_memory": how}), store=Store(tmp_path / how))
        for how in ("whole", "stream")
    ]
    whole, streamed = (transfer.make() for transfer in transfers)
    assert transfers[0].fingerprint == transfers[1].fingerprint, "how a teacher is held decides no student"
    assert streamed.provenance.record["blocks"] == whole.provenance.record["blocks"]
    assert streamed.weights_digest() == whole.weights_digest()


def test_auto_is_whole_where_it_fits_with_room(monkeypatch):
    source = ModelSource(nano.model_path("teacher"))
    models = pair.ModelPair(source, ModelSource(nano.model_path("student")), dtype="float32")
    needed = 8 * sum(p.numel() for p in source.model(torch.float32).parameters())
    for free, kind in ((needed / 0.79, False), (needed / 0.81, True)):
        monkeypatch.setattr(pair, "free_memory", lambda device, free=free: int(free))
        with models.read_teacher() as teacher:
            assert isinstance(teacher, StreamedModel) is kind


def test_who_needs_the_whole_teacher_says_so():
    with pytest.raises(ConfigError, match=r"teacher_memory=stream: method=theseus .* needs it whole.*seeking"):
        make_recipe({"method": "theseus", "transfer_task": "nano_gsm8k", "teacher_memory": "stream"})
    make_recipe({"method": "lora", "transfer_task": "nano_gsm8k", "teacher_memory": "stream"})


@pytest.mark.parametrize("name", ["nano", "qwen2-False", "sliding"])
def test_activations_are_those_of_the_whole_model(name, folders):
    source = ModelSource(folders[name])
    whole, streamed = source.model(torch.float32), StreamedModel(source, torch.float32)
    taps = [Tap("residual", 1), Tap("middle", 0), Tap("down", 2, "input"), Tap("v", 2), Tap("o", 1)]
    batches = [collate(examples(), 0), collate(examples(1), 0)]
    for positions in ("supervised", "all"):
        found = activations(streamed, batches, taps, positions=positions)
        for ours, theirs in zip(found, activations(whole, batches, taps, positions=positions), strict=True):
            assert list(ours) == taps and all(torch.equal(ours[tap], theirs[tap]) for tap in taps)
    read = []
    streamed.layers = lambda order, desc: read.extend(order) or iter(())
    list(activations(streamed, [], taps))
    assert read == [0, 1, 2], "layers behind the last tap are not read"


@pytest.mark.parametrize("attribution", ["exact", "published"])
@pytest.mark.parametrize("scoring", ["fast", "full"])
@pytest.mark.parametrize("name", ["nano", "qwen2-False", "sliding"])
def test_neurons_are_scored_as_of_the_whole_model(name, scoring, attribution, folders, monkeypatch):
    monkeypatch.setattr(attribution_room, "_TOGETHER", 2)
    source = ModelSource(folders[name])
    whole, streamed = source.model(torch.float32), StreamedModel(source, torch.float32)
    samples = [(torch.tensor(e["input_ids"][:-1]), e["input_ids"][-1]) for e in examples()]
    how = dict(keep=neuron_counts(source.dims, 0.1), scoring=scoring, attribution=attribution)
    for ours, of_set in zip(
        attribute_sets(streamed, [samples, samples[:1]], **how), (samples, samples[:1]), strict=True
    ):
        theirs = attribute(whole, of_set, **how)
        for key, expected in vars(theirs).items():
            size = float(expected.abs().max())
            torch.testing.assert_close(getattr(ours, key), expected, rtol=1e-4, atol=2e-5 * size)
    assert streamed.config._attn_implementation == whole.config._attn_implementation


@pytest.mark.parametrize("method", ["unaligned", "transport"])
def test_who_reads_a_teacher_makes_the_same_student(tiny, small, tmp_path, short_answers, method):
    teacher, student = tiny("gemma2")
    options = {k: v for k, v in small.items() if k.endswith(("task", "_samples"))} | {"method": method}
    options |= {"teacher": teacher, "pretrained": student, "validation_samples": 1}
    whole, streamed = (
        Transfer(make_recipe(options | {"teacher_memory": how}), store=Store(tmp_path / how)).make()
        for how in ("whole", "stream")
    )
    for ours, theirs in zip(streamed.edits, whole.edits, strict=True):
        assert ours.name == theirs.name
        if method == "unaligned":
            assert torch.equal(ours.indices, theirs.indices)
    assert streamed.weights_digest() == whole.weights_digest()


def test_a_diagnosis_windows_layers_are_those_of_the_whole_model(folders):
    source = ModelSource(folders["nano"])
    texts = {"one": [e["input_ids"] * 4 for e in examples(4)]}
    sample = draw_tokens(texts, 128, seed=0, batch=32)
    models = (source.model(torch.float32), StreamedModel(source, torch.float32))
    for theirs, ours in zip(*(layer_batches(m, sample, Progress(False), "") for m in models), strict=True):
        for kind, of_layers in theirs.items():
            assert all(torch.equal(a, b) for a, b in zip(of_layers, ours[kind], strict=True))
