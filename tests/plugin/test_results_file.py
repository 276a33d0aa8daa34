"""What lm-eval writes is bound to its samples, says whose merged checkpoint was evaluated, and holds no token."""

import json
import logging
import shutil

import lm_eval
import pytest
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

import pkt_eval.tasks
from pkt_eval import nano
from pkt_eval._util.sample_digests import SAMPLE_DIGESTS
from pkt_eval._util.secrets import hide_secrets
from pkt_eval.errors import DataError
from pkt_eval.lm.patches import say_no_secret
from pkt_eval.lm.results_file import complete
from pkt_eval.report.records import read
from pkt_eval.report.records.students import student_of
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import make_student

TOKEN = "hf_" + "aB3" * 11


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """As ``lm_eval --log_samples --output_path`` writes them: the embedded student and teacher, each with one score."""
    folder = tmp_path_factory.mktemp("written")
    for model, role in (("hf", "student"), ("pkt_vanilla", "teacher")):
        tracker = EvaluationTracker(output_path=str(folder / role))
        results = lm_eval.simple_evaluate(
            model=model,
            model_args={"pretrained": nano.model_path(role), "token": TOKEN},
            tasks=["nano_gsm8k", "nano_mmlu"],
            limit=3,
            batch_size=3,
            device="cpu",
            bootstrap_iters=0,
            gen_kwargs="max_gen_toks=3",
            evaluation_tracker=tracker,
            task_manager=TaskManager(include_path=list(pkt_eval.tasks.__path__), include_defaults=False),
            metadata={"token": TOKEN},
        )
        samples = results.pop("samples")
        tracker.save_results_aggregated(results=results, samples=samples)
        for task in results["configs"]:
            tracker.save_results_samples(task_name=task, samples=samples[task])
    return folder


def test_what_lm_eval_wrote_is_read_and_bound(written):
    assert len(read([written])[0]) == 4
    for results in written.rglob("results_*.json"):
        assert set(json.loads(results.read_text())[SAMPLE_DIGESTS]) == {"nano_gsm8k", "nano_mmlu"}


@pytest.mark.parametrize("task", ["nano_gsm8k", "nano_mmlu"])
def test_samples_of_two_runs_that_are_exchanged_are_seen(written, tmp_path, task):
    shutil.copytree(written, tmp_path / "here")
    a, b = sorted((tmp_path / "here").rglob(f"samples_{task}_*"))
    of_a, of_b = a.read_bytes(), b.read_bytes()
    a.write_bytes(of_b)
    b.write_bytes(of_a)
    with pytest.raises(DataError, match=r"samples_.*(is not of results_|say)"):
        read([tmp_path / "here"])


def test_no_token_is_written(written):
    files = [path for path in written.rglob("*") if path.is_file()]
    assert files and not any(TOKEN in path.read_text() for path in files)


def test_a_token_is_neither_logged_nor_printed(caplog, capsys):
    from lm_eval import evaluator
    from lm_eval._cli import run

    said = {"pretrained": "m", "token": TOKEN, "hub_token": "abc", "eos_token": "<end>"}
    for module in (evaluator, run):
        assert vars(module)["print"] is not print
        vars(module)["print"](f"hf ({said}), limit: 3", json.dumps(said, indent=1))
        with caplog.at_level(logging.INFO):
            logging.getLogger(module.__name__).info("Initializing %s model, with arguments: %s", "hf", said)
    shown = caplog.text + capsys.readouterr().out
    assert TOKEN not in shown and "abc" not in shown and shown.count("<end>") == 6
    assert hide_secrets(f"pretrained=m,token=abc,header=Bearer {TOKEN}") == "pretrained=m,token=***,header=Bearer ***"
    say_no_secret(run)  # twice does no harm
    vars(run)["print"]("token=abc")
    assert capsys.readouterr().out == "token=***\n"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    words = {"method": "lora", "transfer_task": "nano_gsm8k", "train_samples": 8, "validation_samples": 4}
    folder = tmp_path_factory.mktemp("saved") / "student"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PKT_EVAL_STORE", str(folder.parent / "store"))
        make_student(make_recipe(words | {"rank": 4, "max_steps": 2, "train_batch_size": 4})).save(folder, merged=True)
    return folder


def evaluated(model: str, pretrained: object, **config: object) -> dict:
    results = {"config": {"model": model, "model_args": {"pretrained": str(pretrained)}, **config}, "configs": {}}
    complete(results, None)
    return results["config"]


def test_a_merged_checkpoint_is_the_student_that_it_was_merged_from(saved):
    """Else it would be a model like any other, or, in our own vanilla, "vanilla"."""
    for model, own in (("hf", {}), ("pkt_vanilla", {"pkt": {"method": "vanilla", "student": str(saved / "merged")}})):
        student = student_of(evaluated(model, saved / "merged", **own))
        assert (student.label, student.method, student.seed) == (f"lora (merged={model})", "lora", 0)
        assert student.base.name == "nano-student"
    (saved.parent / "link").symlink_to(saved / "merged")
    assert student_of(evaluated("hf", saved.parent / "link")).label == "lora (merged=hf)"
    on_top = {"pkt": {"method": "seeking", "student": str(saved / "merged")}}
    assert student_of(evaluated("pkt_student", saved / "merged", **on_top)).base.name == "student (lora)"


def test_a_folder_that_is_no_longer_what_was_merged_is_a_model_of_its_own(saved, tmp_path, caplog):
    shutil.copytree(saved, tmp_path / "student")
    merged = tmp_path / "student" / "merged"
    (merged / "generation_config.json").write_text("{}")
    assert student_of(evaluated("hf", merged)).label == "student (hf)"
    assert "no longer what" in caplog.text
    assert student_of(evaluated("hf", saved / "adapter" / "nowhere")).method is None
    assert student_of(evaluated("hf", nano.model_path("student"))).label == "nano-student (hf)"
