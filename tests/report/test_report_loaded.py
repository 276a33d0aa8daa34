"""Arguments of ``hf`` that make another model: its run is another student, and nobody's baseline but its likes'."""

import json

import pytest

from pkt_eval.errors import DataError
from pkt_eval.report.board import leaderboard
from pkt_eval.report.records import keep, read


@pytest.fixture
def loaded(made):
    """Writes a record of a student that was loaded with arguments of ``hf``, as ``pkt_student`` does."""

    def write(folder, scores, arguments, digest="ab" * 32, **how):
        results = made(folder, scores, **how)
        content = json.loads(results.read_text())
        content["config"] |= {"pkt_hf": arguments, "pkt_hf_digest": digest}
        results.write_text(json.dumps(content))
        return results

    return write


def labels(folder):
    return sorted(record.student.label for record in read([folder])[0])


def cells(folder):
    """label → its difference to vanilla on the only benchmark."""
    return {row.label: cell.vanilla for _, row, _, cell in leaderboard(read([folder])[0], folder).cells()}


def test_an_adapter_on_vanilla_is_another_student_and_no_baseline(made, loaded, tmp_path):
    made(tmp_path / "plain", [0, 0, 0, 1], date=1.0)
    loaded(tmp_path / "true", [1, 1, 1, 1], {"peft": "/home/somebody/lora/adapter"}, date=2.0)
    made(tmp_path / "tuned", [1, 0, 0, 1], method="lora", seed=0, date=3.0)
    board = cells(tmp_path)
    assert set(board) == {"vanilla", "vanilla (peft=lora)", "lora"}
    assert board["vanilla"] is None
    assert (board["vanilla (peft=lora)"].value, board["vanilla (peft=lora)"].against) == (0.75, "vanilla")
    assert (board["lora"].value, board["lora"].against) == (0.25, "vanilla")


def test_an_adapter_alone_is_nobody_s_baseline(made, loaded, tmp_path):
    loaded(tmp_path / "true", [1, 1, 1, 1], {"peft": "lora/adapter"})
    made(tmp_path / "tuned", [1, 0, 0, 1], method="lora", seed=0)
    assert cells(tmp_path) == {"vanilla (peft=lora)": None, "lora": None}


def test_students_that_were_all_quantised_are_compared_with_the_quantised_vanilla(made, loaded, tmp_path):
    made(tmp_path / "plain", [0, 0, 0, 1])
    loaded(tmp_path / "four", [1, 1, 0, 0], {"load_in_4bit": True})
    loaded(tmp_path / "tuned", [1, 1, 1, 1], {"load_in_4bit": True}, method="lora", seed=0)
    board = cells(tmp_path)
    assert board["lora (load_in_4bit=True)"].against == "vanilla (load_in_4bit=True)"
    assert board["lora (load_in_4bit=True)"].value == 0.5


def test_two_adapters_of_one_name_are_two_students(loaded, tmp_path):
    for place, digest in (("a", "12" * 32), ("b", "34" * 32)):
        loaded(tmp_path / place, [1, 0], {"peft": f"/{place}/adapter/lora"}, digest)
    assert labels(tmp_path) == ["vanilla (peft=lora, content=12121212)", "vanilla (peft=lora, content=34343434)"]


def test_an_adapter_that_has_moved_is_the_same_student(loaded, tmp_path):
    for place, date in (("a", 1.0), ("b", 2.0)):
        loaded(tmp_path / place, [1, 0], {"peft": f"/{place}/lora"}, date=date)
    records, notes = read([tmp_path])
    assert [record.student.label for record in records] == ["vanilla (peft=lora)"]
    assert len(notes) == 1 and "more than once" in notes[0]


def test_a_foreign_run_with_an_adapter_is_no_vanilla_either(made, tmp_path):
    results = made(tmp_path / "adapter", [1, 1, 1, 1], method=None)
    content = json.loads(results.read_text())
    content["config"]["model_args"] |= {"load_in_8bit": True, "peft": "x/lora", "batch_size": 4, "token": "abc"}
    results.write_text(json.dumps(content))
    made(tmp_path / "tuned", [1, 0, 0, 1], method="lora", seed=0)
    foreign = "acme/small+load_in_8bit=True+x/lora (hf)"
    assert cells(tmp_path) == {foreign: None, "lora": None}
    made(tmp_path / "plain", [0, 0, 0, 1], method=None)
    assert {label: d and d.against for label, d in cells(tmp_path).items()} == {
        foreign: "acme/small (hf)",
        "acme/small (hf)": None,
        "lora": "acme/small (hf)",
    }


@pytest.mark.parametrize(
    "told",
    [{"enable_thinking": True}, {"max_length": 64}, {"add_bos_token": True}, {"peft": "sk-lora-of-gsm8k-and-mmlu"}],
)
def test_what_changes_the_answers_of_a_foreign_model_makes_another_row(made, tmp_path, told):
    made(tmp_path / "plain", [0, 0, 0, 1], method=None)
    results = made(tmp_path / "told", [1, 1, 1, 1], method=None, date=2.0)
    content = json.loads(results.read_text())
    content["config"]["model_args"] |= told
    results.write_text(json.dumps(content))
    records, notes = read([tmp_path])
    assert len(records) == 2 and not notes


@pytest.mark.parametrize("told", [{"enable_thinking": True}, {"chat_template_args": {"date": "x"}}])
def test_a_student_that_its_template_told_something_else_is_another(made, tmp_path, told):
    made(tmp_path / "plain", [0, 0, 0, 1], method="lora", seed=0)
    results = made(tmp_path / "told", [1, 1, 1, 1], method="lora", seed=0, date=2.0)
    content = json.loads(results.read_text())
    content["config"]["pkt"] |= told
    results.write_text(json.dumps(content))
    records, notes = read([tmp_path])
    assert len(records) == 2 and not notes
    assert len({record.student.label for record in records}) == 2


def test_kept_records_say_it_without_places_and_secrets(loaded, tmp_path):
    loaded(tmp_path / "in", [1, 0], {"peft": "/home/somebody/lora/adapter", "hf_token": "hf_" + "x" * 20})
    before = labels(tmp_path / "in")
    keep(read([tmp_path / "in"])[0], tmp_path / "kept")
    (kept,) = (tmp_path / "kept").rglob("results_*.json")
    assert json.loads(kept.read_text())["config"]["pkt_hf"] == {"peft": "lora"}
    assert "somebody" not in kept.read_text() and "xxxx" not in kept.read_text()
    assert labels(tmp_path / "kept") == before == ["vanilla (peft=lora)"]


def test_arguments_of_another_shape_are_named(loaded, tmp_path):
    results = loaded(tmp_path, [1, 0], "peft=lora")
    with pytest.raises(DataError, match=rf"{results.name}.*pkt_hf"):
        read([tmp_path])
