"""The benchmarks, one row each: no other file knows one by its name.

A benchmark is its row here, its wording (``wording``, or ``code_rows`` where the answer is a program) and its YAMLs in
``tasks/``. Everybody else asks the table: where rows come from, what a question says, which task names mean it.

Not here: the published budgets of methods, which stay with their methods, and the making of the nano rows.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, TypeAlias

from pkt_eval.data import code_rows, wording
from pkt_eval.data.code_rows import Code
from pkt_eval.data.completion import as_completion
from pkt_eval.data.rows import Row
from pkt_eval.errors import DataError

Family: TypeAlias = Literal["real", "nano"]
Protocol: TypeAlias = Literal["upstream", "chat"]


@dataclass(frozen=True)
class Hub:
    """Rows of a dataset on the hub, or of a local folder that has the benchmark's name.

    Attributes:
        path: Name of the dataset.
        config: Its configuration.
    """

    path: str
    config: str | None


@dataclass(frozen=True)
class Embedded:
    """Rows that are made on the spot, by ``pkt_eval.nano.benchmarks``.

    Attributes:
        name: What they are called there.
    """

    name: str


@dataclass(frozen=True)
class TrainingPool:
    """What the records of a transfer are drawn from.

    Attributes:
        splits: Of the benchmark; those that are there are joined.
        reserve: A split that is added where these are too few and it is there.
        lender: The benchmark whose rows they are, for one that has no training data.
        convert: The lender's row → a row of ours; None where it cannot be had.
        converted: What such a row then is, in words.
    """

    splits: tuple[str, ...]
    reserve: str | None = None
    lender: str | None = None
    convert: Callable[[Row], Row | None] | None = None
    converted: str = ""


@dataclass(frozen=True)
class Task:
    """A task of lm-eval that asks a benchmark.

    Attributes:
        name: As in ``--tasks``.
        protocol: ``upstream``: prompts and scores are those of lm-eval's own task; ``chat``: worded as the transfer
            data, zero-shot, in the chat format.
        metric: The ``metric,filter`` that is its one number, where that is not the first of the usual ones.
    """

    name: str
    protocol: Protocol
    metric: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: As in ``transfer_task=``.
        kind: What it is a benchmark of: a nano benchmark has the kind of the real one whose columns it has.
        title: As it is called in sentences.
        family: Benchmarks of one family are shown, checked and compared together.
        source: Where its rows come from.
        splits: Those that tasks may ask for; ``test`` is always there, a local folder may lack others.
        pool: What a transfer learns from.
        sizes: Split of a transfer → number of records, as published, and 64 for validation.
        question: Row → the user's turn.
        answer: Row → the assistant's turn.
        test_text: Row → what is compared with training data: the question without the words that all have.
        scoring: A letter is compared by likelihood, a number is read from the answer, or a program is judged.
        tasks: lm-eval's; the first of a protocol is the one that a suite runs.
        contrast: The benchmark of the same family that stands for another task, in controls.
        answer_tokens: Longest answer of its chat task, as that task's YAML says; a letter is not generated.
        discordance: Share of the items that a student and its base answer differently, assumed for a plan.
        aliases: Other names of it, such as upstream's.
        file_stem: First part of the published splits' file names, where that is not the name.
        asked: Row → of ``test_text`` the question alone, where there are choices besides.
    """

    name: str
    kind: str
    title: str
    family: Family
    source: Hub | Embedded
    splits: tuple[str, ...]
    pool: TrainingPool
    sizes: tuple[tuple[str, int], ...]
    question: Callable[[Row], str]
    answer: Callable[[Row], str]
    test_text: Callable[[Row], str]
    scoring: Literal["choice", "number"] | Code
    tasks: tuple[Task, ...]
    contrast: str
    answer_tokens: int = 512
    discordance: float = 0.20
    aliases: tuple[str, ...] = ()
    file_stem: str = ""
    asked: Callable[[Row], str] | None = None

    @property
    def stem(self) -> str:
        """First part of its splits' file names."""
        return self.file_stem or self.name

    @property
    def code(self) -> Code | None:
        """How its programs are judged; None where the answer is none."""
        return self.scoring if isinstance(self.scoring, Code) else None

    def compared(self, row: Row) -> tuple[str, str]:
        """A test row's question alone, without choices, and all of ``test_text``."""
        text = self.test_text(row)
        return (self.asked(row) if self.asked else text), text

    def task(self, protocol: Protocol) -> str:
        """The lm-eval task that asks it in a protocol, or in the only one that it has."""
        fitting = [task for task in self.tasks if task.protocol == protocol] or self.tasks
        return fitting[0].name


def _sizes(extract: int, align: int, train: int, validation: int = 64) -> tuple[tuple[str, int], ...]:
    return (("extract", extract), ("align", align), ("train", train), ("validation", validation))


def _nano(real: Benchmark, name: str, contrast: str) -> Benchmark:
    """A benchmark of the nano family, in the columns and words of a real one."""
    return replace(
        real,
        name=name,
        family="nano",
        source=Embedded(real.name),
        pool=TrainingPool(("train", "validation")),
        tasks=(Task(name, "chat"),),
        contrast=contrast,
        answer_tokens=96,
        aliases=(),
        file_stem=name,
    )


_MMLU = Benchmark(
    name="mmlu",
    kind="mmlu",
    title="MMLU",
    family="real",
    source=Hub("cais/mmlu", "all"),
    splits=("test", "validation", "dev"),
    pool=TrainingPool(("dev", "validation"), reserve="auxiliary_train"),
    sizes=_sizes(32, 32, 1000),
    question=wording.mmlu_question,
    answer=wording.mmlu_answer,
    test_text=wording.mmlu_text,
    asked=lambda row: str(row["question"]),
    scoring="choice",
    tasks=(Task("pkt_mmlu", "upstream"), Task("pkt_mmlu_chat", "chat")),
    contrast="gsm8k",
)

_GSM8K = Benchmark(
    name="gsm8k",
    kind="gsm8k",
    title="GSM8K",
    family="real",
    source=Hub("openai/gsm8k", "main"),
    splits=("test", "train"),
    pool=TrainingPool(("train",)),
    sizes=_sizes(32, 64, 1000),
    question=wording.gsm8k_question,
    answer=wording.gsm8k_answer,
    test_text=lambda row: str(row["question"]),
    scoring="number",
    tasks=(
        Task("pkt_gsm8k", "upstream"),
        Task("pkt_gsm8k_cot", "upstream"),
        # A zero-shot chat prompt asks for no format: that its number is right is all that can be expected.
        Task("pkt_gsm8k_chat", "chat", metric="exact_match,flexible-extract"),
    ),
    contrast="humaneval",
    file_stem="gsm",
)

_HUMANEVAL = Benchmark(
    name="humaneval",
    kind="humaneval",
    title="HumanEval",
    family="real",
    source=Hub("openai/openai_humaneval", None),
    splits=("test",),
    pool=TrainingPool(
        ("train", "validation"), lender="mbpp", convert=as_completion, converted="as function completion"
    ),
    sizes=_sizes(32, 48, 1000),
    question=code_rows.humaneval_question,
    answer=code_rows.humaneval_answer,
    test_text=code_rows.prompt,
    # The tests may use the imports and helpers of the prompt: they get the prompt's own, not the answer's.
    scoring=Code(
        tests=code_rows.humaneval_tests,
        entry_point=code_rows.humaneval_entry_point,
        prompt=code_rows.prompt,
        tests_name_more=False,
    ),
    tasks=(
        Task("pkt_humaneval", "upstream"),
        Task("pkt_humaneval_instruct", "upstream"),
        Task("pkt_humaneval_chat", "chat"),
    ),
    contrast="mbpp",
    discordance=0.12,
)

_MBPP = Benchmark(
    name="mbpp",
    kind="mbpp",
    title="MBPP",
    family="real",
    source=Hub("google-research-datasets/mbpp", "full"),
    splits=("test", "train", "validation", "prompt"),
    pool=TrainingPool(("train", "validation")),
    sizes=_sizes(32, 128, 300),
    question=code_rows.mbpp_question,
    answer=code_rows.mbpp_answer,
    test_text=lambda row: str(row["text"]),
    scoring=Code(
        tests=code_rows.mbpp_tests,
        entry_point=code_rows.mbpp_entry_point,
        in_process=frozenset({367, 533, 601, 927}),
        # Ten times the reference solution's, where that takes more than a second; all others are far below.
        cpu_seconds={123: 20},
    ),
    tasks=(Task("pkt_mbpp", "upstream"), Task("pkt_mbpp_instruct", "upstream"), Task("pkt_mbpp_chat", "chat")),
    contrast="mmlu",
    discordance=0.12,
)

_ARC = Benchmark(
    name="arc",
    kind="arc",
    title="ARC-Challenge",
    family="real",
    source=Hub("allenai/ai2_arc", "ARC-Challenge"),
    splits=("test", "train", "validation"),
    pool=TrainingPool(("train", "validation")),
    sizes=_sizes(32, 32, 1000),  # as MMLU's; nobody has published others
    question=wording.arc_question,
    answer=wording.arc_answer,
    test_text=wording.arc_text,
    asked=lambda row: str(row["question"]),
    scoring="choice",
    # The choices' likelihood by length is the number that is usually given for upstream's task.
    tasks=(Task("pkt_arc", "upstream", metric="acc_norm,none"), Task("pkt_arc_chat", "chat")),
    contrast="gsm8k",
    aliases=("arc_challenge",),
)

# The order is that of tables and lists.
_TABLE = {
    row.name: row
    for row in (
        _MMLU,
        _GSM8K,
        _HUMANEVAL,
        _MBPP,
        _ARC,
        _nano(_MMLU, "nano_mmlu", contrast="nano_gsm8k"),
        # The small models learn one ending of an answer for both protocols.
        replace(_nano(_GSM8K, "nano_gsm8k", contrast="nano_humaneval"), answer=wording.gsm8k_answer_with_hashes),
        replace(_nano(_HUMANEVAL, "nano_humaneval", contrast="nano_mbpp"), sizes=_sizes(32, 48, 600)),
        # Its items have numbers of their own.
        replace(
            _nano(_MBPP, "nano_mbpp", contrast="nano_mmlu"),
            scoring=Code(tests=code_rows.mbpp_tests, entry_point=code_rows.mbpp_entry_point),
        ),
    )
}


def benchmarks(family: Family | None = None) -> tuple[Benchmark, ...]:
    """The rows, of one family or all."""
    return tuple(row for row in _TABLE.values() if family in (None, row.family))


def names(family: Family | None = None) -> tuple[str, ...]:
    """The names, of one family or all."""
    return tuple(row.name for row in benchmarks(family))


def benchmark(name: str) -> Benchmark:
    """The row of that name.

    Raises:
        DataError: There is none; says which there are.
    """
    if name not in _TABLE:
        raise DataError(f"unknown benchmark {name!r}; choose from {', '.join(_TABLE)}")
    return _TABLE[name]


def benchmark_of_task(task: str) -> Benchmark | None:
    """The benchmark that is meant by its name, by one of its tasks' or by upstream's; None if it is none of ours."""
    return _meant().get(task.strip().lower())


def nearest(task: str) -> Benchmark | None:
    """The benchmark that was probably meant by a name that means none."""
    near = difflib.get_close_matches(task.strip().lower(), _meant(), n=1, cutoff=0.5)
    return _meant()[near[0]] if near else None


def is_chat_task(task: str) -> bool:
    """Whether a task, or one that was made from it under a longer name, is asked in the chat format."""
    return task.startswith(tuple(t.name for row in benchmarks() for t in row.tasks if t.protocol == "chat"))


def metric_of_task(task: str) -> str | None:
    """The ``metric,filter`` that a task's row names as its one number."""
    return next((t.metric for row in benchmarks() for t in row.tasks if t.name == task), None)


def place(column: str) -> int:
    """Where results of a task, a group or a subject stand in a table: by their kind, and unknown ones last."""
    kinds = list(dict.fromkeys(row.kind for row in benchmarks()))
    return next((i for i, kind in enumerate(kinds) if kind in column), len(kinds))


@cache
def _meant() -> dict[str, Benchmark]:
    """Every name of every benchmark, with and without the prefix that tells our tasks from upstream's."""
    meant: dict[str, Benchmark] = {}
    for row in benchmarks():
        for name in (row.name, *row.aliases, *(task.name for task in row.tasks)):
            plain = name.removeprefix("pkt_")
            meant |= {plain: row, f"pkt_{plain}": row}
    return meant
