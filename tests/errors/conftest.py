"""Wrong requests at every entrance end in one line that names what is wrong, with code 2, and before any work.

A row of a test is a request and a word that its line must hold. Each has 60 seconds and 4 GB besides what is there
already: a request that is believed, and computed, fails here as well as one that ends in a traceback.
"""

import json
import sys
from collections.abc import Callable

import pytest
from bounded import bounds
from records_of_hand import SAMPLE, lay, results

from pkt_eval import cli


@pytest.fixture
def refuses(monkeypatch, capfd, tmp_path) -> Callable[..., None]:
    """``refuses(words, says)``: the command ends with code 2 and one line."""

    def run(words: list[str], says: str) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["pkt-eval", *words])
        capfd.readouterr()
        with bounds(), pytest.raises(SystemExit) as ended:
            cli.main()
        error = capfd.readouterr().err
        lines = [line for line in error.splitlines() if not line.startswith(("WARNING", "INFO", "Usage:", "Try"))]
        lines = [line for line in lines if line.strip() and "it/s]" not in line]
        assert ended.value.code == 2, error[-2000:]
        assert len(lines) == 1 and "Traceback" not in error, error[-2000:]
        assert says in lines[0], lines[0]

    return run


@pytest.fixture
def places(tmp_path) -> None:
    """``file``, a full folder, a loop and a link that leads nowhere."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "nowhere-link").symlink_to(tmp_path / "gone")
    (tmp_path / "suite.yaml").write_text("benchmarks: [nano_mmlu]\nmethods: [vanilla]\n")
    lay(tmp_path / "run", results(**{"n-samples": {"pkt_gsm8k_chat": {"effective": 1}}}), json.dumps(SAMPLE).encode())
