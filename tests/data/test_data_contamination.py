"""``decontaminate`` drops what a test set has, before anything is drawn, and says how much."""

import json

import pytest

from pkt_eval.data.benchmarks import benchmark
from pkt_eval.data.contamination import PHRASING, HeldOut, held_out
from pkt_eval.data.decontaminate import contaminated, contamination_warning
from pkt_eval.data.sources import load_rows
from pkt_eval.data.splits import SPLIT_NAMES, Splits, build_splits, question_text, write_splits
from pkt_eval.errors import MissingDataError

LONG = "a train leaves the station at noon and comes back at five with forty two people on board of it"
SIZES = {"extract": 2, "align": 2, "train": 6, "validation": 2}


def record(text: str) -> dict:
    return {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}]}


@pytest.fixture
def folder(tmp_path):
    """Twenty clean training questions, one that has a test question's middle, and one that has a short one whole."""
    (tmp_path / "gsm8k").mkdir()
    train = [f"what is {i} plus {i}" for i in range(20)]
    train += [f"Once, {LONG.upper()}! How many?", "Tell me: how much is the fish?"]
    test = [f"well {LONG} and so on", "How much is the fish"]
    for split, texts in (("train", train), ("test", test)):
        rows = [{"question": text, "answer": "It is 1\n#### 1"} for text in texts]
        (tmp_path / "gsm8k" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def test_what_the_test_set_has_is_dropped_before_anything_is_drawn(folder):
    sizes = SIZES | {"train": 14}
    clean = build_splits("gsm8k", data_dir=folder, sizes=sizes, decontaminate=True)
    assert clean.sizes == sizes and clean.dropped == 2  # the pool has as many without them
    assert "2 of the test set's left out" in clean.source
    texts = [question_text(r) for name in SPLIT_NAMES for r in clean[name]]
    assert len(texts) == 20 and not any("fish" in text or "station" in text.lower() for text in texts)
    assert build_splits("gsm8k", data_dir=folder, sizes=SIZES).dropped == 0


def test_files_of_splits_lose_them_too_with_a_warning(folder, tmp_path, caplog):
    plain = [record(f"number {i}") for i in range(8)]
    files = Splits("gsm8k", plain[:1], plain[1:2], [*plain[2:6], record("how much is the fish, sir")], plain[6:], "")
    write_splits(files, tmp_path / "files")
    read = lambda **how: build_splits("gsm8k", splits_dir=tmp_path / "files", data_dir=folder, **how)  # noqa: E731
    assert read().digests == files.digests and not caplog.records
    clean = read(decontaminate=True)
    assert clean.train == plain[2:6] and clean.dropped == 1
    (said,) = [r.getMessage() for r in caplog.records]
    assert "1 of train in" in said


def test_without_a_test_set_nothing_can_be_dropped(folder):
    (folder / "gsm8k" / "test.jsonl").unlink()
    with pytest.raises(MissingDataError, match="'test'"):
        build_splits("gsm8k", data_dir=folder, sizes=SIZES, decontaminate=True)


def test_phrasing_and_terms_are_no_questions():
    asked = "which of these is true"
    items = [(asked, f"{asked} item{i}") for i in range(PHRASING + 1)] + [("Lactose", "lactose a b"), ("who am i", "")]
    known = HeldOut(items)
    assert not known.has_question(asked) and not known.has_question("milk has lactose")
    assert known.has_question("tell me, WHO am I?") and not known.has_question("who am")


def test_it_decides_the_student_and_is_in_its_record(folder):
    from pkt_eval.transfer.recipe import make_recipe
    from pkt_eval.transfer.transfer import Transfer

    sizes = {f"{name}_samples": size for name, size in SIZES.items()}
    made = {
        asked: Transfer(
            make_recipe(
                {"method": "lora", "transfer_task": "gsm8k", "data_dir": str(folder), "decontaminate": asked, **sizes}
            )
        )
        for asked in (False, True)
    }
    assert made[True].fingerprint != made[False].fingerprint
    assert made[True].identity["decontaminate"] is True


def test_what_is_known_of_the_published_mmlu_splits(benchmarks_dir, paper_splits_dir):
    """35 of the 1,100 records hold a whole test question, most of them of the 1,000 that train."""
    splits = build_splits("mmlu", splits_dir=paper_splits_dir, sizes={"validation": 0})
    rows = load_rows("mmlu", "test", data_dir=benchmarks_dir)
    known = held_out(tuple(benchmark("mmlu").compared(row) for row in rows))
    whole = {
        name: sum(any(known.has_question(m["content"]) for m in r["messages"]) for r in splits[name])
        for name in SPLIT_NAMES
    }
    assert whole == {"extract": 0, "align": 4, "train": 31, "validation": 0}
    clean = build_splits(
        "mmlu", splits_dir=paper_splits_dir, data_dir=benchmarks_dir, sizes={"validation": 0}, decontaminate=True
    )
    assert clean.sizes == {name: sum(not known.has(r) for r in splits[name]) for name in SPLIT_NAMES}
    assert clean.dropped > 35


def test_what_is_left_in_is_counted_and_remembered(folder, monkeypatch):
    """As many as would be left out, of the splits that are used; without a test set there is nothing to say."""
    sizes = SIZES | {"train": 16}  # all twenty-two
    splits = build_splits("gsm8k", data_dir=folder, sizes=sizes)
    dropped = build_splits("gsm8k", data_dir=folder, sizes=SIZES, decontaminate=True).dropped
    assert contaminated(splits, data_dir=folder) == dropped == 2
    assert "gsm8k: 2 of the 22 records" in contamination_warning(splits, data_dir=folder)
    with monkeypatch.context() as patch:
        patch.setattr("pkt_eval.data.decontaminate.held_out", lambda items: pytest.fail("it was counted before"))
        assert contaminated(splits, data_dir=folder) == 2
    clean = build_splits("gsm8k", data_dir=folder, sizes=SIZES, decontaminate=True)
    assert contamination_warning(clean, data_dir=folder) == ""
    (folder / "gsm8k" / "test.jsonl").unlink()
    assert contamination_warning(splits, data_dir=folder) == ""


def test_a_transfer_says_once_what_is_left_in(folder, tiny, caplog, monkeypatch):
    from pkt_eval.transfer import transfer
    from pkt_eval.transfer.recipe import make_recipe

    monkeypatch.setattr(transfer, "_warned", set())
    sizes = {f"{name}_samples": size for name, size in (SIZES | {"train": 16}).items()}
    words = {
        "method": "lora",
        "transfer_task": "gsm8k",
        "data_dir": str(folder),
        "pretrained": tiny()[1],
        "max_steps": 1,
    }
    for seed in (0, 1):
        transfer.Transfer(make_recipe({**words, **sizes, "seed": seed, "decontaminate": False})).make()
    transfer.Transfer(make_recipe({**words, "train_samples": 4, "validation_samples": 2, "decontaminate": True})).make()
    said = [r.getMessage() for r in caplog.records if "decontaminate=true" in r.getMessage()]
    assert len(said) == 1 and said[0].startswith("gsm8k: 2 of the ")
