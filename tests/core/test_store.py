"""The store: once, whole, and noticed when harmed; two processes at once make one student."""

import logging
import subprocess
import sys

import pytest
import torch

from pkt_eval.errors import StoreError
from pkt_eval.models.edits import LowRankEdit
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import Student
from pkt_eval.transfer.store import Store

EDIT = LowRankEdit("model.layers.0.mlp.up_proj.weight", torch.ones(4, 2), torch.ones(2, 3))


class Builder:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Student:
        self.times += 1
        return Student(ModelSource("base"), (EDIT,), record={"built": self.times})


def test_a_student_is_built_once_and_then_loaded(tmp_path):
    build, store = Builder(), Store(tmp_path)
    first, second = (store.get_or_build("f" * 64, build) for _ in range(2))
    assert build.times == 1
    assert first.weights_digest() == second.weights_digest()
    assert store.get_or_build("e" * 64, build).record == {"built": 2}


@pytest.mark.parametrize("harm", [lambda b: b[:-3], lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b""])
def test_a_harmed_student_is_said_and_rebuilt(harm, tmp_path, caplog):
    build, store = Builder(), Store(tmp_path)
    store.get_or_build("f" * 64, build)
    weights = store.path("f" * 64) / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(harm(weights.read_bytes()))
    with caplog.at_level(logging.WARNING):
        rebuilt = store.get_or_build("f" * 64, build)
    assert build.times == 2
    assert "damaged" in caplog.text and str(weights) in caplog.text
    assert torch.equal(rebuilt.edits[0].B, EDIT.B)
    store.get_or_build("f" * 64, build)
    assert build.times == 2


def test_an_interrupted_build_leaves_nothing(tmp_path):
    store = Store(tmp_path)

    def interrupted() -> Student:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.get_or_build("f" * 64, interrupted)
    assert not store.path("f" * 64).exists()
    assert store.get_or_build("f" * 64, Builder()).edits


def test_an_unwritable_store_says_what_to_set(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="PKT_EVAL_STORE"):
        Store(tmp_path / "file").get_or_build("f" * 64, Builder())


CHILD = """
import sys, time
from pathlib import Path
from pkt_eval.transfer.store import Store
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import Student
def build():
    with open(Path(sys.argv[1]) / "built", "a") as f:
        f.write("x")
    time.sleep(1)
    return Student(ModelSource("base"), record={"by": "one of them"})
print(Store(sys.argv[1]).get_or_build("f" * 64, build).record["by"])
"""


def test_two_processes_at_once_make_one_student(tmp_path):
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [child.communicate(timeout=60)[0].strip() for child in children] == ["one of them"] * 3
    assert (tmp_path / "built").read_text() == "x"
