"""What ``--cache_requests`` keeps is served for the same question alone."""

import json
from pathlib import Path

import lm_eval.caching.cache
import pytest
from lm_eval.tasks import TaskManager

import pkt_eval.lm.tasks
import pkt_eval.tasks

TASK = "pkt_gsm8k_chat"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """Where lm-eval keeps requests."""
    monkeypatch.setattr(lm_eval.caching.cache, "PATH", str(tmp_path / "requests"))
    return tmp_path / "requests"


def data(folder: Path, who: str, example: str = "an example") -> Path:
    """Four rows of gsm8k about somebody, and training rows to show."""
    (folder / "gsm8k").mkdir(parents=True)
    for split, name, count in (("test", who, 4), ("train", example, 20)):
        rows = [{"question": f"{name} has {i} apples?", "answer": f"It is {i}.\n#### {i}"} for i in range(count)]
        (folder / "gsm8k" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def chat(history, add_generation_prompt=True, said=""):
    return said + "".join(turn["content"] for turn in history) + ("\n>" if add_generation_prompt else "")


def asked(where: Path, task: str = TASK, *, seed: int = 1, template=chat, config=(), **how) -> list[str]:
    """The prompts of a task, as ``lm_eval --cache_requests true`` builds or finds them."""
    manager = TaskManager(
        include_path=list(pkt_eval.tasks.__path__), include_defaults=False, metadata={"data_dir": str(where)}
    )
    built = manager.load([task])["tasks"][task]
    for key, value in dict(config).items():
        built.set_config(key=key, value=value)
    built.set_fewshot_seed(seed=seed)
    options = dict(rank=0, world_size=1, cache_requests=True, system_instruction=None, limit=None)
    options |= dict(apply_chat_template=True, fewshot_as_multiturn=False, tokenizer_name="one", chat_template=template)
    built.build_all_requests(**options | how)
    return [repr((request.args, request.doc)) for request in built.instances]


def test_the_same_question_is_kept_once(tmp_path, folder):
    first = asked(data(tmp_path / "a", "Ann"))
    (kept,) = folder.iterdir()
    stamp = kept.stat().st_mtime_ns
    # The same rows in another place.
    assert asked(data(tmp_path / "b", "Ann")) == first
    assert [path.stat().st_mtime_ns for path in folder.iterdir()] == [stamp]


def test_other_rows_are_another_question(tmp_path):
    asked(data(tmp_path / "a", "Ann"))
    prompts = asked(data(tmp_path / "b", "Bob"))
    assert len(prompts) == 4 and all("Bob" in prompt and "Ann" not in prompt for prompt in prompts)


def test_other_examples_are_another_question(tmp_path):
    asked(data(tmp_path / "a", "Ann", "Carl"), "pkt_gsm8k", config={"num_fewshot": 2})
    prompts = asked(data(tmp_path / "b", "Ann", "Dora"), "pkt_gsm8k", config={"num_fewshot": 2})
    assert all("Dora" in prompt and "Carl" not in prompt for prompt in prompts)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"config": {"generation_kwargs": {"until": ["."], "max_gen_toks": 3}}},
        {"config": {"doc_to_text": "Now: {{question}}"}},
        {"samples": [3]},
        {
            "template": lambda history, add_generation_prompt=True: chat(
                history, add_generation_prompt, "Today is Friday."
            )
        },
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_asked_otherwise_is_what_was_asked_for(tmp_path, folder, change):
    """As without a cache, whatever was kept before."""
    where = data(tmp_path / "a", "Ann")
    before = asked(where, "pkt_gsm8k")
    after = asked(where, "pkt_gsm8k", **change)
    assert after == asked(where, "pkt_gsm8k", cache_requests=False, **change) != before
    assert len(list(folder.iterdir())) == 2


def test_other_sources_are_another_question(tmp_path, folder, monkeypatch):
    where = data(tmp_path / "a", "Ann")
    asked(where)
    monkeypatch.setattr(pkt_eval.lm.tasks, "digest_of_sources", lambda rooms: "changed")
    asked(where)
    assert len(list(folder.iterdir())) == 2
