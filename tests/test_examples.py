"""A method in a package of its own: installed as users install it, found, run, and its own tests pass."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pkt_eval.models.provenance import Provenance

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "pkt-eval-mean-gain"
COMMAND = ("-c", "from pkt_eval.cli import main; main()")
WORDS = ["method=mean_gain", "transfer_task=nano_gsm8k", "extract_samples=2", "strength=1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """``run(*words)``: Python where the example is installed, beside the package under test."""
    site, store, source = (tmp_path_factory.mktemp(name) for name in ("site", "store", "source"))
    # A copy, since building leaves files beside the sources.
    for path in EXAMPLE.rglob("*"):
        if path.is_file() and path.suffix in (".py", ".toml", ".md"):
            copy = source / path.relative_to(EXAMPLE)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    pip = ["-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PKT_EVAL_STORE": str(store), "COLUMNS": "200"}

    def run(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
        done = subprocess.run([sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done

    run(*pip, str(source))
    return run


def test_it_is_listed_with_its_options(run):
    assert "mean_gain" in run(*COMMAND, "methods").stdout
    assert "strength" in run(*COMMAND, "methods", "mean_gain").stdout


def test_it_transfers(run, tmp_path):
    run(*COMMAND, "transfer", *WORDS, "--out", str(tmp_path / "student"), "--device", "cpu")
    provenance = json.loads((tmp_path / "student" / "pkt_student.json").read_text())["provenance"]
    provenance = Provenance.from_json(provenance)
    assert provenance.method == "mean_gain" and provenance.config == {"strength": 1.0}
    assert len(provenance.record["scale"]) == 4
    assert (tmp_path / "student" / "adapter" / "adapter_model.safetensors").is_file()


def test_its_own_tests_pass(run):
    done = run("-m", "pytest", "-p", "no:cacheprovider", str(EXAMPLE / "tests"), cwd=EXAMPLE)
    assert "2 passed" in done.stdout
