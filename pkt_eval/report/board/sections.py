"""Who is compared with whom: students in groups of one teacher → student pair, and the baselines among them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from pkt_eval.data.benchmarks import benchmark_of_task
from pkt_eval.report.board.model import StudentRow
from pkt_eval.report.records import Model, Record, ScoredStudent

_PARADIGMS = ("baseline", "PostPKT", "PrePKT", "control", "")
_ENDS = {"vanilla": -1, "teacher": len(_PARADIGMS)}


@dataclass(eq=False)
class SectionEntry:
    """A row in the making: its records, by benchmark as shown and seed."""

    label: str
    student: ScoredStudent
    records: dict[str, list[Record]] = field(default_factory=dict)
    row: StudentRow = field(init=False)


@dataclass(eq=False)
class Section:
    """A group in the making. Without a base it holds the students of which no pair is known."""

    teacher: Model | None
    base: Model | None
    entries: list[SectionEntry] = field(default_factory=list)

    def vanilla(self, entry: SectionEntry, benchmark: str) -> SectionEntry | None:
        """The unchanged student: ours, or else a foreign run of the very model.

        With arguments of ``hf`` that make another model, such as ``peft=``, it is the baseline of students that were
        loaded with the same ones alone.
        """
        return self._untouched("vanilla", self.base, entry, benchmark)

    def teacher_of(self, entry: SectionEntry, benchmark: str) -> SectionEntry | None:
        """The teacher: ours, or else a foreign run of the very model."""
        return self._untouched("teacher", self.teacher, entry, benchmark)

    def lora(self, entry: SectionEntry, benchmark: str) -> SectionEntry | None:
        """LoRA for the same task; for a student of which no task is known, LoRA for the benchmark itself."""
        loras = [e for e in self._for_the_same(entry, benchmark) if e.student.method == "lora"]
        return _closest(entry, _alike(entry, loras))

    def best_control(self, entry: SectionEntry, benchmark: str) -> SectionEntry | None:
        """Of the controls of its method, made for the same task, that of the highest score; the first of equals."""
        controls: dict[str | None, list[SectionEntry]] = {}
        for other in self._for_the_same(entry, benchmark):
            if entry.student.method in other.student.control_of:
                controls.setdefault(other.student.method, []).append(other)
        closest = [_closest(entry, _alike(entry, others)) for others in controls.values()]
        found = [other for other in closest if other]
        return max(found, key=lambda other: fmean(r.score for r in other.records[benchmark]), default=None)

    def named(self, label: str, benchmark: str) -> SectionEntry | None:
        """The row that a reader called by its label."""
        return next((entry for entry in self._with(benchmark) if entry.label == label), None)

    def records(self, benchmark: str) -> list[Record]:
        """Of all its students on a benchmark."""
        return [record for entry in self._with(benchmark) for record in entry.records[benchmark]]

    def enter(self, record: Record, benchmark: str) -> None:
        """Add a record to its row."""
        student, label = record.student, record.student.label
        if student.transfer_task and not is_own(record):
            label = f"{label} ← {student.transfer_task}"
        self._entry(label, student).records.setdefault(benchmark, []).append(record)

    def split_crossed(self) -> None:
        """Where students are scored on other benchmarks too, each row is of one transferred task, and says which."""
        crossed = {entry.label.partition(" ← ")[0] for entry in self.entries if " ← " in entry.label}
        for entry in [e for e in self.entries if e.label in crossed]:
            self.entries.remove(entry)
            for benchmark, records in entry.records.items():
                for record in records:
                    label = f"{entry.label} ← {record.student.transfer_task}"
                    self._entry(label, record.student).records.setdefault(benchmark, []).append(record)

    def sort(self) -> None:
        """Vanilla first, the teacher last, in between by paradigm and name."""
        self.entries.sort(key=_place)

    def _untouched(self, method: str, model: Model | None, entry: SectionEntry, benchmark: str) -> SectionEntry | None:
        here = self._with(benchmark)
        ours = [e for e in here if e.student.method == method]
        foreign = [e for e in here if e.student.method is None and model and e.student.base.source == model.source]
        return _closest(entry, _alike(entry, ours) or _alike(entry, foreign))

    def _for_the_same(self, entry: SectionEntry, benchmark: str) -> list[SectionEntry]:
        """Students of the task that one was made for; where that is not known, of the benchmark itself."""
        tasks = {record.student.transfer_task for record in entry.records[benchmark]} - {None}

        def fits(record: Record) -> bool:
            return record.student.transfer_task in tasks if tasks else is_own(record)

        return [other for other in self._with(benchmark) if all(map(fits, other.records[benchmark]))]

    def _with(self, benchmark: str) -> list[SectionEntry]:
        return [entry for entry in self.entries if benchmark in entry.records]

    def _entry(self, label: str, student: ScoredStudent) -> SectionEntry:
        for entry in self.entries:
            if entry.label == label:
                return entry
        self.entries.append(new := SectionEntry(label, student))
        return new


def sections(students: Iterable[ScoredStudent]) -> list[Section]:
    """The pairs among students of ours, by name, and a student whose teacher nobody used on its own."""
    pairs: list[Section] = []
    ours = [student for student in students if student.method]
    for student in ours:
        if student.teacher and not any(_is_of(student, section) for section in pairs):
            pairs.append(Section(student.teacher, student.base))
    for student in ours:
        if not any(section.base and section.base.same(student.base) for section in pairs):
            pairs.append(Section(None, student.base))
    return sorted(pairs, key=_order)


def _order(section: Section) -> tuple[str, str, str]:
    base, teacher = section.base, section.teacher
    return base.name if base else "", teacher.name if teacher else "", (base.digest if base else None) or ""


def belongs(student: ScoredStudent, section: Section, alone: bool) -> bool:
    """Whether a student is compared in a section.

    Args:
        student: Ours: of that base, with that teacher or with none. Foreign: one of the two models, or, where there is
            but one pair, any.
        section: With a base.
        alone: There is but one.
    """
    if student.method:
        return _is_of(student, section)
    return alone or student.base.source in [model.source for model in (section.base, section.teacher) if model]


def is_own(record: Record) -> bool:
    """Whether the student was transferred for the benchmark that it is scored on."""
    asked = benchmark_of_task(record.benchmark)
    return (asked.name if asked else record.benchmark) == record.student.transfer_task


def _is_of(student: ScoredStudent, section: Section) -> bool:
    if section.base is None or not section.base.same(student.base):
        return False
    used = student.teacher
    return used is None or (section.teacher is not None and section.teacher.same(used))


def _alike(entry: SectionEntry, candidates: Sequence[SectionEntry]) -> list[SectionEntry]:
    """Of a method's students, those that were loaded as a student was, else as they were made."""
    plain = [other for other in candidates if not other.student.loaded]
    if entry in candidates:  # one of themselves: what its own arguments do is seen against the plain one
        return plain or [entry]
    same = [other for other in candidates if other.student.loaded == entry.student.loaded]
    return same or plain


def _closest(entry: SectionEntry, candidates: Sequence[SectionEntry]) -> SectionEntry | None:
    """The candidate that shares most options with a student; itself, if it is one."""

    def shared(other: SectionEntry) -> tuple[bool, int]:
        options = other.student.options
        return other is entry, sum(options.get(key) == value for key, value in entry.student.options.items())

    return max(candidates, key=shared, default=None)


def _place(entry: SectionEntry) -> tuple[int, str]:
    paradigm = entry.student.paradigm
    default = _PARADIGMS.index(paradigm) if paradigm in _PARADIGMS else _PARADIGMS.index("")
    return _ENDS.get(entry.student.method or "", default), entry.label
