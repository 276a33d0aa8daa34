"""Whether a model's folder can be a model, seen from its ``config.json`` and the headers of its safetensors alone.

Neither is trusted: sizes are bounded before anything is allocated, and every offset is compared with the file. It costs
milliseconds and comes before any work, so that what is wrong is said in one line and not by a library, after an hour or
from a machine out of memory. Whether the numbers in the weights are numbers is seen when they are loaded.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from pkt_eval._util.json_files import read_json
from pkt_eval.errors import DataError, IncompatiblePairError, MissingDataError
from pkt_eval.models import blocks
from pkt_eval.models.tensors import FLOATS, LARGEST_JSON, header, short, weight_files

_DTYPES = ("float64", "float32", "float16", "bfloat16")
#: Key → the largest value that is believed.
_SIZES = {
    "num_hidden_layers": 10_000,
    "hidden_size": 10**6,
    "intermediate_size": 10**7,
    "num_attention_heads": 10**5,
    "num_key_value_heads": 10**5,
    "head_dim": 10**5,
    "vocab_size": 10**8,
    "max_position_embeddings": 10**9,
}
_MAY_BE_NULL = ("num_key_value_heads", "head_dim")

Shapes = Mapping[str, tuple[int, ...]]


def check_folder(folder: Path) -> None:
    """Check what decides how a model is loaded.

    Args:
        folder: With ``config.json`` and ``*.safetensors``.

    Raises:
        MissingDataError: There is no ``config.json``, or no weights.
        DataError: A file is cut, damaged or no JSON; names it.
        IncompatiblePairError: It is another kind of model than a transfer can edit: says which.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise MissingDataError(f"{folder} is no model: it has no config.json. Give a folder that has, or a hub's name.")
    config = read_json(path, LARGEST_JSON)
    if not isinstance(config, dict):
        raise DataError(f"{path} is no JSON object, so no model's configuration")
    _check_config(path, config)
    shapes = dict(_shapes(folder))
    generation = folder / "generation_config.json"
    # transformers passes over one that it cannot read, and answers by other settings.
    if generation.is_file() and not isinstance(read_json(generation, LARGEST_JSON), dict):
        raise DataError(f"{generation} is no JSON object, so not how a model answers")
    if config.get("model_type") in blocks.FAMILIES:
        _check_shapes(folder, config, shapes)


def _check_config(path: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("model_type")
    if not isinstance(kind, str) or not kind:
        raise DataError(f"{path} names no model_type: it is no configuration of transformers")
    quantised = config.get("quantization_config")
    if quantised is not None:
        by = quantised.get("quant_method") if isinstance(quantised, dict) else quantised
        raise IncompatiblePairError(
            f"the model {path.parent} is quantised (quant_method {by}): its weights cannot be edited. Give the "
            "checkpoint that it was made from, in 16 or 32 bits."
        )
    if config.get("is_encoder_decoder"):
        raise encoder_decoder(path.parent, kind)
    for key, most in _SIZES.items():
        value = config.get(key)
        if key not in config or (value is None and key in _MAY_BE_NULL):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise DataError(f"{path}: {key}={short(value)} is no whole number from 1 to {most:,}")
    heads, groups = config.get("num_attention_heads"), config.get("num_key_value_heads")
    if heads and groups and heads % groups:
        raise DataError(f"{path}: num_attention_heads={heads} is no multiple of num_key_value_heads={groups}")
    for key in ("dtype", "torch_dtype"):
        dtype = config.get(key)
        if dtype is not None and str(dtype).removeprefix("torch.") not in _DTYPES:
            raise DataError(f"{path}: {key}={short(dtype)} is none of {', '.join(_DTYPES)}")


def encoder_decoder(model: object, kind: str) -> IncompatiblePairError:
    """The error for a model that is no decoder."""
    families = ", ".join(blocks.FAMILIES)
    return IncompatiblePairError(
        f"the model {model} is an encoder-decoder ({kind}): transfers are between decoders, such as {families}"
    )


def _shapes(folder: Path) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name → shape of every tensor, from the headers of all files."""
    weight_files(folder)  # says which are missing
    for file in sorted(p for p in folder.glob("*.safetensors") if p.is_file()):
        for tensor in header(file):
            # A mask or a table of positions may be one; a weight that is would be taken for a number without its scale.
            if tensor.dtype not in FLOATS and tensor.name.endswith(".weight"):
                raise IncompatiblePairError(
                    f"{file} has {short(tensor.name)} in {tensor.dtype}, and its config.json says of no quantisation: "
                    "give the checkpoint that it was made from, in 16 or 32 bits."
                )
            yield tensor.name, tensor.shape


def _check_shapes(folder: Path, config: Mapping[str, Any], shapes: Shapes) -> None:
    """The blocks of every layer against the configuration, which decides how much is allocated."""
    needed = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "vocab_size")
    if any(key not in config for key in needed):  # transformers has defaults
        return
    heads = config["num_attention_heads"]
    dims = blocks.Dims(
        layers=config["num_hidden_layers"],
        hidden=config["hidden_size"],
        ffn=config["intermediate_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        vocab=config["vocab_size"],
    )
    # Each family has a default of its own for a key that is not there.
    known = "num_key_value_heads" in config and ("head_dim" in config or config["model_type"] in ("llama", "qwen2"))
    for layer in range(dims.layers):
        for block in blocks.BLOCKS:
            name = blocks.weight_name(block, layer)
            if name not in shapes:
                _refuse(folder, "lacks tensors that its config.json asks for:", name)
            if shapes[name] != dims.shape(block) and (known or block in ("up", "gate", "down")):
                _refuse(folder, "has tensors of another shape than its config.json asks for:", name)
    if (embedding := shapes.get("model.embed_tokens.weight")) and embedding != (dims.vocab, dims.hidden):
        _refuse(folder, "has tensors of another shape than its config.json asks for:", "model.embed_tokens.weight")


def _refuse(folder: Path, what: str, name: str) -> NoReturn:
    raise IncompatiblePairError(f"the model {folder} {what} {name}. Get the checkpoint anew, or mend its config.json.")
