"""Whether a method keeps the contract: for the tests of a package that offers one.

    from pkt_eval.methods.testing import check

    def test_mine():
        check("mine", strength=0.5)

It transfers between the embedded nano models, on a few records, and keeps everything in a temporary folder. Not here:
whether a transfer does any good; that is measured by ``lm_eval`` and ``pkt_eval.testing``.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from pkt_eval import nano
from pkt_eval._util.progress import Progress
from pkt_eval.data.chat import ChatFormat
from pkt_eval.data.splits import Splits, build_splits
from pkt_eval.data.transfer_data import TransferData, Undeclared
from pkt_eval.methods.base import Method, get_method
from pkt_eval.models.edits import DoraEdit, LowRankEdit
from pkt_eval.models.pair import ModelPair
from pkt_eval.models.source import ModelSource
from pkt_eval.models.student import Student, load_student

#: Records of each split: enough for every built-in method, and a second or two.
SIZES: Mapping[str, int] = {"extract": 2, "align": 4, "train": 8, "validation": 4}
_MAX_LENGTH = 512
_TOLERANCE = 1e-3  # of an adapter beside the weights against one merged into them, in float32, relative to the logits


def check(
    method: str,
    *,
    task: str = "nano_gsm8k",
    teacher: str | None = None,
    student: str | None = None,
    sizes: Mapping[str, int] = SIZES,
    seed: int = 0,
    interruptions: int = 3,
    **options: Any,
) -> None:
    """Transfer several times, and fail where the contract is broken.

    - The student depends on the seed, the options and the data alone, not on global random states or what an earlier
      transfer left.
    - Its edits are finite, one a parameter, of parameters that the base has; its record is JSON.
    - Interrupted at a stage or within a bar and begun again with the same ``work``, a transfer ends the same.
    - Saved and loaded, it is the same student: by digest, and by the logits of the live, the merged and (where it has
      low-rank edits alone) the PEFT-loaded model.

    Args:
        method: A registered name.
        task: The benchmark that is transferred.
        teacher: Folder or hub name; default: the nano teacher.
        student: Folder or hub name of the base; default: the nano student.
        sizes: Split → number of records.
        seed: Of splits and method.
        interruptions: At how many moments, evenly over the transfer, it is interrupted.
        **options: The method's own.

    Raises:
        AssertionError: The contract is broken; says where.
        ConfigError: There is no such method or option.
    """
    __tracebackhide__ = True
    entry = get_method(method)
    case = _Case(
        entry,
        options,
        seed,
        teacher or nano.model_path("teacher"),
        student or nano.model_path("student"),
        task,
        cache(lambda name: build_splits(name, seed=seed, sizes=sizes, names=entry.cls.splits)),
    )
    with tempfile.TemporaryDirectory(prefix="pkt_method_") as temporary:
        folder = Path(temporary)
        counter = _Ticking()
        made = case.transfer(folder / "first", counter, noise=1)
        _check_edits(case, made)
        again = case.transfer(folder / "second", Progress(enabled=False), noise=2)
        _same(case, "a second transfer with the same seed", made, again)
        for moment in _moments(counter.ticks, interruptions):
            _check_resuming(case, folder / f"interrupted-{moment}", moment, counter.ticks, made)
        _check_saved(case, made, folder / "student")


@dataclass(frozen=True)
class _Case:
    """A method under test."""

    entry: Method
    options: Mapping[str, Any]
    seed: int
    teacher: str
    student: str
    task: str
    splits: Callable[[str], Splits]

    def transfer(self, folder: Path, progress: Progress, noise: int) -> Student:
        """Make the student as a recipe would, with a store and a ``work`` folder under ``folder``.

        Args:
            folder: Where the transfer goes on, if it was there before.
            progress: May interrupt.
            noise: State of the global random generators, which must not matter.
        """
        uses = self.entry.uses
        method = self.entry.configure(self.options, self.seed)
        method.work = folder / "work"
        method.work.mkdir(parents=True, exist_ok=True)
        pair = ModelPair(
            ModelSource(self.teacher) if "teacher" in uses else None, ModelSource(self.student), device="cpu"
        )
        data: TransferData = Undeclared(self.entry.name)
        if "data" in uses:
            splits = self.splits(self.task)
            others = method.other_tasks(splits.benchmark)

            def other(task: str) -> Splits:
                if task not in others:
                    raise AssertionError(f"method={self.entry.name} looks at {task}, which is not in its other_tasks")
                return self.splits(task)

            data = TransferData(splits, ChatFormat("paper"), "answer", _MAX_LENGTH, other)
        with _own_store(folder / "store"), torch.random.fork_rng(devices=[]):
            torch.manual_seed(noise)
            random.seed(noise)
            return method.transfer(pair, data, progress)


class _Ticking(Progress):
    """Counts the stages that begin and the items of bars, and may interrupt at one of them."""

    def __init__(self, interrupt_at: int | None = None) -> None:
        super().__init__(enabled=False)
        self.ticks, self._interrupt_at = 0, interrupt_at

    def _tick(self) -> None:
        self.ticks += 1
        if self.ticks == self._interrupt_at:
            raise KeyboardInterrupt

    @contextmanager
    def stage(self, name: str, curve: str | None = None) -> Iterator[None]:
        with super().stage(name, curve):
            self._tick()
            yield

    def bar(self, items: Iterable[Any], desc: str, total: int | None = None) -> Iterable[Any]:
        for item in super().bar(items, desc, total):
            self._tick()
            yield item


def _moments(ticks: int, count: int) -> list[int]:
    """``count`` of the ticks, evenly: one is in the middle."""
    return sorted({max(1, round(ticks * (i + 1) / (count + 1))) for i in range(count)}) if ticks else []


def _check_resuming(case: _Case, folder: Path, moment: int, of: int, made: Student) -> None:
    try:
        case.transfer(folder, _Ticking(moment), noise=3)
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError(
            f"method={case.entry.name} took fewer than {moment} steps this time and {of} the first: bars and stages of "
            "a transfer must not depend on chance, and KeyboardInterrupt is not for a method to catch"
        )
    again = case.transfer(folder, Progress(enabled=False), noise=4)
    _same(case, f"a transfer that was interrupted at step {moment} of {of} and went on", made, again)


def _same(case: _Case, what: str, one: Student, other: Student) -> None:
    digests = one.weights_digest(), other.weights_digest()
    if digests[0] == digests[1] and one.base == other.base:
        return
    unlike = [
        name
        for name, (a, b) in _paired(one, other).items()
        if a is None or b is None or not all(torch.equal(a.tensors[p], b.tensors[p]) for p in a.tensors)
    ]
    raise AssertionError(
        f"method={case.entry.name}: {what} gave another student, {digests[1][:12]} instead of {digests[0][:12]}; "
        f"{len(unlike)} of {len(one.edits)} edits differ, e.g. {unlike[0] if unlike else one.base}. Draw everything "
        "random from generators that are seeded with self.seed"
    )


def _paired(one: Student, other: Student) -> dict[str, tuple[Any, Any]]:
    a, b = ({e.name: e for e in s.edits} for s in (one, other))
    return {name: (a.get(name), b.get(name)) for name in a | b}


def _check_edits(case: _Case, made: Student) -> None:
    name = case.entry.name
    try:
        json.dumps(dict(made.record), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"method={name}: the record of its student is no JSON: {error}") from None
    edited = [edit.name for edit in made.edits]
    if twice := {n for n in edited if edited.count(n) > 1}:
        raise AssertionError(f"method={name} edits {sorted(twice)[0]} more than once: add the edits up")
    for edit in made.edits:
        for part, tensor in edit.tensors.items():
            if not torch.isfinite(tensor).all():
                raise AssertionError(f"method={name}: {edit.name}, {part} is not finite")
    expected = case.teacher if made.base.path == case.teacher and "teacher" in case.entry.uses else case.student
    if made.base.path != expected:
        raise AssertionError(f"method={name}: its student's base is {made.base}, not {expected}: give pair.student")


@torch.no_grad()
def _check_saved(case: _Case, made: Student, folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    name = case.entry.name
    made.save(folder, merged=True)
    loaded = load_student(folder)
    _same(case, "the student that was saved and loaded", made, loaded)
    if dict(loaded.record) != dict(made.record) or loaded.chat_template != made.chat_template:
        raise AssertionError(
            f"method={name}: the record that was saved and loaded differs; use str keys, and no tuples"
        )

    merged = AutoModelForCausalLM.from_pretrained(folder / "merged", dtype="auto")
    stored = merged.dtype
    base = AutoModelForCausalLM.from_pretrained(made.base.path, dtype=stored)
    plain = _logits(base.float())
    live = AutoModelForCausalLM.from_pretrained(made.base.path, dtype=stored)
    made.apply(live)  # in the dtype in which the checkpoint was merged, so that both round alike
    if not torch.equal(_logits(live.float()), _logits(merged.float())):
        raise AssertionError(f"method={name}: the merged checkpoint gives other logits than the student itself")
    if made.edits and all(isinstance(edit, LowRankEdit | DoraEdit) for edit in made.edits):
        from peft import PeftModel

        beside = AutoModelForCausalLM.from_pretrained(made.base.path, dtype=torch.float32)
        expected = AutoModelForCausalLM.from_pretrained(made.base.path, dtype=torch.float32)
        made.apply(expected)
        ours, theirs = _logits(expected), _logits(PeftModel.from_pretrained(beside, folder / "adapter"))
        if (ours - theirs).abs().max() > _TOLERANCE * plain.abs().max():
            raise AssertionError(
                f"method={name}: the adapter loaded by peft moves logits by up to {(ours - theirs).abs().max():.2g} "
                "from the student's own"
            )


def _logits(model: Any) -> torch.Tensor:
    """Of a fixed text of 32 tokens."""
    ids = torch.arange(5, 37)[None] % model.config.vocab_size
    return model.eval()(input_ids=ids).logits


@contextmanager
def _own_store(folder: Path) -> Iterator[None]:
    """No memory of the user's for the body: what is remembered there would hide what is not decided by the seed."""
    before = os.environ.get("PKT_EVAL_STORE")
    os.environ["PKT_EVAL_STORE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PKT_EVAL_STORE"]
        else:
            os.environ["PKT_EVAL_STORE"] = before
