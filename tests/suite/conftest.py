"""What the tests of suites share."""

import json
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def scores():
    """Reads what a run has found, cell by cell: scores and samples, byte for byte."""

    def read(out: Path) -> dict[str, str]:
        contents = {}
        for record in sorted(out.glob("**/cell.json")):
            cell = record.parent
            results = json.loads(next(cell.glob("results_*.json")).read_text())
            contents[f"{cell.relative_to(out)}: scores"] = json.dumps(results["results"], sort_keys=True)
            for samples in cell.glob("samples_*.jsonl"):
                contents[f"{cell.relative_to(out)}: {samples.name.partition('_20')[0]}"] = samples.read_text()
        return contents

    return read
