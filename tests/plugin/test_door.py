"""The door into lm-eval, inside this environment; ``test_install`` has it in fresh ones."""

import subprocess
import sys

import pytest

from pkt_eval.lm.patches import MODELS


@pytest.fixture(autouse=True)
def _lean(lean_lm_eval, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", lean_lm_eval)


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


def test_a_model_may_be_registered_by_its_entry_point_as_well():
    """lm-eval's main branch registers declared entry points: before the door or after it, the model is the same."""
    code = (
        "from importlib.metadata import entry_points\n"
        "from lm_eval.api.registry import get_model, model_registry as r\n"
        "declared = list(entry_points(group='lm_eval.models'))\n"
        "def register(): [r.register(e.name, target=e) for e in declared if e.name.startswith('pkt_')]\n"
        "{}\n"
        "print(len(declared), get_model('pkt_lora').__name__)"
    )
    for order in ("register(); import lm_eval.models", "import lm_eval.models; register()"):
        assert python(code.format(order)).split() == [str(len(MODELS)), "PKTLoRA"]


def test_the_declared_entry_points_are_the_ones_that_the_door_registers():
    from importlib.metadata import entry_points

    assert {e.name: e.value for e in entry_points(group="lm_eval.models")} == MODELS


def test_importing_our_rooms_leaves_the_excepthook_alone():
    code = (
        "import sys; before = sys.excepthook; import lm_eval.tasks, lm_eval.models, pkt_eval.lm.tasks;"
        "import pkt_eval.model_wrappers.student; print(sys.excepthook is before)"
    )
    assert python(code) == "True"


@pytest.mark.parametrize("command", [["-m", "lm_eval"], ["-c", "from lm_eval.__main__ import cli_evaluate as c; c()"]])
def test_an_error_of_ours_ends_the_command_in_one_line(command, tmp_path):
    import os

    if command[0] == "-c":  # the console script, whose name is lm_eval
        script = tmp_path / "lm_eval"
        script.write_text(command[1])
        command = [str(script)]
    words = [
        "run",
        "--model",
        "pkt_lora",
        "--model_args",
        "transfer_task=gsmk8",
        "--tasks",
        "nano_mmlu",
        "--limit",
        "1",
    ]
    done = subprocess.run(
        [sys.executable, *command, *words], capture_output=True, text=True, timeout=300, env={**os.environ}
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("lm_eval: ") and "did you mean 'gsm8k'" in done.stderr
