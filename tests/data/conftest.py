"""Where the real data are: ``PKT_EVAL_DATA``, or ``shared/`` beside the repository; without, tests skip."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


@pytest.fixture(scope="session")
def benchmarks_dir() -> Path:
    """The folder of the four real benchmarks."""
    folder = Path(os.environ.get("PKT_EVAL_DATA") or SHARED / "benchmarks")
    if not (folder / "mmlu" / "test.jsonl").is_file():
        pytest.skip(f"no benchmarks in {folder}; set PKT_EVAL_DATA")
    return folder


@pytest.fixture(scope="session")
def paper_splits_dir() -> Path:
    """The folder of the papers' published splits."""
    folder = Path(os.environ.get("PKT_EVAL_PAPER_SPLITS") or SHARED / "paper_splits")
    if not (folder / "gsm_train_split.jsonl").is_file():
        pytest.skip(f"no published splits in {folder}; set PKT_EVAL_PAPER_SPLITS")
    return folder


@pytest.fixture(autouse=True)
def _no_local_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test names its folder; the environment of whoever runs it decides nothing."""
    monkeypatch.delenv("PKT_EVAL_DATA", raising=False)
