"""One base model in memory, which becomes one student after the other."""

from typing import Any

from lm_eval.api.instance import Instance

from pkt_eval._util.devices import release_memory
from pkt_eval._util.progress import Progress
from pkt_eval.errors import ConfigError
from pkt_eval.suite.model import SuiteModel, answered
from pkt_eval.transfer.processes import make_once
from pkt_eval.transfer.recipe import Recipe
from pkt_eval.transfer.transfer import Transfer


class SwitchableModel:
    """Nothing, until a base is loaded.

    Attributes:
        loaded: The base under evaluation, if there is one.
    """

    loaded: SuiteModel | None = None

    @property
    def lm(self) -> SuiteModel:
        """The base under evaluation.

        Raises:
            ConfigError: No base is loaded.
        """
        if self.loaded is None:
            raise ConfigError("load the base of the student first")
        return self.loaded

    def load(self, arguments: dict[str, Any]) -> None:
        """Load a base by the arguments of ``pkt_vanilla``; one that was there goes first."""
        from pkt_eval.model_wrappers.student import PKTVanilla  # seconds, which a dry run does not need

        self.unload()
        self.loaded = PKTVanilla(**arguments)

    def become(self, recipe: Recipe, device: str) -> None:
        """Make the base a student, which is in the store by now.

        Args:
            recipe: How it was made.
            device: Where it was made.

        Raises:
            ConfigError: No base is loaded.
        """
        self.lm.become(make_once(Transfer(recipe, device), Progress(enabled=False)))

    def answer(self, kind: str, batch: list[Instance]) -> list[Any]:
        """Answers to a batch of lm-eval's requests, as JSON holds them; ``kind`` is the name of the model's method."""
        return answered(self.lm, kind, batch)

    def unload(self) -> None:
        """Free the memory."""
        if self.loaded is not None:
            self.loaded = None
            release_memory()
