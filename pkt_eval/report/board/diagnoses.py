"""What ``pkt-eval diagnose`` found about the pairs of a leaderboard, for its page."""

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pkt_eval.errors import DataError


@dataclass(frozen=True)
class Figure:
    """A figure of a diagnosis.

    Attributes:
        caption: A sentence.
        data: The PNG as a ``data:`` URI.
    """

    caption: str
    data: str


@dataclass(frozen=True)
class LinkedDiagnosis:
    """A folder of ``pkt-eval diagnose``.

    Attributes:
        teacher: Its name.
        student: Its name.
        transferred: Names of the students that were looked into.
        tasks: Whose texts it was done with.
        tokens: Of those texts.
        figures: In the order of its report.
    """

    teacher: str
    student: str
    transferred: list[str]
    tasks: list[str]
    tokens: int
    figures: list[Figure]


def find(paths: Sequence[Path]) -> tuple[list[LinkedDiagnosis], list[Path]]:
    """The diagnoses under ``paths``, and those paths that may hold records.

    Raises:
        DataError: A diagnosis lacks a figure that its summary names.
    """
    diagnoses: dict[Path, LinkedDiagnosis] = {}
    others = []
    for path in paths:
        summaries = sorted(path.rglob("summary.json")) if os.path.isdir(path) else []
        folders = [file.parent for file in summaries if _is_one(file)]
        diagnoses |= {folder.resolve(): _read(folder) for folder in folders}
        if path not in folders:
            others.append(path)
    return list(diagnoses.values()), others


def _is_one(summary: Path) -> bool:
    try:
        return {"cka", "stitching", "figures"} <= json.loads(summary.read_text("utf-8")).keys()
    except (OSError, ValueError, AttributeError):
        return False


def _read(folder: Path) -> LinkedDiagnosis:
    said = json.loads((folder / "summary.json").read_text("utf-8"))
    figures = []
    for name, caption in said["figures"].items():
        file = folder / "figures" / f"{name}.png"
        try:
            data = base64.b64encode(file.read_bytes()).decode()
        except OSError as error:
            raise DataError(f"cannot read {file}, a figure of the diagnosis {folder}: {error}") from None
        figures.append(Figure(caption, f"data:image/png;base64,{data}"))
    return LinkedDiagnosis(
        said["teacher"], said["student"], list(said["transferred"]), said["tasks"], said["tokens"], figures
    )
