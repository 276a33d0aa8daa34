"""The processes of a suite: rank 0 runs it as if it were alone, and the others answer their share of its batches.

So plan, journal, results and table are rank 0's alone, and the batches are those of one process: the scores are, to
the byte, whatever the number of processes.
"""

from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance

from pkt_eval._util.secrets import hide_secrets
from pkt_eval.suite.model import SuiteModel
from pkt_eval.suite.schema import BatchSize
from pkt_eval.suite.switchable_model import SwitchableModel
from pkt_eval.transfer import processes
from pkt_eval.transfer.recipe import Recipe


class Workers:
    """Rank 0's hold on all processes, itself included; there may be no others.

    Attributes:
        size: How many there are, and so how many batches are answered at once.
    """

    def __init__(self) -> None:
        self.size = processes.world()
        self.own = SwitchableModel()
        if self.size > 1:
            processes.join_others()

    @property
    def lm(self) -> SuiteModel:
        """Rank 0's model."""
        return self.own.lm

    def load(self, arguments: dict[str, Any]) -> None:
        """Have everybody load a base; see ``SwitchableModel.load``."""
        self._all("load", [(arguments,)] * self.size)

    def become(self, recipe: Recipe, device: str) -> None:
        """Have everybody's base become a student; see ``SwitchableModel.become``."""
        self._all("become", [(recipe, device)] * self.size)

    def unload(self) -> None:
        """Have everybody free the memory."""
        self._all("unload", [()] * self.size)

    def answer(self, kind: str, blocks: Sequence[list[Instance]], rows: BatchSize) -> list[list[Any]]:
        """Answers to at most ``size`` blocks, one a process; see ``SwitchableModel.answer``.

        Args:
            kind: Of the requests.
            blocks: The first is rank 0's own, whose requests it sees whole; the others see what is asked.
            rows: Items that are computed at a time.
        """
        own, *others = blocks
        bare = [(kind, [_bare(kind, request) for request in block], rows) for block in others]
        return self._all("answer", [(kind, own, rows), *bare])

    def dismiss(self) -> None:
        """Let the others end."""
        if self.size > 1:
            _broadcast(None)

    def _all(self, method: str, arguments: list[tuple[Any, ...]]) -> list[Any]:
        """What a method returns with each process's arguments, in the order of processes.

        Raises:
            Exception: Rank 0's own.
            RuntimeError: Another rank's, named.
        """
        if self.size == 1:
            return [getattr(self.own, method)(*arguments[0])]
        _broadcast((method, [(), *arguments[1:]]))
        try:
            result, failed = getattr(self.own, method)(*arguments[0]), None
        except Exception as error:
            result, failed = None, error
        gathered = _gather((result, None))
        if failed:
            raise failed
        for other, (_, reason) in enumerate(gathered):
            if reason:
                raise RuntimeError(f"process {other}: {reason}")
        return [result for result, _ in gathered][: len(arguments)]


def _bare(kind: str, request: Instance) -> Instance:
    """What is asked, without the document that it is asked of."""
    return Instance(request_type=kind, doc={}, arguments=request.args, idx=0)


def follow() -> None:
    """Do what rank 0 says, until it lets this process end."""
    processes.join_others()
    own = SwitchableModel()
    while order := _broadcast(None):
        method, arguments = order
        result, reason = None, None
        if processes.rank() < len(arguments):
            try:
                result = getattr(own, method)(*arguments[processes.rank()])
            except Exception as error:
                reason = hide_secrets(f"{type(error).__name__}: {error}")
        _gather((result, reason))


def _broadcast(order: Any) -> Any:
    """Rank 0's order, at every rank."""
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([order])[0]


def _gather(result: Any) -> list[Any]:
    from accelerate.utils import gather_object

    return gather_object([result])
