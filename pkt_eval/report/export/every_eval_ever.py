"""Records of Every Eval Ever, a shared collection of evaluations (github.com/evaleval/every_eval_ever): one a student.

By its ``eval.schema.json``, version 0.2.2. Scores are shares in [0, 1]; ``score_details.uncertainty`` has standard
error, interval and number of items.
"""

import json
from datetime import datetime

from pkt_eval.data.benchmarks import Hub, benchmark_of_task
from pkt_eval.report.board import BoardCell, Group, Leaderboard, StudentRow
from pkt_eval.report.board.model import LEVEL, written
from pkt_eval.report.board.wording import harmless

VERSION = "0.2.2"
"""Of the schema."""


def every_eval_ever_files(board: Leaderboard) -> dict[str, str]:
    """Row id + ``.json`` → the record of that student."""
    return {
        f"{row.id}.json": json.dumps(written(_record(group, row)), indent=2, ensure_ascii=False) + "\n"
        for group in board.groups
        for row in group.rows
        if row.cells
    }


def _record(group: Group, row: StudentRow) -> dict[str, object]:
    cells = list(row.cells.values())
    date = max((cell.date for cell in cells if cell.date), default="unknown")
    # The record says nothing that was not known when the student was evaluated.
    seconds = str(int(datetime.fromisoformat(date).timestamp())) if date != "unknown" else "0"
    model = _model(group, row)
    return {
        "schema_version": VERSION,
        "evaluation_id": f"pkt-eval/{model['id']}/{seconds}",
        "evaluation_timestamp": date,
        "retrieved_timestamp": seconds,
        "source_metadata": {
            "source_name": "PKT-Eval",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "lm_eval", "version": _version(cells)},
        "model_info": model,
        "evaluation_results": [_result(name, cell) for name, cell in row.cells.items()],
    }


def _version(cells: list[BoardCell]) -> str:
    return next((v for cell in cells for source in cell.sources if (v := source.versions.get("lm_eval"))), "unknown")


def _model(group: Group, row: StudentRow) -> dict[str, object]:
    base = {"vanilla": group.student, "teacher": group.teacher}.get(row.method or "")
    name = harmless(row.label)
    details = {
        "method": row.method,
        "paradigm": row.paradigm,
        "reference": row.reference,
        "base_model": group.student,
        "teacher_model": group.teacher,
    }
    return {
        "name": name,
        "id": harmless(base or f"{group.student or 'unknown'}+{row.label}"),
        "additional_details": {key: harmless(value) for key, value in details.items() if value},
    }


def _result(name: str, cell: BoardCell) -> dict[str, object]:
    first = cell.sources[0]
    asked = benchmark_of_task(first.task)
    # What is embedded here is called by its own name: its scores are none of the benchmark's whose columns it has.
    data: dict[str, object] = {"dataset_name": harmless(name), "source_type": "other"}
    if asked and isinstance(asked.source, Hub):
        data |= {
            "dataset_name": asked.title,
            "source_type": "hf_dataset",
            "hf_repo": asked.source.path,
            "hf_split": "test",
        }
        data |= {"samples_number": cell.count}
    details = {"seeds": str(len(cell.sources))}
    if cell.vanilla:
        details |= {
            "difference_to": harmless(cell.vanilla.against),
            "difference": f"{cell.vanilla.value:.6f}",
            "difference_interval": f"[{cell.vanilla.low:.6f}, {cell.vanilla.high:.6f}]",
            "adjusted_p": f"{cell.vanilla.adjusted:.6g}",
        }
    score: dict[str, object] = {"score": cell.score, "details": details}
    if uncertainty := _uncertainty(cell):
        score["uncertainty"] = uncertainty
    return {
        "evaluation_name": harmless(name),
        "source_data": data,
        "metric_config": {
            "evaluation_description": harmless(f"{first.task}, {first.conditions.get('metric', '')}"),
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0.0,
            "max_score": 1.0,
        },
        "score_details": score,
    }


def _uncertainty(cell: BoardCell) -> dict[str, object]:
    several = len(cell.sources) > 1
    found: dict[str, object] = {"num_samples": cell.count}
    if cell.error is not None:
        over = "seeds and items, crossed random effects" if several else "items"
        found["standard_error"] = {"value": cell.error, "method": f"analytic, over {over}"}
    if cell.low is not None and cell.high is not None:
        method = "over seeds and items, crossed random effects" if several else "Wilson"
        interval = {"lower": cell.low, "upper": cell.high, "confidence_level": LEVEL, "method": method}
        found["confidence_interval"] = interval
    return found
