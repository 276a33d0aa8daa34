"""The hub, where it does not answer: libraries try again for half a minute; one question tells it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any


@contextmanager
def offline_if_unreachable(*names: object) -> Iterator[None]:
    """Put the hub's client in offline mode for the body of a ``with`` when the hub does not answer.

    Args:
        names: What is to be opened, by path or hub name; where all of them are here, nobody asks the hub. None given:
            it is asked.
    """
    import huggingface_hub.constants

    here = names and all(name is None or _is_here(str(name)) for name in names)
    if here or huggingface_hub.constants.HF_HUB_OFFLINE or hub_answers():
        yield
        return
    settings: list[Any] = [huggingface_hub.constants]
    if "datasets.config" in sys.modules:  # it has read the setting when it was imported
        settings.append(sys.modules["datasets.config"])
    before = [module.HF_HUB_OFFLINE for module in settings]
    try:
        for module in settings:
            module.HF_HUB_OFFLINE = True
        yield
    finally:
        for module, value in zip(settings, before, strict=True):
            module.HF_HUB_OFFLINE = value


def _is_here(name: str) -> bool:
    try:
        return Path(name).exists()
    except OSError:  # too long for a path
        return False


@lru_cache(maxsize=1)
def hub_answers(timeout: float = 5.0) -> bool:
    """Whether the hub (``HF_ENDPOINT``, through any proxy) answers within ``timeout`` seconds; asked once."""
    import requests
    from huggingface_hub.constants import ENDPOINT

    try:
        requests.head(ENDPOINT, timeout=timeout)
    except requests.RequestException:
        return False
    return True
