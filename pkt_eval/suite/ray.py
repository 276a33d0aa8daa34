"""The ray engine: a student and its cells are one Ray task, on a cluster or on this machine.

A task makes its student, unless the store has it, loads the base and evaluates the student's cells. Store, results and
models are reached over a path that all machines share, so that a task whose worker is lost is done again by another
one, which finds the checkpoint, the journal and the finished cells of the first.
"""

import logging
import os
import platform
import socket
import time
from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from pkt_eval._util.folders import store_root
from pkt_eval.errors import ConfigError, PrerequisiteError, StoreError
from pkt_eval.suite.engine import Engine
from pkt_eval.suite.engines import EngineOptions
from pkt_eval.suite.local import Local
from pkt_eval.suite.plan import Cell, learners
from pkt_eval.suite.record import Identity, finished
from pkt_eval.suite.schema import Suite
from pkt_eval.suite.state import Statuses
from pkt_eval.suite.work import Work

log = logging.getLogger(__name__)

_EVERY = 0.5
"""Seconds between two looks at what the workers report."""
_RETRIES = 3
"""Workers that one task may lose before its cells have failed."""


class RayOptions(EngineOptions):
    """Where the Ray tasks of a suite run, and what each of them gets."""

    address: str | None = None
    num_cpus: float = Field(1, ge=0)
    num_gpus: float = Field(0, ge=0)

    def device(self, asked: str | None) -> str:
        """By what a task gets: this process need not have it."""
        if asked:
            raise ValueError("device: with engine: ray it follows from ray.num_gpus; leave it out")
        return "cuda" if self.num_gpus else "cpu"


class OnRay(Engine):
    """Gives cells to Ray.

    Args:
        work: The suite; its folder, on a path that all machines share; the identities of its cells, as this process
            knows them: a worker with other ones does nothing.

    Raises:
        PrerequisiteError: Ray is not installed.
    """

    Options = RayOptions
    several_processes: ClassVar[bool] = False
    """It starts its own."""

    def __init__(self, work: Work) -> None:
        self.suite, self.out, self.identities, self.state = work.suite, work.out.resolve(), work.identities, work.state
        options = work.suite.engine_options
        assert isinstance(options, RayOptions)
        self.address = options.address
        self.asked = {"num_cpus": options.num_cpus, "num_gpus": options.num_gpus}
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # Else Ray recommends it in a warning; a task without a GPU computes on the CPU whatever it sees.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError:
            raise PrerequisiteError("engine: ray needs Ray: pip install 'pkt-eval[ray]'") from None
        self.ray = ray

    def run(self, left: Sequence[Cell]) -> None:
        """Do cells that are waiting.

        Raises:
            ConfigError: There is no such cluster, or no machine in it that a task fits on.
        """
        if not left:
            return
        self._connect()
        pending: dict[Any, list[Cell]] = {}
        try:
            self._check_fit()
            reports = self._reports()
            task = self.ray.remote(_work).options(**self.asked, max_retries=_RETRIES)
            for student in learners(left):
                mine = [cell for cell in left if cell.learner == student]
                expected = {cell.name: self.identities[cell] for cell in mine}
                pending[task.remote(self.suite, self.out, expected, reports, self.state.followed)] = mine
            while pending:
                ended, _ = self.ray.wait(list(pending), timeout=_EVERY)
                self._read(reports)  # before they end, since what a worker has measured comes before its cells
                for reference in ended:
                    self._end(reference, pending.pop(reference))
        finally:
            for reference in pending:  # interrupted: no worker goes on
                self.ray.cancel(reference, force=True)
            self.ray.shutdown()

    def _connect(self) -> None:
        address = self.address
        # A local cluster inherits our environment; elsewhere its processes have one of their own.
        passed = {name: value for name, value in os.environ.items() if name.startswith("PKT_EVAL_")}
        passed |= {"PKT_EVAL_STORE": str(store_root().resolve())}
        if data := os.environ.get("PKT_EVAL_DATA"):
            passed["PKT_EVAL_DATA"] = str(Path(data).resolve())
        if threads := os.environ.get("OMP_NUM_THREADS"):  # else Ray sets it to num_cpus
            passed["OMP_NUM_THREADS"] = threads
        how: dict[str, Any] = {"address": address or "local", "runtime_env": {"env_vars": passed}}
        if not address:  # nothing of size goes through its object store
            how |= {"include_dashboard": False, "object_store_memory": 100 << 20}
        try:
            if address and ":" in address:  # Ray itself would try for many minutes
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port)), timeout=10).close()
            self.ray.init(**how, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"ray.address: cannot use the cluster {address or 'of our own'}: {' '.join(str(error).split())}"
            ) from None

    def _check_fit(self) -> None:
        """A task that fits nowhere would wait for ever; an autoscaler may still bring a machine that it fits on."""
        needs = {"CPU": self.asked["num_cpus"], "GPU": self.asked["num_gpus"]}
        machines = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        if any(all(machine.get(what, 0) >= count for what, count in needs.items()) for machine in machines):
            return
        there = "; ".join(f"{m.get('CPU', 0):g} CPUs and {m.get('GPU', 0):g} GPUs" for m in machines)
        message = (
            f"ray: no machine has the {needs['CPU']:g} CPUs and {needs['GPU']:g} GPUs of a task; there are {there}"
        )
        if not self.address:
            raise ConfigError(f"{message}. Ask for less in ray.num_cpus and ray.num_gpus, or name a cluster")
        log.warning("%s. Waiting for one.", message)

    def _reports(self) -> Any:
        """The actor that collects what workers report; beside us, since it is lost with its machine."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(self.ray.get_runtime_context().get_node_id(), soft=False)
        return self.ray.remote(Reports).options(num_cpus=0, scheduling_strategy=here).remote()

    def _read(self, reports: Any) -> None:
        news, measured = self.ray.get(reports.take.remote())
        for each in measured:
            self.state.measured(*each)
        self.state.update(news)

    def _end(self, reference: Any, mine: list[Cell]) -> None:
        """A task has ended; what counts is what lies in our folder."""
        try:
            self.state.update(self.ray.get(reference))
        except self.ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            lost = cause if isinstance(cause, Exception) else error
            for cell in mine:
                if record := finished(self.out / cell.name, self.identities[cell]):
                    self.state.end(cell, "done", record)
                else:
                    self.state.fail([cell], lost)
            return
        for cell in mine:
            if self.state[cell].state == "done" and not finished(self.out / cell.name, self.identities[cell]):
                unseen = StoreError(
                    f"a worker wrote to {self.out}, but it is not there: choose an --out that all share"
                )
                self.state.fail([cell], unseen)


Measurement = tuple[str, str, int, Mapping[str, float]]
"""Of which student and curve, at which step."""


class Reports:
    """What workers have reported since it was last asked; lives in an actor."""

    def __init__(self) -> None:
        self.news: Statuses = {}
        self.measured: list[Measurement] = []

    def put(self, news: Statuses) -> None:
        """Report statuses."""
        self.news |= news

    def measure(self, *measured: Any) -> None:
        """Report what a transfer has measured."""
        self.measured.append(measured)

    def take(self) -> tuple[Statuses, list[Measurement]]:
        """The news and what was measured, which are none after that."""
        (news, self.news), (measured, self.measured) = (self.news, {}), (self.measured, [])
        return news, measured


def _work(suite: Suite, out: Path, expected: dict[str, Identity], reports: Any, followed: bool) -> Statuses:
    """Do the cells of one student in a worker.

    Args:
        suite: Whose they are.
        out: Its folder.
        expected: The cells and their identities.
        reports: The actor of ``Reports``.
        followed: Whether to report curves, too.
    """
    said: dict[str, str] = {}
    last = 0.0

    def show(statuses: Statuses) -> None:
        nonlocal last
        mine = {name: statuses[name] for name in expected}
        states = {name: status.state for name, status in mine.items()}
        if states != said or time.monotonic() - last > _EVERY:
            said.update(states)
            last = time.monotonic()
            reports.put.remote({name: copy(status) for name, status in mine.items()})

    work = Work(suite, out, show)
    if followed:
        work.state.follow(lambda *measured: reports.measure.remote(*measured))
    mine = [cell for cell in work.cells if cell.name in expected]
    for cell in mine:
        here, asked = work.identities[cell], expected[cell.name]
        if here != asked:
            unlike = ", ".join(key for key in asked if here.get(key) != asked[key])
            raise ConfigError(
                f"{platform.node()} would evaluate something else (unlike: {unlike}): it needs the same models, data "
                "and versions"
            )
    work.mark_finished(mine)
    for cell in mine:
        if work.state[cell].state == "kept":  # by a worker that was lost
            work.state[cell].state = "done"
    Local(work).run(work.state.waiting(mine))
    return {cell.name: work.state[cell] for cell in mine}
