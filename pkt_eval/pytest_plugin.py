"""The pytest plug-in: the fixture ``pkt_run``, which evaluates students, and the folder that it writes to.

It is loaded by every pytest run of everybody who has this package, so nothing but pytest is imported before the fixture
is asked for. ``-p no:pkt_eval`` turns it off.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pkt_eval.testing import Runner


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--pkt-eval-dir``."""
    parser.getgroup("pkt-eval", "students under test").addoption(
        "--pkt-eval-dir",
        metavar="DIR",
        type=Path,
        help="keep the results and samples of pkt_run in DIR, for pkt-eval gate and report; default: pytest's own "
        "temporary folder",
    )


@pytest.fixture(scope="session")
def pkt_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> "Runner":
    """Evaluate a student: ``pkt_run(student, tasks=[…], limit=…, **options of lm_eval.simple_evaluate)`` → records.

    The student is a folder, a hub name or ``--model_args``; each call is made once a session. Compare two with
    ``pkt_eval.testing.assert_not_worse(candidate, baseline, margin=0.02)``.
    """
    from pkt_eval.testing import Runner

    return Runner(request.config.getoption("--pkt-eval-dir") or tmp_path_factory.mktemp("pkt_eval"))
