"""One base model in memory, which becomes one student after the other."""

import gc
from typing import Any

from pkt_eval._util.devices import release_memory
from pkt_eval._util.progress import Progress
from pkt_eval.errors import ConfigError
from pkt_eval.transfer.processes import student_of
from pkt_eval.transfer.recipe import Recipe
from pkt_eval.transfer.transfer import Transfer


class SwitchableModel:
    """Nothing, until a base is loaded.

    Attributes:
        lm: The base under evaluation, of lm-eval's ``hf`` family.
    """

    lm: Any = None

    def load(self, arguments: dict[str, Any]) -> None:
        """Load a base by the arguments of ``pkt_vanilla``; one that was there goes first."""
        from lm_eval.api.registry import get_model

        self.unload()
        self.lm = get_model("pkt_vanilla")(**arguments)

    def become(self, recipe: Recipe, device: str) -> None:
        """Make the base a student, which is in the store by now.

        Args:
            recipe: How it was made.
            device: Where it was made.

        Raises:
            ConfigError: No base is loaded.
        """
        if self.lm is None:
            raise ConfigError("load the base of the student first")
        self.lm.become(student_of(Transfer(recipe, device), Progress(enabled=False)))

    def answer(self, kind: str, batch: list[Any]) -> list[Any]:
        """Answers to a batch of lm-eval's requests, of one kind (the name of the model's method)."""
        return getattr(self.lm, kind)(batch, disable_tqdm=True)

    def unload(self) -> None:
        """Free the memory."""
        self.lm = None
        gc.collect()
        release_memory()
