"""From records to a leaderboard: the numbers of each cell, the correction over all of them, and what cannot be told."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from pkt_eval._util.options import did_you_mean
from pkt_eval.data.benchmarks import place
from pkt_eval.errors import ConfigError
from pkt_eval.report.board import compare
from pkt_eval.report.board.columns import measured
from pkt_eval.report.board.forgetting import forgotten, tell_untaught
from pkt_eval.report.board.model import (
    ALPHA,
    BoardCell,
    Difference,
    Group,
    Leaderboard,
    Source,
    StudentRow,
    hypotheses,
)
from pkt_eval.report.board.notes import Notes
from pkt_eval.report.board.protocols import iso, protocols
from pkt_eval.report.board.ranking import give_ranks
from pkt_eval.report.board.sections import Section, SectionEntry, belongs, sections
from pkt_eval.report.records import NotComparableError, Record, join, not_comparable
from pkt_eval.report.records.record import ENDINGS
from pkt_eval.report.records.students import shown
from pkt_eval.report.stats import Correction


def leaderboard(
    records: Sequence[Record],
    out: Path,
    notes: Iterable[str] = (),
    correction: Correction = Correction.BH,
    chosen: str | None = None,
) -> Leaderboard:
    """All students of the records, compared.

    Args:
        records: As ``records.read`` gives them; the tasks of a group are joined here.
        out: Folder of the leaderboard, which paths are relative to.
        notes: Of the reading, which are passed on.
        correction: Of the p-values over the table.
        chosen: Label of a row that every other one is compared with, besides vanilla, LoRA and its best control.

    Raises:
        ConfigError: No row has that label.
    """
    joined = sorted(join(records), key=lambda r: (r.benchmark, r.student.label, r.student.seed or 0, r.date, r.results))
    making = _Assembly(out, chosen)
    for note in notes:
        making.notes.add(note)
    groups = [making.group(section) for section in making.sections(joined)]
    labels = [row.label for group in groups for row in group.rows]
    if chosen is not None and chosen not in labels:
        raise ConfigError(f"no row is called {chosen!r}: {did_you_mean(chosen, labels)}there are {', '.join(labels)}")
    _correct(groups, correction)
    making.blank_shares()
    _name_rows(groups)
    board = Leaderboard(groups, making.notes.said(), correction, chosen)
    making.say_what_was_detectable(board.level)
    return board


class _Assembly:
    def __init__(self, out: Path, chosen: str | None) -> None:
        self.out, self.chosen, self.notes = out, chosen, Notes()
        self.detectable: list[tuple[Difference, Callable[[float], float | None]]] = []
        self.shares: list[tuple[BoardCell, str, SectionEntry, str]] = []

    def sections(self, records: Sequence[Record]) -> list[Section]:
        """Pairs with their students; foreign models where they belong, or by themselves."""
        name = _names(records)
        pairs = sections(record.student for record in records)
        others = Section(None, None)
        for record in records:
            for section in [s for s in pairs if belongs(record.student, s, len(pairs) == 1)] or [others]:
                section.enter(record, name(record))
        if others.entries:
            self.notes.add(
                "Other models: it is not known which pair a model belongs to that was not made here, so it is compared "
                "with none; with records of a single pair it would be"
            )
        return [*pairs, *([others] if others.entries else [])]

    def group(self, section: Section) -> Group:
        """A section with its numbers."""
        section.split_crossed()
        for entry in section.entries:
            for benchmark, records in entry.records.items():
                entry.records[benchmark] = self._one_a_seed(entry.label, records)
        section.sort()
        benchmarks = sorted({name for entry in section.entries for name in entry.records}, key=_benchmark_place)
        for entry in section.entries:
            entry.row = _row(entry)
            for benchmark in benchmarks:
                if benchmark in entry.records:
                    entry.row.cells[benchmark] = self._cell(section, entry, benchmark)
            tell_untaught(entry)
        group = Group(
            section.teacher.name if section.teacher else None,
            section.base.name if section.base else None,
            benchmarks,
            [entry.row for entry in section.entries],
            protocols({name: section.records(name) for name in benchmarks}),
        )
        give_ranks(group)
        self._say_what_is_missing(section, group)
        return group

    def blank_shares(self) -> None:
        """No share of a teacher's lead that is not significant among all leads of the table."""
        for cell, statistic, teacher, benchmark in self.shares:
            lead = teacher.row.cells[benchmark].vanilla
            if not (lead and lead.significant):
                cell.statistics[statistic] = None

    def say_what_was_detectable(self, level: float) -> None:
        """At the level that the whole table asks."""
        for difference, detectable in self.detectable:
            difference.detectable = detectable(level)

    def _one_a_seed(self, label: str, records: list[Record]) -> list[Record]:
        """The newest record of each seed, as far as they answer one question."""
        newest: dict[int | None, Record] = {}
        for record in sorted(records, key=lambda r: r.date):
            if older := newest.get(record.student.seed):
                self.notes.add(
                    f"{label} on {record.task}: {record.results.name} counts, the older {older.results.name}, made "
                    "from other data, does not",
                    record.task,
                )
            newest[record.student.seed] = record
        chosen: list[Record] = []
        for _, record in sorted(newest.items(), key=lambda pair: (pair[0] is not None, pair[0] or 0)):
            reason = not_comparable(chosen[0], record) if chosen and record.items and chosen[0].items else ""
            if reason:
                self.notes.add(f"Seed {record.student.seed} is left out: {reason}", record.task)
            else:
                chosen.append(record)
        return chosen

    def _cell(self, section: Section, entry: SectionEntry, benchmark: str) -> BoardCell:
        records = entry.records[benchmark]
        score, low, high, spread = compare.score_interval(records)
        count = max(record.count for record in records)
        sources = [self._source(record) for record in records]
        cell = BoardCell(score, low, high, spread, count, sources, endings=_endings(records), budget=_budget(records))
        cell.error = compare.standard_error(records)
        for record in records:
            if record.reason:
                self.notes.add(f"{record.student.label} on {record.task}: {record.reason}", record.task)
        vanilla, teacher = section.vanilla(entry, benchmark), section.teacher_of(entry, benchmark)
        base = vanilla.records[benchmark] if vanilla else []
        if vanilla and vanilla is not entry:
            cell.vanilla = self._difference(records, base, vanilla.label)
            if cell.vanilla:
                cell.vanilla.lead = entry is teacher
        lora = None
        if entry not in (vanilla, teacher) and entry.student.method != "lora":
            if lora := section.lora(entry, benchmark):
                cell.lora = self._difference(records, lora.records[benchmark], lora.label)
                self._say_unequal_data(entry, lora, benchmark)
        if control := section.best_control(entry, benchmark):
            cell.control = self._difference(records, control.records[benchmark], control.label)
        chosen = section.named(self.chosen, benchmark) if self.chosen else None
        if chosen and entry not in (vanilla, chosen):
            cell.chosen = self._difference(records, chosen.records[benchmark], chosen.label)
            if cell.chosen:
                cell.chosen.lead = entry is teacher
        if entry not in (vanilla, teacher):
            cell.forgotten = forgotten(records, base)
        cell.statistics = {column.id: None for column, _ in measured()}
        try:
            self._measure(cell, entry, {"vanilla": vanilla, "lora": lora, "teacher": teacher}, benchmark)
            cell.subjects = compare.subjects(records, base)
            if 1 < len(cell.subjects) < compare.MIN_CLUSTERS:
                self.notes.add(
                    f"{benchmark} has {len(cell.subjects)} subjects, too few to resample them whole: its intervals and "
                    "tests are over items, and about these subjects",
                    benchmark,
                )
        except NotComparableError as error:
            self._refused(error, records[0].task)
        return cell

    def _measure(
        self, cell: BoardCell, entry: SectionEntry, roles: Mapping[str, SectionEntry | None], benchmark: str
    ) -> None:
        """The statistics that columns ask for, of which all sides are there."""
        for column, measure in measured():
            sides = {role: other for role in measure.against if (other := roles[role])}
            if len(sides) < len(measure.against) or entry in sides.values():
                continue
            records = {role: other.records[benchmark] for role, other in sides.items()}
            cell.statistics[column.id] = measure.of(compare.Sides.of({"student": entry.records[benchmark], **records}))
            if measure.needs_lead and (teacher := roles["teacher"]):
                self.shares.append((cell, column.id, teacher, benchmark))

    def _difference(self, a: list[Record], b: list[Record], against: str) -> Difference | None:
        try:
            difference, notes, detectable = compare.difference(a, b, against)
        except NotComparableError as error:
            self._refused(error, a[0].task)
            return None
        for note in notes:
            self.notes.add(f"On {a[0].task}, {note}", a[0].task)
        self.detectable.append((difference, detectable))
        return difference

    def _refused(self, error: NotComparableError, task: str) -> None:
        self.notes.add(f"Not compared: {error}", task)

    def _say_unequal_data(self, entry: SectionEntry, lora: SectionEntry, benchmark: str) -> None:
        """A student that was fine-tuned on other records than its LoRA was is no fair match; say so."""
        theirs = {record.student.seed: record for record in lora.records[benchmark]}
        for record in entry.records[benchmark]:
            other = theirs.get(record.student.seed)
            if other and record.student.tuned_on not in (None, other.student.tuned_on):
                sizes = [r.student.budget.samples.get("train") for r in (record, other)]
                self.notes.add(
                    f"On {record.task}, {entry.label} is compared with {lora.label} though its split of training "
                    f"records is another ({sizes[0]} and {sizes[1]} records)",
                    record.task,
                )

    def _say_what_is_missing(self, section: Section, group: Group) -> None:
        if section.base is None:
            return

        def missing(
            role: Callable[[SectionEntry, str], SectionEntry | None], needed: Callable[[SectionEntry], bool]
        ) -> str:
            def lacks(benchmark: str) -> bool:
                return any(benchmark in e.records and needed(e) and not role(e, benchmark) for e in section.entries)

            return ", ".join(filter(lacks, group.benchmarks))

        blank = "left blank there"
        if benchmarks := missing(section.vanilla, lambda e: True):
            self.notes.add(f"{group.title} has no vanilla student on {benchmarks}: differences to it are {blank}")
        if benchmarks := missing(
            section.lora, lambda e: e.student.method != "lora" and e.student.transfer_task is not None
        ):
            self.notes.add(f"{group.title} has no LoRA for {benchmarks}: differences to it are {blank}")
        if benchmarks := missing(section.teacher_of, lambda e: True) if section.teacher else "":
            self.notes.add(f"{group.title} has no teacher on {benchmarks}: the gap is {blank}")

    def _source(self, record: Record) -> Source:
        student = record.student
        low, high = compare.wilson(record)[1:]
        return Source(
            task=record.task,
            results=relative(record.results, self.out),
            samples=[relative(path, self.out) for path in record.samples],
            seed=student.seed,
            score=record.score,
            low=low,
            high=high,
            count=record.count,
            others=record.others,
            conditions={
                "metric": f"{record.metric},{record.filter}",
                "task version": record.version,
                "examples in the prompt": record.fewshot,
                "chat template": record.template,
                "dtype": record.dtype,
                "batch size": record.batch_size,
                "limit": record.limit,
            },
            provenance=shown(student),
            date=iso(record.date),
            versions=dict(record.versions),
        )


def _row(entry: SectionEntry) -> StudentRow:
    student = entry.student
    return StudentRow("", entry.label, student.method, student.paradigm or "foreign", student.title, student.reference)


def relative(path: Path, out: Path) -> str:
    """A path as seen from the leaderboard's folder, with slashes."""
    try:
        return Path(os.path.relpath(path.resolve(), out.resolve())).as_posix()
    except ValueError:  # another drive
        return path.resolve().as_posix()


def _names(records: Sequence[Record]) -> Callable[[Record], str]:
    """What a record's benchmark is called: its name, with the number of examples where it was asked with several."""
    shots: dict[str, set[int | None]] = {}
    for record in records:
        shots.setdefault(record.benchmark, set()).add(record.fewshot)

    def name(record: Record) -> str:
        several = len(shots[record.benchmark]) > 1
        return f"{record.benchmark} ({record.fewshot}-shot)" if several else record.benchmark

    return name


def _benchmark_place(benchmark: str) -> tuple[int, str]:
    return place(benchmark), benchmark


def _endings(records: Sequence[Record]) -> dict[str, float]:
    """What the records say of how answers ended, under the filter of their score."""
    found: dict[str, float] = {}
    for name in ENDINGS:
        values = [record.others.get(f"{name},{record.filter}") for record in records]
        known = [value for value in values if value is not None]
        if len(known) == len(records):
            found[name] = fmean(known)
    return found


def _budget(records: Sequence[Record]) -> dict[str, float]:
    parts: dict[str, list[float]] = {}
    for budget in (record.student.budget for record in records):
        values = {
            "learnt_records": budget.records,
            "steps": budget.steps,
            "seconds": budget.seconds,
            "peak_bytes": budget.peak_bytes,
            "student_tokens": budget.student_tokens,
            "teacher_tokens": budget.teacher_tokens,
            "student_flops": budget.student_flops,
            "teacher_flops": budget.teacher_flops,
        }
        for name, value in values.items():
            if value is not None:
                parts.setdefault(name, []).append(value)
    return {name: fmean(values) for name, values in parts.items()}


def _correct(groups: list[Group], correction: Correction) -> None:
    """Over every hypothesis about a transfer; and the teachers' leads, which a share needs, by themselves."""
    for leads in (False, True):
        if family := hypotheses(groups, leads):
            for same, adjusted in zip(family, correction.adjust([same[0].p for same in family]), strict=True):
                for difference in same:
                    difference.adjusted = float(adjusted)
                    difference.significant = bool(adjusted <= ALPHA)


def _name_rows(groups: list[Group]) -> None:
    """Ids for links: the same for the same students, and each once."""
    taken: set[str] = set()
    for group in groups:
        for row in group.rows:
            plain = re.sub(r"[^a-z0-9]+", "-", f"{group.title} {row.label}".lower()).strip("-")
            number, name = 1, plain
            while name in taken:
                number += 1
                name = f"{plain}-{number}"
            taken.add(name)
            row.id = name
