"""Bars say whose they are, and a fine-tune moves within a step."""

import pytest

from pkt_eval._util.progress import Progress
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import Transfer


class Watched(Progress):
    """Keeps what its bars were told."""

    def __init__(self) -> None:
        super().__init__()
        self.descriptions: list[str] = []
        self.moves: list[tuple[float, str]] = []

    def _named(self, desc):
        self.descriptions.append(super()._named(desc))
        return self.descriptions[-1]

    def counter(self, desc, total, initial=0):
        made = super().counter(desc, total, initial)
        plain = made.update

        def update(n=1):
            plain(n)
            self.moves.append((made.n, made.postfix))

        made.update, self.total = update, total
        return made


@pytest.mark.parametrize(("method", "what"), [("lora", "fine-tuning at 0.001"), ("laten", "align: step 1 of 1")])
def test_every_bar_of_a_transfer_begins_with_its_method(method, what, tiny, small, capfd):
    teacher, student = tiny()
    names = ("rank", "alpha", "max_steps", "train_batch_size")
    options = {k: v for k, v in small.items() if k not in names} | {"steps": 1} if method == "laten" else small
    recipe = make_recipe({"teacher": teacher, "pretrained": student, "method": method, **options})
    progress = Watched()
    Transfer(recipe, "cpu").make(progress)
    assert f"{method}: {what}" in progress.descriptions
    assert all(desc.count(f"{method}: ") == 1 and desc.startswith(method) for desc in progress.descriptions)
    assert f"{method}: {what}" in capfd.readouterr().err


def test_a_fine_tune_moves_by_micro_batches_and_shows_step_and_loss(tiny, small):
    """Two steps of two micro-batches each."""
    options = {**small, "micro_batch_size": 2}
    progress = Watched()
    Transfer(make_recipe({"pretrained": tiny()[1], "method": "lora", **options}), "cpu").make(progress)
    assert progress.total == 4 and [n for n, _ in progress.moves] == [1, 2, 3, 4]
    said = [postfix for _, postfix in progress.moves]
    assert "step=0/2" in said[0] and "step=1/2" in said[1] and "loss=" in said[2] and "step=2/2" in said[3]


def test_a_bar_without_an_owner_keeps_its_name(capfd):
    list(Progress().bar([1], "stitching"))
    list(Progress(owner="diagnose").bar([1], "stitching"))
    said = capfd.readouterr().err
    assert "diagnose: stitching: 100%" in said and "\rstitching: 100%" in said


def test_lm_eval_asks_git_in_silence(tmp_path, monkeypatch, capfd):
    pytest.importorskip("lm_eval")
    from lm_eval.loggers.utils import get_git_commit_hash

    from pkt_eval.lm.patches import silence_git

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    silence_git()
    assert not get_git_commit_hash() and capfd.readouterr().err == ""


def test_the_bar_of_a_loading_says_whose_weights_they_are(capfd):
    from transformers.utils import logging as theirs

    from pkt_eval import nano
    from pkt_eval.models.source import ModelSource

    theirs.enable_progress_bar()
    ModelSource(nano.model_path("student")).model("auto")
    assert "Loading weights of nano-student" in capfd.readouterr().err
