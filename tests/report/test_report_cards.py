"""What records say of one student, for its model card: its own seed, on the same items as vanilla and a control."""

import json

import pytest
from conftest import provenance

from pkt_eval.errors import ConfigError
from pkt_eval.transfer_cli import evaluations


@pytest.fixture
def folder(made, tmp_path):
    """A suite of two seeds of a method, with vanilla and a control."""
    made(tmp_path / "v", [0] * 10 + [1] * 10)
    made(tmp_path / "s0", [0] * 4 + [1] * 16, method="seeking", seed=0)
    made(tmp_path / "s1", [0] * 20, method="seeking", seed=1)
    control = made(tmp_path / "c0", [0] * 6 + [1] * 14, method="seeking_random", seed=0)
    content = json.loads(control.read_text())
    content["config"]["pkt"] |= {"transfer_task": "gsm8k", "seed": 0}
    control.write_text(json.dumps(content))
    made(tmp_path / "l0", [1] * 20, method="lora", seed=0)
    made(tmp_path / "hf", [1] * 20, method=None, pretrained="acme/other")
    return tmp_path


def fingerprint(method, seed):
    return provenance(method, "gsm8k", seed)["fingerprint"]


def test_it_is_this_student_and_no_mean_over_seeds(folder):
    (found,) = evaluations([folder], fingerprint("seeking", 0), {})
    assert (found.score, found.items, found.dataset, found.metric) == (0.8, 20, "openai/gsm8k", "exact_match")
    vanilla, control = found.compared["vanilla"], found.compared["control"]
    assert (vanilla.against, vanilla.value, control.against) == ("vanilla", pytest.approx(0.3), "seeking_random")
    assert vanilla.low < 0.3 < vanilla.high and control.value == pytest.approx(0.1)
    (other,) = evaluations([folder], fingerprint("seeking", 1), {})
    assert other.score == 0.0


def test_vanilla_is_compared_with_nobody(folder):
    (found,) = evaluations([folder], fingerprint("vanilla", None), {})
    assert found.score == 0.5 and not found.compared


def test_records_of_others_are_refused_by_what_is_unlike(folder):
    asked = provenance("lora", "gsm8k", 0) | {"seed": 7, "code": "cd" * 32}
    said = r": none is of this student, abababababab; the nearest is lora, which has another seed, code$"
    with pytest.raises(ConfigError, match=said):
        evaluations([folder], "ab" * 32, {name: asked[name] for name in ("method", "config", "seed", "code")})


@pytest.mark.parametrize("seed", [0, 1])
def test_the_nearest_is_looked_for_among_the_seeds_of_a_method_too(folder, seed):
    asked = provenance("seeking", "gsm8k", seed) | {"code": "cd" * 32}
    with pytest.raises(ConfigError, match=r"the nearest is seeking, which has another code$"):
        evaluations([folder], "ab" * 32, {name: asked[name] for name in ("method", "config", "seed", "code")})
