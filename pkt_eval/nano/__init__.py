"""The nano family: two small Llama models and four small benchmarks that come with the package.

Everything here works offline, on two CPU cores, in seconds; importing it loads neither torch nor weights.
"""

from pathlib import Path

from pkt_eval.errors import MissingDataError

ROLES = ("teacher", "student")


def model_path(role: str) -> str:
    """The folder of an embedded model, for ``AutoModelForCausalLM.from_pretrained``.

    Args:
        role: ``"teacher"`` or ``"student"``.

    Returns:
        An absolute path.

    Raises:
        MissingDataError: there is no such role, or its folder was not installed.
    """
    if role not in ROLES:
        raise MissingDataError(f"no nano model {role!r}; there are {', '.join(ROLES)}")
    folder = Path(__file__).parent / "weights" / role
    if not (folder / "model.safetensors").is_file():
        raise MissingDataError(f"{folder} holds no weights; make them with: python -m pkt_eval.nano_training.train")
    return str(folder)
