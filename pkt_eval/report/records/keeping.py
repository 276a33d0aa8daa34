"""Records small enough to be committed: what a leaderboard reads of results and samples, and nothing else.

A results JSON stays one, less what describes the machine; the answers of all its tasks become one compressed file
beside it, and what was asked, the same for many students, one in ``items/``. ``reading`` reads them, and makes the
same leaderboard of them.
"""

import gzip
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from pkt_eval._util.files import why
from pkt_eval._util.places import short_name
from pkt_eval._util.sample_digests import SAMPLE_DIGESTS
from pkt_eval._util.secrets import without_secrets
from pkt_eval.code import Verdict
from pkt_eval.errors import ConfigError, DataError, StoreError
from pkt_eval.report.records.record import Record
from pkt_eval.report.records.results import Results, load_results
from pkt_eval.report.records.samples import samples_of, score_of
from pkt_eval.report.records.students import placeless

_KEPT = (
    *("results", "configs", "config", "versions", "n-shot", "n-samples", "group_subtasks", "higher_is_better"),
    *("date", "chat_template_sha", "task_hashes", "lm_eval_version", "transformers_version"),
)
"""Of a results JSON."""
ITEMS = "items"
"""Folder of what was asked, beside those of the records."""
_SAMPLE = ("doc_id", "target", "filter", "doc_hash", "prompt_hash", "target_hash")
"""Of a sample, besides what was asked and answered."""


def keep(records: Sequence[Record], out: Path) -> None:
    """Write records anew, small: a folder for each results file, laid out as they were.

    Args:
        records: As ``read`` gives them.
        out: Folder to write; what an earlier call wrote there is replaced.

    Raises:
        ConfigError: The records lie in that folder.
        StoreError: It cannot be written.
    """
    by_results: dict[Path, list[Record]] = {}
    for record in records:
        by_results.setdefault(record.results.resolve(), []).append(record)
    if any(path.is_relative_to(out.resolve()) for path in by_results):
        raise ConfigError(f"{out} holds the records that are read: they are kept already")
    root = Path(os.path.commonpath([path.parent for path in by_results]))
    names = _apart({record.student.base.source for record in records if record.student.method is None})
    try:
        for stale in [*out.rglob("results_*.json"), *out.rglob("samples_*.jsonl.gz"), *(out / ITEMS).glob("*.gz")]:
            stale.unlink()
        for path, group in by_results.items():
            _write(out / path.parent.relative_to(root), path, group, out / ITEMS, names)
    except OSError as error:
        raise StoreError(f"cannot write {out}: {why(error)}") from error


def _apart(sources: set[str]) -> dict[str, str]:
    """Source of a foreign model → what it is kept as: the last part of its folder, and where two share that a digest.

    Nothing else tells them apart: one would take the other's place.
    """
    short = {source: short_name(source) for source in sources}
    alike = Counter(short.values())
    digests = {source: hashlib.sha256(source.encode("utf-8", "backslashreplace")).hexdigest()[:6] for source in sources}
    return {source: name if alike[name] == 1 else f"{name}-{digests[source]}" for source, name in short.items()}


def _write(folder: Path, results: Path, group: list[Record], items: Path, names: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    items.mkdir(parents=True, exist_ok=True)
    content = _nameless(load_results(results), names)
    samples = [sample for record in group for sample in _samples(record)]
    if samples:
        asked = _lines(item for item, _ in samples)
        of = items / f"{hashlib.sha256(asked).hexdigest()[:16]}.jsonl.gz"
        answers = _lines([{"items": Path(os.path.relpath(of, folder)).as_posix()}, *(answer for _, answer in samples)])
        # No name and no time in the header: the same samples are the same bytes.
        if not of.exists():  # no student before was asked the same
            of.write_bytes(gzip.compress(asked, mtime=0))
        name = f"samples_{results.stem.removeprefix('results_')}.jsonl.gz"
        packed = gzip.compress(answers, mtime=0)
        (folder / name).write_bytes(packed)
        content[SAMPLE_DIGESTS] = {name: hashlib.sha256(packed).hexdigest()}
    # lm-eval writes a function as what Python calls it, its address included.
    text = re.sub(r" at 0x[0-9a-f]+>", ">", json.dumps(content, indent=1, ensure_ascii=False))
    (folder / results.name).write_text(text + "\n", "utf-8", "backslashreplace")


def _lines(values: Iterable[Mapping[str, object]]) -> bytes:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values).encode("utf-8", "backslashreplace")


def _nameless(content: Results, names: Mapping[str, str]) -> dict[str, object]:
    """The results without places on somebody's disk, and without what opens somebody's account."""
    chosen: dict[str, object] = {key: value for key, value in content.items() if key in _KEPT}
    config = placeless(cast(dict[str, object], content["config"]))
    for name in ("pkt_hf", "model_args"):
        if name in config:
            config[name] = without_secrets(config[name])
    if "model_args" in config:
        config["model_args"] = _called(config["model_args"], names)
    configs = {
        task: {k: v for k, v in settings.items() if k not in ("dataset_kwargs", "metadata")}
        for task, settings in content["configs"].items()
    }
    whole = chosen | {"config": config, "configs": configs}
    return {key: whole[key] for key in _KEPT if key in whole}


def _called(arguments: object, names: Mapping[str, str]) -> object:
    """The arguments of a model, as a mapping or as ``a=1,b=2``, whose folder is called by its name alone."""

    def called(name: str, value: str) -> str:
        return names.get(value) or short_name(value) if name == "pretrained" else value

    if isinstance(arguments, str):
        pairs = [pair.partition("=") for pair in arguments.split(",")]
        return ",".join(f"{name}{equals}{called(name, value)}" for name, equals, value in pairs)
    if isinstance(arguments, dict) and "pretrained" in arguments:
        return arguments | {"pretrained": called("pretrained", str(arguments["pretrained"]))}
    return arguments


def _samples(record: Record) -> Iterator[tuple[dict[str, object], dict[str, object]]]:
    """Each item's question and answer: the primary metric's filter, with what ``read_items`` looks at."""
    for path in record.samples:
        for _, sample in samples_of(path, record.task, record.filter):
            subject = sample["doc"].get("subject") if isinstance(sample["doc"], dict) else None
            item: dict[str, object] = {"task": record.task}
            item |= {key: cast(dict[str, object], sample)[key] for key in _SAMPLE}
            item |= {"doc": {"subject": subject} if subject else {}, "arguments": _asked(sample["arguments"])}
            answer = {
                "resps": [sample["resps"][0][:1]],
                "filtered_resps": [_verdict(answer) for answer in sample["filtered_resps"]],
                record.metric: score_of(sample, record.metric),
            }
            yield item, answer


def _asked(arguments: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, object]]:
    """The prompt once, and the choices."""
    return {
        name: {k: v for k, v in request.items() if (k == "arg_1" and isinstance(v, str)) or (k == "arg_0" and not i)}
        for i, (name, request) in enumerate(arguments.items())
    }


def _verdict(answer: object) -> object:
    """A code answer's verdict without the program and its output; any other answer as it is."""
    first = answer[0] if isinstance(answer, list) and answer else None
    if not isinstance(first, str):
        return answer
    try:
        verdict = Verdict.from_text(first)
    except DataError:
        return answer
    return [json.dumps({"passed": verdict.passed, "status": verdict.status, "message": verdict.message})]
