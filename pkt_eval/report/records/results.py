"""One results JSON of lm-eval, of a student of ours or of anybody's, as records."""

import json
import math
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from math import isfinite
from pathlib import Path
from typing import Any, TypedDict, TypeGuard, cast

from pkt_eval._util.files import check_regular
from pkt_eval.errors import DataError
from pkt_eval.report.records.binding import Binding, check_kept
from pkt_eval.report.records.digests import check_digests
from pkt_eval.report.records.primary_metric import is_mean, primary_metric
from pkt_eval.report.records.record import ENDINGS, Record
from pkt_eval.report.records.samples import SampleLine, read_items, score_of
from pkt_eval.report.records.students import student_of


class TaskConfig(TypedDict, total=False):
    """What is read of a task's configuration."""

    generation_kwargs: dict[str, object] | None


class Evaluation(TypedDict, total=False):
    """What is read of a results JSON's ``config``, besides what ``students`` reads."""

    model_dtype: str
    batch_size: object
    model: object
    device: object
    pkt_backend: object
    pkt_generic: object
    limit: float | None


Results = TypedDict(
    "Results",
    {
        # task or group → "metric,filter" → value
        "results": dict[str, dict[str, object]],
        # task → its configuration
        "configs": dict[str, TaskConfig],
        # of the model and the evaluation; "pkt" is a student's provenance
        "config": Evaluation,
        # task → version
        "versions": dict[str, object],
        # task → examples in the prompt
        "n-shot": dict[str, int | None],
        # task → "original" and "effective" number of documents
        "n-samples": dict[str, dict[str, int]],
        # group → its tasks and groups
        "group_subtasks": dict[str, list[str]],
        # sha256; None where none was applied
        "chat_template_sha": str | None,
        # seconds since 1970
        "date": float,
        "lm_eval_version": object,
        "transformers_version": object,
    },
    total=False,
)
"""What is read of a results JSON. Only the first three are known to be there, and to be objects."""


def records_of(path: Path, texts: dict[str, str]) -> list[Record]:
    """The records of a results JSON, one a task.

    Args:
        path: The file; its samples are beside it.
        texts: Prompts and targets met so far, so that those of many students are in memory once.

    Raises:
        DataError: It, or its samples, are truncated, altered, or not lm-eval's; names the file.
    """
    check_digests(path)
    content = load_results(path)
    config = content["config"]
    try:
        student = student_of(config)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    members = _benchmarks(content)
    # With --output_path NAME.json, lm-eval calls the file NAME_<time>.json.
    stamp = path.stem.rpartition("_")[2]
    records: list[Record] = []
    for task in content["configs"]:
        values = content["results"].get(task) or {}
        scores = {k: float(v) for k, v in values.items() if "," in k and "_stderr," not in k and _is_number(v)}
        if not scores:
            continue
        name = primary_metric(task, scores) or next(iter(scores))
        if not math.isfinite(scores[name]) or (is_mean(name) and not 0 <= scores[name] <= 1):
            raise DataError(
                f"{path}: {name} of {task} is {scores[name]}, which is no score: its model is broken, or the file was "
                "changed. Remove it, or run that evaluation again."
            )
        metric, _, filter_name = name.partition(",")
        samples = path.with_name(f"samples_{task}_{stamp}.jsonl")
        if not samples.exists():
            samples = path.with_name(f"samples_{stamp}.jsonl.gz")  # as ``keep`` writes those of all tasks
        if samples.exists():
            check_digests(samples)
            if samples.suffix == ".gz" and not records:  # once for all tasks
                check_kept(content, path, samples)
        record = Record(
            results=path,
            samples=(samples,) if samples.exists() else (),
            task=task,
            benchmark=members.get(task, task),
            version=str(content.get("versions", {}).get(task)),
            metric=metric,
            filter=filter_name,
            score=scores.pop(name),
            count=_whole((content.get("n-samples", {}).get(task) or {}).get("effective") or values.get("sample_len")),
            others=scores,
            student=student,
            fewshot=content.get("n-shot", {}).get(task),
            template=content.get("chat_template_sha"),
            generation=content["configs"][task].get("generation_kwargs") or {},
            dtype=str(config.get("model_dtype", "")).removeprefix("torch."),
            batch_size=str(config.get("batch_size", "")),
            limit=config.get("limit"),
            date=float(content.get("date") or 0),
            backend=" on ".join(
                str(said) for said in (config.get("pkt_backend") or config.get("model"), config.get("device")) if said
            ),
            versions={
                name: str(version)
                for name, version in (
                    ("lm_eval", content.get("lm_eval_version")),
                    ("transformers", content.get("transformers_version")),
                )
                if version
            },
            generic=_generic(config.get("pkt_generic")),
        )
        records.append(_with_items(record, texts, Binding(content, task)))
    return records


def load_results(path: Path) -> Results:
    """A results JSON.

    Raises:
        DataError: It cannot be read, or is not lm-eval's; names it.
    """
    try:
        check_regular(path)
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}. Remove it, or run that evaluation again.") from None
    shape = {"results": dict, "configs": dict, "config": dict}
    if not isinstance(content, dict) or any(not isinstance(content.get(k), t) for k, t in shape.items()):
        raise DataError(f"{path} is no results file of lm-eval: it needs {', '.join(shape)}")
    if wrong := _wrong_field(content):
        raise DataError(f"{path} is no results file of lm-eval: {wrong}")
    return cast(Results, content)


def _wrong_field(content: dict[str, Any]) -> str:
    """What is read and of another type than lm-eval's; "" for a file of its own."""
    nothing = type(None)
    objects = ("versions", "n-shot", "n-samples", "group_subtasks")
    kinds: list[tuple[str, object, tuple[type, ...]]] = [(k, content.get(k), (dict, nothing)) for k in objects]
    kinds.append(("date", content.get("date"), (int, float, nothing)))
    kinds.append(("chat_template_sha", content.get("chat_template_sha"), (str, nothing)))
    kinds.append(("config.limit", content["config"].get("limit"), (int, float, nothing)))
    for inner, kind in (("results", dict), ("configs", dict), ("n-samples", dict), ("group_subtasks", list)):
        of_all = content.get(inner)
        kinds += [(f"{inner}.{k}", v, (kind, nothing)) for k, v in (of_all.items() if isinstance(of_all, dict) else ())]
    shots = content.get("n-shot")
    kinds += [(f"n-shot.{k}", v, (int, nothing)) for k, v in (shots.items() if isinstance(shots, dict) else ())]
    for task, config in content["configs"].items():
        if isinstance(config, dict):
            kinds.append((f"configs.{task}.generation_kwargs", config.get("generation_kwargs"), (dict, nothing)))
    for name, value, kind_s in kinds:
        if not isinstance(value, kind_s):
            return f"its {name} is {repr(value)[:60]}, which lm-eval does not write"
    for name, values in content["results"].items():
        if vast := [k for k, v in (values or {}).items() if isinstance(v, int) and abs(v) > 10**300]:
            return f"its results.{name}.{vast[0]} is no score"
    groups = content.get("group_subtasks") or {}
    if any(not isinstance(each, str) for members in groups.values() for each in members or ()):
        return "its group_subtasks name others than tasks"
    try:
        tuple(TopologicalSorter({k: v or () for k, v in groups.items()}).static_order())
    except CycleError:
        return "its group_subtasks go in a circle"
    return ""


def _benchmarks(content: Results) -> dict[str, str]:
    """task → its topmost group that has a score of its own; ``pkt_all`` and other mere lists have none."""
    subtasks = content.get("group_subtasks") or {}
    scored = [
        group
        for group in subtasks
        if any(_is_number(v) for k, v in (content["results"].get(group) or {}).items() if "," in k)
    ]

    def leaves(name: str) -> list[str]:
        below = subtasks.get(name) or []
        return [leaf for each in below for leaf in leaves(each)] if below else [name]

    topmost: dict[str, str] = {}
    for group in sorted(scored, key=lambda name: (-len(leaves(name)), name)):
        for leaf in leaves(group):
            topmost.setdefault(leaf, group)
    return topmost


def _with_items(record: Record, texts: dict[str, str], binding: Binding) -> Record:
    if not record.samples:
        return replace(record, reason=f"{record.results.name} has no samples beside it (lm_eval --log_samples)")
    path = record.samples[0]
    whole = path.suffix != ".gz"  # kept samples are those of one filter
    endings: dict[str, list[float]] = {name: [] for name in ENDINGS if f"{name},{record.filter}" in record.others}

    def see(sample: SampleLine) -> None:
        if whole:
            binding.see(sample)
        if sample["filter"] == record.filter and sample.get("task", record.task) == record.task:
            for name, values in endings.items():
                if _is_number(value := score_of(sample, name)):
                    values.append(float(value))

    items = read_items(path, record.task, record.metric, record.filter, texts, see)
    if whole:
        binding.check(record.results, path)
    if items is None:
        return replace(record, reason=f"{record.metric} is not a number between 0 and 1 for each item")
    if not items or (record.count and len(items) != record.count):
        raise DataError(f"{path} holds {len(items)} items, {record.results.name} counts {record.count}: truncated?")
    mean = sum(item.score for item in items.values()) / len(items)
    if not abs(mean - record.score) <= 1e-6:  # nor is NaN the mean
        if is_mean(f"{record.metric},{record.filter}"):
            raise _changed(record, record.metric, record.score, mean)
        return replace(record, reason=f"the items' mean {mean:.4f} is not the score {record.score:.4f}")
    for name, values in endings.items():
        said = record.others[f"{name},{record.filter}"]
        # Kept records, and those of before samples said it, have it in the results alone.
        if len(values) == len(items) and not abs(sum(values) / len(values) - said) <= 1e-6 * max(1, abs(said)):
            raise _changed(record, name, said, sum(values) / len(values))
    return replace(record, items=items, count=len(items))


def _changed(record: Record, metric: str, said: float, mean: float) -> DataError:
    return DataError(
        f"{record.results}: {metric} of {record.task} is {said:.4f}, but its items in {record.samples[0].name} say "
        f"{mean:.4f}. One of the two was changed: restore it, or run that evaluation again."
    )


def _generic(said: object) -> dict[str, float]:
    """Digest of the generic text → cross-entropy on it, where a results JSON says so."""
    if not isinstance(said, dict):
        return {}
    digest, value = said.get("digest"), said.get("cross_entropy")
    return {digest: float(value)} if isinstance(digest, str) and _is_number(value) and isfinite(value) else {}


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: object) -> int:
    return int(value) if _is_number(value) else 0
