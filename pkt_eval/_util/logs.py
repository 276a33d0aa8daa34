"""Training curves and scores to a tracker, trackio or wandb: ``--log``. Each student is a run of its own there.

A curve is a training, such as ``finetune``, and has its own steps; a cell is a score with its seconds. What is sent
besides is the student's configuration, less what opens an account or names a folder of this machine; the tracker's own
collecting of command lines, code and output is switched off. Nothing that a tracker does fails a run.

Not here: what is measured (``pkt_eval._util.progress``) and which cells there are (``pkt_eval.suite.logged``).
"""

import io
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from pkt_eval._util.places import short_name
from pkt_eval._util.secrets import without_secrets
from pkt_eval.errors import PrerequisiteError

log = logging.getLogger(__name__)

PROJECT = "pkt-eval"
"""Of all runs, unless the tracker's own variable, e.g. ``WANDB_PROJECT``, names another."""

Numbers = Mapping[str, float]


class Log(Protocol):
    """Where curves and cells go."""

    def step(self, student: str, curve: str, step: int, numbers: Numbers) -> None:
        """What was measured at a step of a training."""

    def cell(self, student: str, task: str, numbers: Numbers) -> None:
        """A student's score on a task."""

    def end(self, student: str | None = None) -> None:
        """No more of a student will come; of None: of nobody."""


class TrackedRun(Protocol):
    """A run of a tracker."""

    def curve(self, name: str, step: int, numbers: Numbers) -> None:
        """Keep what was measured at a step."""

    def scores(self, numbers: Numbers) -> None:
        """Keep what has no step."""

    def finish(self) -> None:
        """Send what is left."""


Begin = Callable[[str, dict[str, object]], TrackedRun]
"""Begins a run: from its name and configuration."""


class Tracked(Log):
    """A log by a tracker, which is asked for a run when something of a student is known.

    Args:
        begin: Of the tracker.
        configs: Student → what its run is told of it.
    """

    def __init__(self, begin: Begin, configs: Mapping[str, Mapping[str, object]]) -> None:
        self._begin, self._configs = begin, configs
        self._runs: dict[str, TrackedRun] = {}
        self._ended = set[str]()
        self._failed = False

    def step(self, student: str, curve: str, step: int, numbers: Numbers) -> None:
        """See ``Log``."""
        with self._forgiven():
            if student not in self._ended:  # else late news would begin another run
                self._run(student).curve(curve, step, numbers)

    def cell(self, student: str, task: str, numbers: Numbers) -> None:
        """See ``Log``."""
        with self._forgiven():
            self._run(student).scores({f"{task}/{name}": number for name, number in numbers.items()})

    def end(self, student: str | None = None) -> None:
        """See ``Log``."""
        for name in list(self._runs) if student is None else [student]:
            self._ended.add(name)
            if run := self._runs.pop(name, None):
                with self._forgiven():
                    run.finish()

    def _run(self, student: str) -> TrackedRun:
        if student not in self._runs:
            self._runs[student] = self._begin(student, harmless_config(self._configs.get(student, {})))
        return self._runs[student]

    @contextmanager
    def _forgiven(self) -> Iterator[None]:
        """A tracker that fails is told of once; what it says on stdout, where results are, is left out."""
        try:
            with redirect_stdout(io.StringIO()):
                yield
        except Exception as error:
            if not self._failed:
                self._failed = True
                log.warning("the tracker does not take all: %s: %s", type(error).__name__, " ".join(str(error).split()))


def harmless_config(config: Mapping[str, object]) -> dict[str, object]:
    """A configuration without secrets, and with the names alone of folders."""

    def called(value: object) -> object:
        if isinstance(value, Mapping):
            return {str(name): called(inner) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [called(inner) for inner in value]
        if isinstance(value, str) and "/" in value and (value.startswith(("/", "~", ".")) or Path(value).exists()):
            return short_name(value)
        return value

    hidden = without_secrets(config)
    assert isinstance(hidden, Mapping)
    return {str(name): called(value) for name, value in hidden.items()}


def open_log(tracker: str, group: str | None, configs: Mapping[str, Mapping[str, object]]) -> Log:
    """A log; nothing is sent before something is known.

    Args:
        tracker: One of ``TRACKERS``.
        group: What its runs have in common, e.g. the name of a suite.
        configs: Student → its configuration.

    Raises:
        PrerequisiteError: The tracker is not installed, or not whole, or nobody is logged in.
    """
    try:
        module = import_module(tracker)
    except ImportError as error:
        why = "" if error.name in (None, tracker) else f", which lacks {error.name}"
        raise PrerequisiteError(f"--log {tracker} needs {tracker}{why}: pip install 'pkt-eval[{tracker}]'") from None
    return Tracked(TRACKERS[tracker](module, group), configs)


class _TrackioRun:
    def __init__(self, run: Any) -> None:
        self._run = run

    def curve(self, name: str, step: int, numbers: Numbers) -> None:
        self._run.log({f"{name}/{key}": number for key, number in numbers.items()}, step=step)

    def scores(self, numbers: Numbers) -> None:
        self._run.log(dict(numbers))

    def finish(self) -> None:
        self._run.finish()


def _trackio(module: Any, group: str | None) -> Begin:
    """On this machine, unless ``TRACKIO_SPACE_ID`` names a Space."""
    project = os.environ.get("TRACKIO_PROJECT") or PROJECT

    def begin(name: str, config: dict[str, object]) -> TrackedRun:
        return _TrackioRun(module.init(project=project, name=name, group=group, config=config, embed=False))

    return begin


class _WandbRun:
    """A run of wandb, whose own step only grows: each curve has steps of its own."""

    def __init__(self, run: Any) -> None:
        self._run, self._curves = run, set[str]()

    def curve(self, name: str, step: int, numbers: Numbers) -> None:
        name = name.replace(".", "_")  # it takes what is behind a dot for a part
        if name not in self._curves:
            self._curves.add(name)
            self._run.define_metric(f"{name}/step", hidden=True)
            self._run.define_metric(f"{name}/*", step_metric=f"{name}/step")
        self._run.log({f"{name}/step": step, **{f"{name}/{key}": number for key, number in numbers.items()}})

    def scores(self, numbers: Numbers) -> None:
        self._run.log(dict(numbers))

    def finish(self) -> None:
        self._run.finish()


def _wandb(module: Any, group: str | None) -> Begin:
    """To the server that is logged in to; with ``WANDB_MODE=offline`` into a folder.

    Raises:
        PrerequisiteError: Nobody is logged in.
    """
    mode = os.environ.get("WANDB_MODE", "online")
    if mode == "online" and not module.login(prompt=False):
        raise PrerequisiteError("--log wandb needs an account: `wandb login`, or WANDB_MODE=offline in the environment")

    def begin(name: str, config: dict[str, object]) -> TrackedRun:
        # Else it takes the command line, the output, the machine's name and the repository's state along.
        settings = module.Settings(
            host="unsaid",
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            x_disable_meta=True,
            x_save_requirements=False,
        )
        project = None if os.environ.get("WANDB_PROJECT") else PROJECT  # it looks there itself
        kept = {"project": project, "name": name, "group": group, "config": config}
        return _WandbRun(module.init(**kept, reinit="create_new", settings=settings))

    return begin


TRACKERS: Mapping[str, Callable[[Any, str | None], Begin]] = {"trackio": _trackio, "wandb": _wandb}
"""Name, which is also the module's and the extra's → how its runs are begun."""
