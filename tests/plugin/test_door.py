"""The door into lm-eval, inside this environment; `test_install` has it in fresh ones."""

import subprocess
import sys

import pytest

from pkt_eval.lm.patches import MODELS


def python(code: str, *flags: str, **env: str) -> str:
    import os

    done = subprocess.run(
        [sys.executable, *flags, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


KNOWN = "from lm_eval.api.registry import model_registry as r; import lm_eval.models; print('pkt_student' in r)"
TASKS = "from lm_eval.tasks import TaskManager as T; print('pkt_gsm8k' in T().all_tasks)"


def test_lm_eval_knows_our_models_and_tasks_unless_told_not_to():
    assert python(KNOWN) == python(TASKS) == "True"
    assert python(KNOWN, PKT_EVAL_AUTOLOAD="0") == python(TASKS, PKT_EVAL_AUTOLOAD="0") == "False"


def test_a_models_name_costs_no_import():
    assert python(KNOWN.replace("print", "import sys; print") + "; print('torch' in sys.modules)").split() == [
        "True",
        "False",
    ]


def test_a_users_own_include_path_is_kept_and_wins(tmp_path):
    (tmp_path / "mine.yaml").write_text("task: pkt_gsm8k\ndataset_path: json\ndoc_to_text: mine\n")
    code = (
        f"from lm_eval.tasks import TaskManager as T; t = T(include_path={str(tmp_path)!r});"
        "print(t.include_path, t.task_index['pkt_gsm8k'].yaml_path)"
    )
    assert python(code).split() == [str(tmp_path), str(tmp_path / "mine.yaml")]
    assert (
        python("from lm_eval.tasks import TaskManager as T; print('pkt_gsm8k' in T(include_defaults=False).all_tasks)")
        == "False"
    )


@pytest.mark.parametrize("what", ["_register_models", "_add_tasks"])
def test_a_broken_pkt_eval_leaves_lm_eval_working(what):
    """A patch that raises is said in one line, and lm-eval goes on."""
    module = {"_register_models": "lm_eval.models", "_add_tasks": "lm_eval.tasks"}[what]
    code = (
        "import pkt_eval.plugin as p\n"
        "def broken(module): raise RuntimeError('broken on purpose')\n"
        f"p._PATCHES[{module!r}] = broken\n"
        "import logging; logging.basicConfig()\n"
        "from lm_eval.tasks import TaskManager; import lm_eval.models; from lm_eval.api.registry import get_model\n"
        "print('gsm8k' in TaskManager().all_tasks, get_model('hf').__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", "HFLM"]
    assert "could not attach" in done.stderr and "broken on purpose" in done.stderr


def test_every_model_that_is_named_can_be_loaded():
    from lm_eval.api.registry import get_model

    for name, target in MODELS.items():
        assert f"{get_model(name).__module__}:{get_model(name).__name__}" == target
