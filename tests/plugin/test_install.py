"""The package as people install it: a wheel and an editable install, each in a fresh environment, used from elsewhere.

The environments see this one's third-party packages by path, so that torch is not installed twice; a path in a ``.pth``
file runs no ``.pth`` of the folder it names, so our own editable install stays outside. Of lm-eval's tasks they have
gsm8k alone: see ``lean_lm_eval``. What does not depend on how the package came is tried in one of the two.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.install
ROOT = Path(__file__).resolve().parents[2]
LM_EVAL = "from lm_eval.__main__ import cli_evaluate; cli_evaluate()"  # what the console script does


class Fresh:
    """A virtual environment, and a folder elsewhere to run things in."""

    def __init__(self, folder: Path, lm_eval: str) -> None:
        venv.create(folder / "venv")
        self.python = folder / "venv" / "bin" / "python"
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.store = folder / "store"
        self.site = Path(self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
        third_party = [path for path in sys.path if Path(path).name == "site-packages"]
        (self.site / "third_party.pth").write_text("\n".join([lm_eval, *third_party]) + "\n")

    def run(self, *arguments: str, check: bool = True, **env: str) -> subprocess.CompletedProcess:
        hidden = ("PYTHONPATH", "PKT_EVAL_AUTOLOAD", "PKT_EVAL_DATA")
        environment = {k: v for k, v in os.environ.items() if k not in hidden}
        environment |= {
            "HF_HUB_OFFLINE": "1",
            **({"PKT_EVAL_STORE": str(self.store)} if hasattr(self, "store") else {}),
            **env,
        }
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=getattr(self, "elsewhere", "/"),
            env=environment,
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, f"{arguments}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done

    def pip(self, *words: str) -> None:
        """With this environment's pip, and its setuptools."""
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check", *words]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module", params=["wheel", "editable"])
def fresh(request, tmp_path_factory, lean_lm_eval) -> Fresh:
    environment = Fresh(tmp_path_factory.mktemp(request.param), lean_lm_eval)
    what = ["-e", str(ROOT)] if request.param == "editable" else [str(ROOT)]
    environment.pip("install", "--no-deps", "--no-build-isolation", "--ignore-installed", *what)
    return environment


wheel = pytest.mark.parametrize("fresh", ["wheel"], indirect=True)
editable = pytest.mark.parametrize("fresh", ["editable"], indirect=True)


def test_every_subpackage_and_data_file_is_installed(fresh):
    code = (
        "import json, pkgutil, pathlib, pkt_eval, pkt_eval.tasks as t, pkt_eval.nano as n;"
        "walk = [m.name for m in pkgutil.walk_packages(pkt_eval.__path__, 'pkt_eval.')];"
        "yaml = sorted(p.name for p in pathlib.Path(t.__path__[0]).rglob('*.yaml'));"
        "print(json.dumps([walk, yaml, n.model_path('teacher')]))"
    )
    walk, yaml, teacher = json.loads(fresh.run("-c", code).stdout)
    here = {".".join(p.relative_to(ROOT).with_suffix("").parts) for p in (ROOT / "pkt_eval").rglob("*.py")}
    here = {name.removesuffix(".__init__") for name in here} - {"pkt_eval"}
    assert here <= set(walk)
    assert yaml == sorted(p.name for p in (ROOT / "tasks").rglob("*.yaml"))
    assert (Path(teacher) / "model.safetensors").is_file()


def test_the_stock_commands_know_our_models_and_tasks(fresh, tmp_path):
    listed = fresh.run("-m", "lm_eval", "ls", "tasks").stdout
    for task in ("pkt_mmlu", "pkt_gsm8k", "pkt_humaneval_chat", "nano_mbpp"):
        assert task in listed
    words = ["--model_args", "method=vanilla", "--tasks", "nano_mmlu", "--limit", "4", "--device", "cpu"]
    by_name = fresh.run("-c", LM_EVAL, "--model", "pkt_student", *words, "--apply_chat_template")
    assert "|nano_mmlu|" in by_name.stdout.replace(" ", "")


@wheel
def test_simple_evaluate_knows_them(fresh, tmp_path):
    (tmp_path / "gsm8k").mkdir()
    for split in ("train", "test"):
        rows = [{"question": f"What is {i}+1?", "answer": f"{i}+1={i + 1}\n#### {i + 1}"} for i in range(9)]
        (tmp_path / "gsm8k" / f"{split}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    code = """if True:
        import lm_eval, os
        def ask():
            return lm_eval.simple_evaluate('pkt_student', tasks=['pkt_gsm8k'], limit=2, device='cpu',
                                           gen_kwargs='max_gen_toks=8', bootstrap_iters=0)
        print(sorted(ask()['results']['pkt_gsm8k']))
        del os.environ['PKT_EVAL_DATA']
        ask()
    """
    offline = fresh.run("-c", code, check=False, PKT_EVAL_DATA=str(tmp_path))
    assert "exact_match,strict-match" in offline.stdout
    assert offline.returncode != 0
    assert "PKT_EVAL_DATA" in offline.stderr.strip().splitlines()[-1]


@editable
def test_accelerate_launch_knows_them(fresh):
    words = ["--model", "pkt_vanilla", "--tasks", "nano_mmlu", "--limit", "2", "--apply_chat_template"]
    done = fresh.run("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", "-m", "lm_eval", *words)
    assert "|nano_mmlu|" in done.stdout.replace(" ", "")


@wheel
def test_a_broken_package_breaks_neither_python_nor_lm_eval(fresh, tmp_path):
    alone = tmp_path / "broken"
    alone.mkdir()
    (alone / "pkt_eval").mkdir()
    (alone / "pkt_eval" / "__init__.py").write_text("this is no python")
    code = (
        "import lm_eval.models; from lm_eval.api.registry import model_registry as r;"
        "print(*(m in r for m in ('hf', 'pkt_student')))"
    )
    done = fresh.run("-c", code, PYTHONPATH=str(alone))
    assert done.stdout.split() == ["True", "False"]
    assert done.stderr == ""
    assert fresh.run("-c", code, PKT_EVAL_AUTOLOAD="0").stdout.split() == ["True", "False"]


def test_uninstalling_leaves_lm_eval_working_and_nothing_behind(fresh):
    """Last in this file: it takes the package away."""
    (door,) = fresh.site.glob("pkt_eval.pth")
    fresh.pip("uninstall", "-y", "pkt-eval")
    assert not list(fresh.site.glob("*pkt_eval*"))
    code = "from lm_eval.tasks import TaskManager; print('gsm8k' in (t := TaskManager().all_tasks), 'pkt_gsm8k' in t)"
    assert fresh.run("-c", code).stdout.split() == ["True", "False"]
    # Somebody removed the package by hand and left the door: nothing is said.
    door.write_text(_door_line())
    assert fresh.run("-c", "print('fine')").stdout.strip() == "fine"
    assert fresh.run("-c", "print('fine')").stderr == ""


def _door_line() -> str:
    sys.path.insert(0, str(ROOT))
    try:
        import build_backend
    finally:
        sys.path.remove(str(ROOT))
    return build_backend.PTH[1].decode()
