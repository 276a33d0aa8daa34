"""Exports: what other tools read has the leaderboard's numbers, in the shape that they publish."""

import json
import shutil

import pytest
import yaml
from typer.testing import CliRunner

from pkt_eval.cli import app

TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
NUMBER, TEXT = {"type": "number"}, {"type": "string"}


def exactly(required, **more):
    """An object that has these properties, some of which must be there, and no others."""
    return {
        "type": "object",
        "required": list(required),
        "properties": {**required, **more},
        "additionalProperties": False,
    }


#: What eval.schema.json, version 0.2.2, says of the fields that we write, and which of all it requires; narrower than
#: it in that a field which it does not know is refused everywhere.
SCHEMA = exactly(
    {
        "schema_version": {"const": "0.2.2"},
        "evaluation_id": TEXT,
        "retrieved_timestamp": {"type": "string", "pattern": "^[0-9]+$"},
        "source_metadata": exactly(
            {
                "source_type": {"enum": ["documentation", "evaluation_run"]},
                "source_organization_name": TEXT,
                "evaluator_relationship": {"enum": ["first_party", "third_party", "collaborative", "other"]},
            },
            source_name=TEXT,
        ),
        "model_info": exactly({"name": TEXT, "id": TEXT}, additional_details=TEXTS),
        "eval_library": exactly({"name": TEXT, "version": TEXT}),
        "evaluation_results": {
            "type": "array",
            "items": exactly(
                {
                    "evaluation_name": TEXT,
                    "source_data": {
                        "oneOf": [
                            exactly(
                                {"dataset_name": TEXT, "source_type": {"const": "hf_dataset"}},
                                hf_repo=TEXT,
                                hf_split=TEXT,
                                samples_number={"type": "integer"},
                            ),
                            exactly({"dataset_name": TEXT, "source_type": {"const": "other"}}),
                        ]
                    },
                    "metric_config": exactly(
                        {"lower_is_better": {"type": "boolean"}, "min_score": NUMBER, "max_score": NUMBER},
                        evaluation_description=TEXT,
                        score_type={"enum": ["binary", "continuous", "levels"]},
                    ),
                    "score_details": exactly(
                        {"score": NUMBER},
                        details=TEXTS,
                        uncertainty=exactly(
                            {},
                            standard_error=exactly({"value": NUMBER}, method=TEXT),
                            confidence_interval=exactly(
                                {"lower": NUMBER, "upper": NUMBER},
                                confidence_level={"type": "number", "minimum": 0, "maximum": 1},
                                method=TEXT,
                            ),
                            num_samples={"type": "integer"},
                        ),
                    ),
                }
            ),
        },
    },
    evaluation_timestamp=TEXT,
)


@pytest.fixture(scope="module")
def out(made, tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    for method, n, seed in (("vanilla", 20, None), ("lora", 30, 0), ("lora", 34, 1), ("teacher", 70, None)):
        scores = [1] * n + [0] * (100 - n)
        made(root / "in" / f"{method}{seed}", scores, method=method, seed=seed)
        made(root / "in" / f"{method}{seed}n", scores, method=method, seed=seed, task="nano_gsm8k")
    arguments = ["report", str(root / "in"), "--out", str(root / "out")]
    arguments += ["--export", "every-eval-ever", "--export", "eval-results"]
    ran = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert ran.exit_code == 0 and "3 students" in ran.output
    return root / "out"


def cells(out):
    (group,) = json.loads((out / "leaderboard.json").read_text())["groups"]
    return {row["id"]: row["cells"] for row in group["rows"]}


def test_every_eval_ever_has_the_board_s_numbers_in_its_schema(out):
    jsonschema = pytest.importorskip("jsonschema")
    for id, of_row in cells(out).items():
        record = json.loads((out / "every_eval_ever" / f"{id}.json").read_text("utf-8"))
        jsonschema.validate(record, SCHEMA)
        assert len(record["evaluation_results"]) == len(of_row) == 2
        for result in record["evaluation_results"]:
            cell = of_row[result["evaluation_name"]]
            said = result["score_details"]["uncertainty"]
            assert result["score_details"]["score"] == cell["score"]
            assert said["confidence_interval"]["lower"] == cell["low"] and said["num_samples"] == 100
            if len(cell["sources"]) == 1:  # a share's: sqrt(p(1 - p)/(n - 1))
                p = cell["score"]
                assert said["standard_error"]["value"] == pytest.approx((p * (1 - p) / 99) ** 0.5)
            on_hub = result["source_data"].get("hf_repo")
            assert on_hub == (None if result["evaluation_name"].startswith("nano") else "openai/gsm8k")
            # No score of an embedded benchmark is given away as the real one's.
            assert result["source_data"]["dataset_name"] == ("GSM8K" if on_hub else "nano_gsm8k")


def test_eval_results_are_read_back_by_the_hub_s_client(out):
    from huggingface_hub import parse_eval_result_entries

    for id, of_row in cells(out).items():
        (entry,) = parse_eval_result_entries(yaml.safe_load((out / ".eval_results" / f"{id}.yaml").read_text("utf-8")))
        cell = of_row["pkt_gsm8k_chat"]  # the nano benchmark is no dataset of the hub
        assert (entry.dataset_id, entry.task_id) == ("openai/gsm8k", "main")
        assert entry.value == pytest.approx(100 * cell["score"], abs=0.005)
        assert entry.date == "1970-01-01T00:00:01+00:00"
        assert f"95 % interval [{100 * cell['low']:.1f}, {100 * cell['high']:.1f}]" in entry.notes
        assert ("mean of 2 seeds" in entry.notes) == id.endswith("lora")


def test_the_same_records_give_the_same_exports(out, tmp_path):
    again = ["report", str(out.parent / "in"), "--out", str(tmp_path), "--export", "every-eval-ever"]
    CliRunner().invoke(app, again, catch_exceptions=False)
    for path in (tmp_path / "every_eval_ever").iterdir():
        assert path.read_bytes() == (out / "every_eval_ever" / path.name).read_bytes()


def test_a_student_that_is_gone_takes_its_exports_along(made, tmp_path):
    """And nothing else: in a model's repository other people's results lie in that folder."""
    for method in ("vanilla", "lora"):
        made(tmp_path / "in" / method, [1, 0], method=method, seed=0 if method == "lora" else None)
    say = ["report", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--export", "eval-results"]
    CliRunner().invoke(app, say, catch_exceptions=False)
    folder = tmp_path / "out" / ".eval_results"
    (folder / "others.yaml").write_text("- theirs")
    (tmp_path / "out" / "x.yaml").write_text("")
    assert {path.name for path in folder.iterdir()} == {
        "acme-small-lora.yaml",
        "acme-small-vanilla.yaml",
        "others.yaml",
    }
    board = tmp_path / "out" / "leaderboard.json"  # somebody's, who would have us remove what lies elsewhere
    board.write_text(board.read_text().replace('"acme-small-vanilla"', '"../x"'))
    shutil.rmtree(tmp_path / "in" / "lora")
    CliRunner().invoke(app, say, catch_exceptions=False)
    assert {path.name for path in folder.iterdir()} == {"acme-small-vanilla.yaml", "others.yaml"}
    assert (tmp_path / "out" / "x.yaml").exists()
