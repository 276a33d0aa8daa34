"""The store: once, whole, and noticed when harmed; two processes at once make one student."""

import errno
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import SafetensorError
from typer.testing import CliRunner

from pkt_eval import nano
from pkt_eval.cli import app
from pkt_eval.errors import StoreError
from pkt_eval.models.edits import LowRankEdit
from pkt_eval.models.provenance import Provenance
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import Student, load_student
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.store import Store
from pkt_eval.transfer.transfer import make_student

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


def test_a_student_under_another_ones_name_is_made_anew(tmp_path, caplog):
    store = Store(tmp_path)

    def named(fingerprint: str) -> Student:
        return Student(ModelSource("base"), (EDIT,), provenance=Provenance("lora", fingerprint=fingerprint))

    for name in ("e" * 64, "f" * 64):
        store.get_or_build(name, lambda name=name: named(name))
    store.path("e" * 64).rename(tmp_path / "other")
    store.path("f" * 64).rename(store.path("e" * 64))
    assert store.get_or_build("e" * 64, lambda: named("e" * 64)).provenance.fingerprint == "e" * 64
    assert "it is the student ffff" in caplog.text


def test_a_file_in_the_place_of_a_student_goes(tmp_path):
    store = Store(tmp_path)
    store.path("f" * 64).parent.mkdir(parents=True)
    store.path("f" * 64).write_text("")
    store.get_or_build("f" * 64, Builder())
    assert load_student(store.path("f" * 64)).record == {"built": 1}


def test_an_unwritable_store_says_what_to_set(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="PKT_EVAL_STORE"):
        Store(tmp_path / "file").get_or_build("f" * 64, Builder())


def test_a_store_that_cannot_be_written_stops_only_what_needs_one(tmp_path, monkeypatch, small):
    """A file stands for a folder that may only be read, which would not stop root."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path / "file"))
    for method in ("vanilla", "teacher"):
        assert make_student(make_recipe({"method": method})).provenance.fingerprint
        done = CliRunner().invoke(app, ["transfer", f"method={method}", "--out", str(tmp_path / method)])
        assert done.exit_code == 0, done.exception
    (tmp_path / "suite.yaml").write_text("{benchmarks: [nano_gsm8k], methods: [vanilla, teacher, lora]}")
    run = ["run", str(tmp_path / "suite.yaml")]
    planned = CliRunner().invoke(app, [*run, "--dry-run"])
    assert planned.exit_code == 0 and "3 cells, 3 of them to do" in planned.output, planned.exception
    with pytest.raises(StoreError, match=f"cannot write the store of students {tmp_path}/file.*PKT_EVAL_STORE"):
        make_student(make_recipe({"method": "lora", **small}))


def full_write(path: Path, *_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_tensors(*_: object, **__: object) -> None:
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


FULL = pytest.mark.parametrize(
    ("where", "name", "write"), [(Path, "write_text", full_write), (safetensors.torch, "save_file", full_tensors)]
)


@FULL
def test_a_full_store_is_called_so_with_its_folder(tmp_path, monkeypatch, where, name, write):
    store = Store(tmp_path / "store")
    with monkeypatch.context() as patched:
        patched.setattr(where, name, write)
        with pytest.raises(StoreError, match=r"cannot write the folder .*/store/students/f+: the disk is full.*_STORE"):
            store.get_or_build("f" * 64, Builder())
    assert [f.suffix for f in (tmp_path / "store" / "students").iterdir()] == [".lock"]
    assert store.get_or_build("f" * 64, Builder()).edits


def test_a_full_disk_under_out_is_called_so_with_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_text", full_write)
    done = CliRunner().invoke(app, ["transfer", "method=vanilla", "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, StoreError)
    assert str(done.exception) == f"cannot write the folder {tmp_path}/out: the disk is full: make room there"
    assert {path.name for path in tmp_path.iterdir()} <= {"store"}


@pytest.mark.parametrize("merged", [False, True])
def test_a_bit_that_has_rotten_is_noticed_each_time(tmp_path, merged):
    """Size, inode and time are as they were, and the file is one whose digest would be remembered."""
    base = ModelSource(nano.model_path("student"))
    edit = LowRankEdit("model.layers.0.mlp.up_proj.weight", *(torch.ones(*s) for s in _shapes(base)))
    Student(base, (edit,)).save(tmp_path / "s", merged=merged)
    path = tmp_path / "s" / ("merged/model.safetensors" if merged else "adapter/adapter_model.safetensors")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    load_student(tmp_path / "s")
    assert not merged or path.stat().st_size > 1 << 20
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))
    os.utime(path, (1_000_000_000, 1_000_000_000))
    with pytest.raises(StoreError, match="is altered or truncated"):
        load_student(tmp_path / "s")


def _shapes(base: ModelSource) -> tuple[tuple[int, int], tuple[int, int]]:
    return (base.config.intermediate_size, 2), (2, base.config.hidden_size)


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
