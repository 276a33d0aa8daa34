"""An interrupted fine-tune goes on where it was, and ends with the weights of one that was left alone."""

import json
import shutil
import time
from contextlib import nullcontext

import forked
import pytest

from pkt_eval._util.files import load_tensors
from pkt_eval._util.progress import Progress
from pkt_eval.align import loop
from pkt_eval.errors import StoreError
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.store import Store
from pkt_eval.transfer.transfer import make_student
from pkt_eval.tune import checkpoints, training

pytestmark = pytest.mark.usefixtures("short_answers")

# Three steps an epoch, so that the interruption is in the second.
OPTIONS = {
    "method": "seeking",
    "transfer_task": "nano_gsm8k",
    "extract_samples": 2,
    "train_samples": 24,
    "validation_samples": 4,
    "train_batch_size": 8,
    "micro_batch_size": 4,
    "epochs": 3,
    "learning_rate": "1e-3+2e-3",
}
ALIGNED = {
    "method": "laten",
    "transfer_task": "nano_gsm8k",
    "extract_samples": 2,
    "align_samples": 8,
    "validation_samples": 4,
    "steps": 4,
    "samples_per_step": 4,
    "learning_rate": 1e-2,
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return make_student(make_recipe(OPTIONS), store=Store(tmp_path_factory.mktemp("undisturbed")))


def training_of(student):
    return student.provenance.record["training"]


def spent(store):
    (path,) = store.glob("unfinished/*/spent.json")
    return json.loads(path.read_text())


def assert_cost_is_of_both(provenance, before):
    """What an interrupted process spent counts: stages that are not done again, and part of the one that goes on."""
    seconds = provenance.seconds
    assert {n: t for n, t in seconds.items() if t < before["seconds"].get(n, 0.0)} == {}
    assert provenance.peak_memory_bytes >= before["peak_memory_bytes"] > 0


@pytest.mark.parametrize("passes", [9, 21])
def test_an_interrupted_fine_tune_goes_on(undisturbed, tmp_path, monkeypatch, passes):
    """In the first training, of nine steps of two passes, or in the second; validation takes one pass each time."""
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    loss, done = training.supervised_loss, []

    def counted(model, batch):
        done.append(1)
        if len(done) == passes:
            raise KeyboardInterrupt
        return loss(model, batch)

    monkeypatch.setattr(training, "supervised_loss", counted)
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        make_student(make_recipe(OPTIONS), store=store)
    before = spent(tmp_path)
    assert set(before["seconds"]) == {"sensitivity", "extract", "validation", "finetune"}
    # As if the first process had been a large one.
    before["peak_memory_bytes"] += 2**40
    next(tmp_path.glob("unfinished/*/spent.json")).write_text(json.dumps(before))

    def again(*_, **__):
        raise AssertionError("the extraction is kept")

    def counted_read(path):
        read.append(path)
        return load_tensors(path)

    monkeypatch.setattr("pkt_eval.methods.seeking.layer_sensitivities", again)
    read, load_tensors = [], checkpoints.load_tensors
    monkeypatch.setattr(checkpoints, "load_tensors", counted_read)
    first = len(done)
    student = make_student(make_recipe(OPTIONS), store=store)
    assert len(read) == 1, "a checkpoint is read and checked once"
    assert_cost_is_of_both(student.provenance, before)
    assert student.provenance.seconds["finetune"] > before["seconds"]["finetune"]
    assert student.weights_digest() == undisturbed.weights_digest()
    assert training_of(student)["tried"] == training_of(undisturbed)["tried"]
    # Nothing is left, and less was done than all over again: two trainings of 18 passes and 2 validations.
    assert not list((tmp_path / "unfinished").iterdir())
    assert len(done) - first < 40


@pytest.mark.parametrize("seen", ["checkpoint-*", "checkpoint-*/whole"])
def test_a_killed_fine_tune_goes_on(undisturbed, tmp_path, seen, processes):
    run = processes.Process(target=forked.transfer, args=(OPTIONS, tmp_path))
    run.start()
    while not list(tmp_path.glob(f"unfinished/*/rate-*/{seen}")) and run.is_alive():
        time.sleep(0.001)
    run.kill()
    run.join()
    assert list(tmp_path.glob("unfinished/*/rate-*")), "it was killed before it began"
    states = list(tmp_path.glob("unfinished/*/rate-*/checkpoint-*/trainer_state.json"))
    assert not states or json.loads(states[0].read_text())["global_step"] < 9
    before = spent(tmp_path)
    # A checkpoint is whole once the time that it took is on disk.
    assert "finetune" in before["seconds"] or not list(tmp_path.glob("unfinished/*/rate-*/checkpoint-*/whole"))
    student = make_student(make_recipe(OPTIONS), store=Store(tmp_path))
    assert student.weights_digest() == undisturbed.weights_digest()
    assert_cost_is_of_both(student.provenance, before)


def test_an_interrupted_alignment_goes_on_after_its_last_step(tmp_path, monkeypatch):
    """Interrupted in the third of four steps; what was located is remembered, too."""
    monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path / "memo"))
    whole = make_student(make_recipe(ALIGNED), store=Store(tmp_path / "whole"))
    gradients, taken = loop.gradients, []

    def counted(*arguments):
        taken.append(1)
        if len(taken) == 3:
            raise KeyboardInterrupt
        return gradients(*arguments)

    monkeypatch.setattr(loop, "gradients", counted)
    store = Store(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        make_student(make_recipe(ALIGNED), store=store)
    before = spent(tmp_path / "broken")
    assert before["seconds"]["align"] > 0
    student = make_student(make_recipe(ALIGNED), store=store)
    assert_cost_is_of_both(student.provenance, before)
    assert len(taken) == 3 + 2, "two steps were kept"
    assert student.weights_digest() == whole.weights_digest()
    assert student.provenance.record["alignment"] == whole.provenance.record["alignment"]
    assert not list((tmp_path / "broken" / "unfinished").glob("*"))


def test_a_damaged_account_is_said_and_begun_anew(tmp_path, caplog):
    (tmp_path / "spent.json").write_text("")
    progress = Progress(enabled=False)
    progress.go_on(tmp_path)
    assert "spent.json is damaged" in caplog.text
    with progress.stage("extract"):
        pass
    assert json.loads((tmp_path / "spent.json").read_text())["seconds"] == progress.seconds


def harmed(data: bytes, how: str) -> bytes | None:
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]
    return {"empty": b"", "half": data[:middle], "flip": flipped, "text": b"[1, 2]", "gone": None}[how]


@pytest.fixture(scope="module", params=["seeking", "laten"])
def interrupted(request, tmp_path_factory):
    """A store with a transfer that was interrupted near its end, the words of it, and what it should have become."""
    words = OPTIONS | {"max_steps": 4, "learning_rate": "1e-3"} if request.param == "seeking" else ALIGNED
    folder = tmp_path_factory.mktemp(request.param)
    whole = make_student(make_recipe(words), store=Store(folder / "whole"))
    place, name = (training, "supervised_loss") if request.param == "seeking" else (loop, "example_loss")
    loss, done = getattr(place, name), []

    def counted(*arguments):
        done.append(1)
        return loss(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PKT_EVAL_STORE", str(folder / "count"))
        patch.setattr(checkpoints, "SECONDS", 0.0)
        patch.setattr(place, name, counted)
        make_student(make_recipe(words), store=Store(folder / "count"))
        last, done = len(done) - 2, []

        def cut(*arguments):
            if len(done) == last:
                raise KeyboardInterrupt
            return counted(*arguments)

        patch.setenv("PKT_EVAL_STORE", str(folder / "store"))
        patch.setattr(place, name, cut)
        with pytest.raises(KeyboardInterrupt):
            make_student(make_recipe(words), store=Store(folder / "store"))
    return folder / "store", words, whole


@pytest.mark.parametrize("how", ["empty", "half", "flip", "text", "gone"])
def test_whatever_happens_to_a_file_of_an_unfinished_transfer_the_student_is_the_same(
    how, interrupted, tmp_path, monkeypatch
):
    store, words, whole = interrupted
    files = [f.relative_to(store) for f in sorted(store.glob("unfinished/**/*")) if f.is_file()]
    assert len(files) >= 3 and not any(f.suffix in (".pt", ".pth", ".bin") for f in files)
    for number, file in enumerate(files):
        copy = tmp_path / str(number)
        shutil.copytree(store, copy)
        changed = harmed((copy / file).read_bytes(), how)
        (copy / file).unlink()
        if changed is not None:
            (copy / file).write_bytes(changed)
        monkeypatch.setenv("PKT_EVAL_STORE", str(copy))
        student = make_student(make_recipe(words), store=Store(copy))
        assert student.weights_digest() == whole.weights_digest(), file


def in_the_way(path):
    """A file becomes a folder, and a folder a file."""
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("")
    else:
        path.unlink()
        path.mkdir()
        (path / "inside").write_text("")


def test_what_stands_in_the_way_of_an_unfinished_transfer_goes(interrupted, tmp_path, monkeypatch, caplog):
    store, words, whole = interrupted
    (work,) = (path.relative_to(store) for path in store.glob("unfinished/*"))
    places = sorted(path.relative_to(store) for path in store.glob("unfinished/**/*"))
    harms = {f"{work}": in_the_way, **{f"{place}": in_the_way for place in places}}
    (rate,) = (place for place in places if place.name.startswith("rate-"))
    harms |= {f"{rate}/checkpoint-{name}": lambda path: path.mkdir() for name in ("foo", "3.bak", "²", "007")}
    harms |= {f"{rate}/checkpoint-{step}": lambda path: path.write_text("") for step in (3, 4)}
    for number, (place, harm) in enumerate(harms.items()):
        copy = tmp_path / str(number)
        shutil.copytree(store, copy)
        if harm is in_the_way or not (copy / place).exists():
            harm(copy / place)
        monkeypatch.setenv("PKT_EVAL_STORE", str(copy))
        student = make_student(make_recipe(words), store=Store(copy))
        assert student.weights_digest() == whole.weights_digest(), place
        assert not (copy / work).exists(), place


def test_files_of_another_step_are_not_gone_on_with(interrupted, tmp_path, monkeypatch):
    """Each is whole by itself: to mix them would make another student under the same name."""
    store, words, whole = interrupted
    older, newer = sorted(path.relative_to(store) for path in store.glob("unfinished/*/rate-*/*"))[-2:]
    mixes = [(older, newer), (newer, older)]
    if (store / older).is_dir():
        mixes = [(a / name, b / name) for a, b in mixes for name in ("training.safetensors", "trainer_state.json")]
    for number, (source, target) in enumerate(mixes):
        copy = tmp_path / str(number)
        shutil.copytree(store, copy)
        shutil.copy(store / source, copy / target)
        if newer in source.parents:  # else the newer one, which is whole, would be gone on with
            shutil.rmtree(copy / newer)
        monkeypatch.setenv("PKT_EVAL_STORE", str(copy))
        student = make_student(make_recipe(words), store=Store(copy))
        assert student.weights_digest() == whole.weights_digest(), (source, target)


@pytest.mark.parametrize("moved", ["student", "rate"])
def test_a_checkpoint_of_another_student_or_rate_is_none(interrupted, tmp_path, moved):
    store, _, _ = interrupted
    (rate,) = store.glob("unfinished/*/rate-*")
    there = tmp_path / "unfinished" / ("0" * 64 if moved == "student" else rate.parent.name) / rate.name
    there = there.with_name("rate-9") if moved == "rate" else there
    for place, whole in ((there, False), (tmp_path / "moved" / rate.parent.name / rate.name, True)):
        shutil.copytree(rate, place)
        if list(rate.glob("checkpoint-*")):
            assert (checkpoints.last_checkpoint(place) is not None) == whole
        for path in place.glob("step-*"):
            with nullcontext() if whole else pytest.raises(StoreError, match="another place"):
                load_tensors(path, within=3)
