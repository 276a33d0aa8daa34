"""Whole files or none, digests that a store without room does not stop, and an account of any content."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pkt_eval._util.digests import file_digest
from pkt_eval._util.files import load_tensors, save_tensors, save_text
from pkt_eval._util.progress import Progress
from pkt_eval.errors import StoreError


def write_text(path: Path) -> None:
    save_text(path, "new")


def write_tensors(path: Path) -> None:
    save_tensors(path, {"t": torch.arange(3)}, record={"x": float("nan")})


WRITERS = pytest.mark.parametrize("write", [write_text, write_tensors])


@WRITERS
def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch, write):
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: (done.append(os.path.realpath(f"/proc/self/fd/{handle}")), fsync(handle))
    )
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append(f"{self} → {to}"), replace(self, to))[1])
    path = tmp_path / "folder" / "file"
    write(path)
    temporary = f"{path}.{os.getpid()}.tmp"
    assert done == [temporary, f"{temporary} → {path}", str(path.parent)]
    assert [f.name for f in path.parent.iterdir()] == ["file"]


@WRITERS
def test_a_failure_leaves_what_was_there_and_nothing_beside_it(tmp_path, monkeypatch, write):
    path = tmp_path / "file"
    path.write_text("old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=f"cannot write file in {tmp_path}: the disk is full: make room there"):
        write(path)
    assert path.read_text() == "old" and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("what", ["'x' * (1 << 20)", "{'t': torch.zeros(1 << 18)}"])
def test_a_file_that_does_not_fit_is_named(tmp_path, what):
    """A limit on the size of files stands for a full disk; both are an error of writing."""
    writer = "save_text" if what.startswith("'") else "save_tensors"
    code = f"""
import resource, signal, torch
from pathlib import Path
from pkt_eval._util.files import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
{writer}(Path({str(tmp_path)!r}) / "file", {what})"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"StoreError: cannot write file in {tmp_path}" in done.stderr and not [*tmp_path.iterdir()]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"cannot write name in .*file: "):
        save_text(tmp_path / "file" / "name", "")


def test_tensors_and_their_record_come_back(tmp_path):
    write_tensors(tmp_path / "t")
    assert torch.equal(load_file(tmp_path / "t")["t"], torch.arange(3))


def big(folder: Path, content: bytes = b"a") -> Path:
    path = folder / "big"
    path.write_bytes(content * (2 << 20))
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_tensors_at_another_place_are_not_read(tmp_path):
    """What two files are named for is swapped by whoever swaps them; the folder that all are in may be moved."""
    path = tmp_path / "a" / "rate" / "step-1"
    save_tensors(path, {"t": torch.arange(3)}, within=3)
    for place, same in (("elsewhere/a/rate/step-1", True), ("a/rate/step-2", False), ("b/rate/step-1", False)):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        path.replace(tmp_path / place)
        path = tmp_path / place
        with nullcontext() if same else pytest.raises(StoreError, match="another place"):
            load_tensors(path, within=3)


def test_a_store_that_cannot_be_written_stops_no_digest(tmp_path, monkeypatch):
    (tmp_path / "store").touch()  # a file: whoever runs this, root too, cannot make a folder in it
    monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path / "store"))
    path = big(tmp_path)
    assert file_digest(path) == file_digest(path) == sha256(path)


@pytest.mark.parametrize("memo", [b"", b"\xff" * 64, b"z" * 64, b"0" * 63])
def test_a_damaged_memory_is_not_believed(tmp_path, monkeypatch, memo):
    monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path / "store"))
    path = big(tmp_path)
    expected = file_digest(path)
    (kept,) = (tmp_path / "store" / "digests").iterdir()
    kept.write_bytes(memo)
    assert file_digest(path) == expected and kept.read_text() == expected


def test_content_is_read_each_time_where_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PKT_EVAL_STORE", str(tmp_path / "store"))
    path = big(tmp_path)
    first = file_digest(path)
    (kept,) = (tmp_path / "store" / "digests").iterdir()
    kept.write_text("0" * 64)
    assert file_digest(path) == "0" * 64
    assert file_digest(path, remember=False) == sha256(path) == first
    blob = tmp_path / "blobs" / ("0" * 64)
    blob.parent.mkdir()
    blob.write_text("rotten")
    assert file_digest(blob) == blob.name and file_digest(blob, remember=False) == sha256(blob)


GOOD = {"seconds": {"extract": 2.5}, "peak_memory_bytes": 10}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'"text"',
        b"3",
        b"null",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 5000,
        *(
            json.dumps(GOOD | changed).encode()
            for changed in (
                {"seconds": []},
                {"seconds": None},
                {"seconds": {"extract": -1}},
                {"seconds": {"extract": float("nan")}},
                {"seconds": {"extract": float("inf")}},
                {"seconds": {"extract": "3"}},
                {"seconds": {"extract": None}},
                {"seconds": {"extract": True}},
                {"seconds": {"extract": 10**400}},
                {"peak_memory_bytes": -5},
                {"peak_memory_bytes": "much"},
                {"peak_memory_bytes": [1]},
                {"peak_memory_bytes": float("inf")},
            )
        ),
    ],
)
def test_an_account_of_any_content_is_said_and_begun_anew(tmp_path, caplog, content):
    (tmp_path / "spent.json").write_bytes(content)
    progress = Progress(enabled=False)
    progress.go_on(tmp_path)
    assert "spent.json is damaged" in caplog.text
    assert progress.seconds == {} and progress._earlier_peak == 0
    progress.save()
    assert json.loads((tmp_path / "spent.json").read_text())["seconds"] == {}


@pytest.mark.parametrize("peak", [10, None])
def test_a_good_account_goes_on(tmp_path, peak):
    (tmp_path / "spent.json").write_text(json.dumps(GOOD | {"peak_memory_bytes": peak, "more": 1}))
    progress = Progress(enabled=False)
    progress.go_on(tmp_path)
    assert progress.seconds == {"extract": 2.5} and progress._earlier_peak == (peak or 0)
