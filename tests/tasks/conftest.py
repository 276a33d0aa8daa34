"""Tasks of this checkout, the real data where they are, and a language model that answers from a script."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

ROOT = Path(__file__).resolve().parents[2]
TASKS = ROOT / "tasks"


@pytest.fixture(scope="session")
def benchmarks_dir() -> Path:
    """The folder of the four real benchmarks: ``PKT_EVAL_DATA``, or ``shared/`` beside the repository."""
    folder = Path(os.environ.get("PKT_EVAL_DATA") or ROOT.parent / "shared" / "benchmarks")
    if not (folder / "mmlu" / "test.jsonl").is_file():
        pytest.skip(f"no benchmarks in {folder}; set PKT_EVAL_DATA")
    return folder


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Callable[..., TaskManager]:
    """Makes a task manager that knows our tasks alone, with the given metadata."""
    monkeypatch.delenv("PKT_EVAL_DATA", raising=False)
    return lambda **metadata: TaskManager(
        include_path=str(TASKS), include_defaults=False, metadata={k: str(v) for k, v in metadata.items()}
    )


@pytest.fixture
def scripted() -> type[LM]:
    """The class of the model that answers from a script."""
    return Scripted


@pytest.fixture
def tasks_dir() -> Path:
    """The folder of the task YAMLs."""
    return TASKS


class Scripted(LM):
    """Answers an item with ``answer(doc, i)`` the i-th time; prefers the choice in which that ends."""

    tokenizer_name = "scripted"

    def __init__(self, answer: Callable[[dict, int], str]) -> None:
        super().__init__()
        self.answer = answer
        self.seen: list[tuple] = []

    def generate_until(self, requests):
        asked: dict[int, int] = {}
        answers = []
        for request in requests:
            self.seen.append(request.args)
            i = asked.get(id(request), 0)
            asked[id(request)] = i + 1
            answers.append(self.answer(request.doc, i))
        return answers

    def loglikelihood(self, requests):
        self.seen += [request.args for request in requests]
        return [(0.0 if self.answer(request.doc, 0).endswith(request.args[1]) else -9.0, False) for request in requests]

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError

    def apply_chat_template(self, chat_history, add_generation_prompt=True):
        text = "".join(f"<|{turn['role']}|>\n{turn['content']}\n\n" for turn in chat_history)
        return text + "<|assistant|>\n" if add_generation_prompt else text.removesuffix("\n\n")

    def chat_template(self, chat_template=False):
        return "scripted"
