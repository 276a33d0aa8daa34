"""The model of a leaderboard: what every writer and the page are made from, as plain data.

Scores and differences are shares in [0, 1] here; writers show them in per cent and points. Nothing is computed.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import cast

from pkt_eval._util.text import json_escapes
from pkt_eval.report.stats import Correction, Estimate

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""What JSON can say."""

LEVEL = 0.95
"""Coverage of every interval."""
ALPHA = 0.05
"""A difference is significant where its p-value, adjusted over the whole table, is at or below this."""
POWER = 0.8
"""Of the minimum detectable difference."""


@dataclass
class Source:
    """The record behind a number: one student, one seed.

    Attributes:
        task: lm-eval's task, or the group whose tasks it joins.
        results: Path of the results JSON, relative to the leaderboard's folder.
        samples: Paths of the samples files, likewise.
        seed: Of the student; None where nothing is random.
        score: The record's own, in [0, 1].
        low: End of its Wilson interval.
        high: End of its Wilson interval.
        count: Items.
        others: ``metric,filter`` → value of the task's other metrics.
        conditions: How it was asked: task version, examples, template, dtype, batch size, limit.
        date: Of the evaluation, ISO 8601 in UTC; "" where it is not recorded.
        versions: Of what evaluated it: library → version.
        provenance: How the student was made, without places on disk; {} for a foreign model.
    """

    task: str
    results: str
    samples: list[str]
    seed: int | None
    score: float
    low: float
    high: float
    count: int
    others: dict[str, float]
    conditions: dict[str, object]
    provenance: dict[str, object]
    date: str = ""
    versions: dict[str, str] = field(default_factory=dict)


@dataclass
class Difference:
    """A student against another on the documents that both answered.

    Attributes:
        against: Label of the other.
        value: Difference of the means; above 0 where the student is better.
        low: End of the paired interval.
        high: End of the paired interval.
        p: p-value of this comparison alone.
        adjusted: The same after the correction over its family.
        significant: ``adjusted <= ALPHA``.
        count: Documents in common.
        won: Documents that the student gained, a mean over seeds.
        lost: Documents that it lost, a mean over seeds.
        detectable: Smallest true difference that as many documents and seeds, as different as these, show with
            ``POWER`` at the level that the table asks of one more comparison; None where they can show none.
        clusters: Subjects that were resampled whole; None where documents were.
        seeds: Seeds of either side.
        hypothesis: Digest of both sides' answers. Comparisons that have the same are one hypothesis, and count once.
        lead: It is the teacher's lead over vanilla or the chosen row. That is no hypothesis about a transfer: it is
            corrected with the other leads, apart from the table.
    """

    against: str
    value: float
    low: float
    high: float
    p: float
    adjusted: float
    significant: bool
    count: int
    won: float
    lost: float
    detectable: float | None
    clusters: int | None
    seeds: tuple[int, int]
    hypothesis: str = ""
    lead: bool = False


@dataclass
class Subject:
    """A student on the documents of one subject: a description, without a test."""

    count: int
    score: float
    difference: float | None
    """To vanilla."""
    low: float | None = None
    """End of its score interval, over these very documents."""
    high: float | None = None


@dataclass
class BoardCell:
    """A student on a benchmark.

    Attributes:
        score: Mean over documents and seeds.
        low: End of the interval: Wilson's with one seed, else over seeds and documents; None with neither.
        high: End of the interval.
        error: Standard error of the score, over items, or over seeds and items where there are several seeds; None
            without items.
        spread: Standard deviation between seeds; None with one.
        count: Documents.
        vanilla: Against the unchanged student.
        lora: Against LoRA for the same task.
        control: Against the control of its method that scores best.
        chosen: Against the row that the reader named.
        statistics: What the columns' measures found, by the column's id; None where one says nothing of this cell.
        endings: Of generated answers, a mean over seeds: ``ended`` and ``looped``, shares, and ``answer_tokens``; {}
            where a seed's record does not say.
        forgotten: By how much its cross-entropy on text that it was not taught is above the unadapted base's, in nats a
            token, a mean over seeds; None where either was not measured.
        untaught: Mean difference to vanilla over the other benchmarks that it was scored on, of which it was taught
            none; None where there is none.
        budget: What the transfer took, a mean over seeds: ``learnt_records``, ``steps``, ``seconds``, ``peak_bytes``;
            where it was counted ``student_tokens``, ``teacher_tokens``, ``student_flops``, ``teacher_flops``.
        subjects: Of benchmarks that have some.
        sources: The records, one a seed.
    """

    score: float
    low: float | None
    high: float | None
    spread: float | None
    count: int
    sources: list[Source]
    vanilla: Difference | None = None
    lora: Difference | None = None
    control: Difference | None = None
    chosen: Difference | None = None
    statistics: dict[str, Estimate | float | None] = field(default_factory=dict)
    endings: dict[str, float] = field(default_factory=dict)
    forgotten: float | None = None
    untaught: float | None = None
    error: float | None = None
    budget: dict[str, float] = field(default_factory=dict)
    subjects: dict[str, Subject] = field(default_factory=dict)

    @property
    def gap(self) -> Estimate | None:
        """Share of the teacher's lead over vanilla that arrived; None where the lead is not significant."""
        gap = self.statistics.get("gap")
        return gap if isinstance(gap, Estimate) else None

    @property
    def date(self) -> str | None:
        """Of its newest record; None where none says."""
        return max((source.date for source in self.sources), default="") or None

    def differences(self) -> list[Difference]:
        """Those that were tested."""
        return [d for d in (self.vanilla, self.lora, self.control, self.chosen) if d]

    def to_dict(self) -> dict[str, object]:
        """As JSON holds it: each statistic beside the other numbers."""
        flat: dict[str, object] = {}
        for name, value in asdict(self).items():
            flat |= value if name == "statistics" else {name: value}
        return flat


@dataclass
class StudentRow:
    """A student, as a method with its options.

    Attributes:
        id: Unique in the leaderboard and fit for a URL.
        label: What it is called.
        method: As registered; None for a model that was not made by us.
        paradigm: Its, or "foreign".
        title: Of the method, in a line.
        reference: Of the method.
        mean_score: Over the pair's benchmarks; None unless it was scored on all of them, and these are several.
        mean_rank: Of its ranks on each of them, 1 being the best, among the rows that were scored on all.
        cells: Benchmark → its cell.
    """

    id: str
    label: str
    method: str | None
    paradigm: str
    title: str
    reference: str
    mean_score: float | None = None
    mean_rank: float | None = None
    cells: dict[str, BoardCell] = field(default_factory=dict)

    @property
    def name_and_options(self) -> tuple[str, str]:
        """The label in two: ``lora (rank=8) ← gsm8k`` is ``lora ← gsm8k`` and ``rank=8``."""
        head, bracket, rest = self.label.partition(" (")
        options, _, task = rest.rpartition(")")
        return (head + task, options) if bracket else (self.label, "")


@dataclass
class Group:
    """The students of one teacher → student pair.

    Attributes:
        teacher: Its name.
        student: Its name.
        benchmarks: In the order in which they are shown.
        rows: Its students.
        protocols: Benchmark → what was asked, how and with what, as ``protocols`` lists it.
    """

    teacher: str | None
    student: str | None
    benchmarks: list[str]
    rows: list[StudentRow]
    protocols: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """``teacher → student``."""
        return " → ".join(name for name in (self.teacher, self.student) if name) or "Other models"


@dataclass
class Leaderboard:
    """All pairs, and what a reader must know besides the numbers."""

    groups: list[Group]
    notes: list[str]
    correction: Correction = Correction.BH
    chosen: str | None = None
    """Label of the row that all others are compared with, as the reader asked."""

    def cells(self) -> Iterator[tuple[Group, StudentRow, str, BoardCell]]:
        """All of them, in the order in which they are shown."""
        for group in self.groups:
            for row in group.rows:
                for benchmark in group.benchmarks:
                    if benchmark in row.cells:
                        yield group, row, benchmark, row.cells[benchmark]

    @property
    def comparisons(self) -> int:
        """How many hypotheses about a transfer the correction is over."""
        return len(hypotheses(self.groups))

    @property
    def level(self) -> float:
        """The p-value at which one more comparison would be significant."""
        family = hypotheses(self.groups)
        flagged = sum(each[0].significant for each in family)
        return self.correction.level(len(family), flagged, ALPHA)

    def to_dict(self) -> dict[str, Json]:
        """As JSON holds it; see ``written``."""
        head: dict[str, object] = {"level": LEVEL, "alpha": ALPHA, "power": POWER, "comparisons": self.comparisons}
        head |= {"correction": str(self.correction), "needed": self.level, "chosen": self.chosen}
        return written_object({**head, "groups": [_group(group) for group in self.groups], "notes": self.notes})

    def to_json(self) -> str:
        """Of ``to_dict``, the same text for the same records."""
        return json_escapes(json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)) + "\n"


def hypotheses(groups: Iterable[Group], leads: bool = False) -> list[list[Difference]]:
    """The family that is corrected: its hypotheses, each with the comparisons that are one since their answers are.

    Args:
        groups: Of the table.
        leads: The teachers' leads instead of the transfers.
    """
    each: dict[object, list[Difference]] = {}
    for group in groups:
        for row in group.rows:
            for benchmark, cell in row.cells.items():
                for place, difference in enumerate(cell.differences()):
                    if difference.lead == leads:
                        # Without a digest each is one by itself.
                        key = difference.hypothesis or (group.title, row.id, row.label, place)
                        each.setdefault((benchmark, key), []).append(difference)
    return list(each.values())


def _group(group: Group) -> dict[str, object]:
    rows = []
    for row in group.rows:
        cells = {benchmark: cell.to_dict() for benchmark, cell in row.cells.items()}
        rows.append(asdict(replace(row, cells={})) | {"cells": cells})
    return {"title": group.title, **asdict(replace(group, rows=[])), "rows": rows}


def written_object(content: Mapping[str, object]) -> dict[str, Json]:
    """See ``written``."""
    return {str(key): written(each) for key, each in content.items()}


def written(value: object) -> Json:
    """As a file holds it: no NaN, no infinity, and 12 digits, since another processor sums to other last ones."""
    if isinstance(value, Mapping):
        return written_object(value)
    if isinstance(value, list | tuple):
        return [written(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.12g}") if math.isfinite(value) else None
    return cast(Json, value)  # numbers, texts and what came from JSON
