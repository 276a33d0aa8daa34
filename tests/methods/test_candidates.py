"""Among candidates validation chooses, by score or by loss; the base is recorded and left as it was."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval import nano
from pkt_eval._util.progress import Progress
from pkt_eval.align.candidates import CandidateEdit, Jury, choose_candidate
from pkt_eval.align.loop import mean_loss
from pkt_eval.errors import DataError
from pkt_eval.models import blocks
from pkt_eval.models.edits import LowRankEdit

QUIET = Progress(enabled=False)


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(nano.model_path("student"), dtype=torch.float32).eval()


def noise(size: float) -> list[LowRankEdit]:
    generator = torch.Generator().manual_seed(0)
    B, A = torch.randn(144, 2, generator=generator), torch.randn(2, 384, generator=generator)
    return [LowRankEdit(blocks.weight_name("down", 1), size * B, A)]


def candidates(*sizes: float) -> list[CandidateEdit]:
    return [CandidateEdit({"size": size}, lambda size=size: noise(size)) for size in sizes]


def test_loss_chooses_the_smallest_and_the_earlier_of_equals(model, records):
    tokenizer, data = records
    jury = Jury.of(model, tokenizer, data, "loss")
    before = mean_loss(model, jury.validation)
    chosen, edits, record = choose_candidate(candidates(1.0, 0.0, 0.0, 0.1), jury, QUIET, "m")
    assert chosen == record["chosen"] == 1 and not edits[0].B.any()
    losses = [c["validation_loss"] for c in record["candidates"]]
    assert losses[0] > losses[3] and losses[1] == losses[2] == pytest.approx(record["base"]["validation_loss"])
    assert [c["size"] for c in record["candidates"]] == [1.0, 0.0, 0.0, 0.1] and record["select_by"] == "loss"
    assert record["answers"] == record["candidates"][1]["answers"] and record["answers"]["items"] == 6
    assert mean_loss(model, jury.validation) == before == record["base"]["validation_loss"]
    json.dumps(record, allow_nan=False)


def test_score_goes_before_loss(model, records, monkeypatch):
    tokenizer, data = records
    jury = Jury.of(model, tokenizer, data, None)
    assert jury.by == "score"
    told = iter([(0.5, 1.0), (0.25, 0.1), (0.5, 2.0), (0.75, 3.0), (0.75, 2.5)])

    def measure(self, edits, progress, what):
        score, loss = next(told)
        return {"validation_loss": loss, "answers": {"accuracy": score}}

    monkeypatch.setattr(Jury, "measure", measure)
    chosen, _, record = choose_candidate(candidates(1, 2, 3, 4), jury, QUIET, "m")
    assert chosen == 3 and record["base"]["answers"]["accuracy"] == 0.5


def test_a_killed_choice_goes_on_and_without_validation_the_first_is_taken(model, records, tmp_path, monkeypatch):
    tokenizer, data = records
    jury = Jury.of(model, tokenizer, data, "loss")
    whole = choose_candidate(candidates(0.5, 0.1), jury, QUIET, "m", tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Jury, "measure", lambda *a: pytest.fail("measured again"))
        again = choose_candidate(candidates(0.5, 0.1), jury, QUIET, "m", tmp_path)
    assert again[0] == whole[0] == 1 and again[2] == whole[2]
    blind = Jury(model, tokenizer, (), (), "score", "")
    chosen, _, record = choose_candidate(candidates(0.5, 0.1), blind, QUIET, "m")
    assert chosen == 0 and record["chosen_by"] == "being the first" and record["base"]["validation_loss"] is None
    with pytest.raises(DataError, match="m: there is no candidate"):
        choose_candidate([], blind, QUIET, "m")
