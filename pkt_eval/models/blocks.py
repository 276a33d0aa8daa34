"""The parts of a decoder under names that do not depend on its family: the only file that knows architectures.

A *block* is one weight matrix of a decoder layer: ``up``, ``gate``, ``down``, ``q``, ``k``, ``v``, ``o``. All weights
are ``(out, in)``. The other parts are found by functions: the layers, their attention and norms, and what lies between
the last layer and the logits. A family whose parts have other names gets its differences here and nowhere else.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pkt_eval.errors import ConfigError, IncompatiblePairError

if TYPE_CHECKING:  # names and sizes are asked for where torch is not loaded
    from torch import Tensor
    from torch.nn import Module

# Every supported family names its submodules alike; a family that does not gets a column of its own here.
_MODULES = {
    "up": "model.layers.{layer}.mlp.up_proj",
    "gate": "model.layers.{layer}.mlp.gate_proj",
    "down": "model.layers.{layer}.mlp.down_proj",
    "q": "model.layers.{layer}.self_attn.q_proj",
    "k": "model.layers.{layer}.self_attn.k_proj",
    "v": "model.layers.{layer}.self_attn.v_proj",
    "o": "model.layers.{layer}.self_attn.o_proj",
}
BLOCKS = tuple(_MODULES)

#: ``model_type`` of the configurations whose layers are laid out as above (each has a test).
FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2")

_LAYER = re.compile(r"model\.layers\.(\d+)\.")


@dataclass(frozen=True)
class Dims:
    """The sizes of a decoder that decide what fits into what.

    Attributes:
        layers: Number of decoder layers ``L``.
        hidden: Width of the residual stream ``d``.
        ffn: Width of the feed-forward network ``f``.
        heads: Query heads ``h``.
        kv_heads: Key/value heads ``g``.
        head_dim: Size of a head ``e`` (``h·e`` need not equal ``d``).
        vocab: Rows of the embedding ``V``, padding included.
    """

    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int

    def shape(self, block: str) -> tuple[int, int]:
        """Shape ``(out, in)`` of a block's weight."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "up": (self.ffn, self.hidden),
            "gate": (self.ffn, self.hidden),
            "down": (self.hidden, self.ffn),
            "q": (q, self.hidden),
            "k": (kv, self.hidden),
            "v": (kv, self.hidden),
            "o": (self.hidden, q),
        }[block]


def dims(config: Any) -> Dims:
    """Read the sizes out of a transformers configuration.

    Raises:
        IncompatiblePairError: The family is unknown; the message names it and the known ones.
    """
    if getattr(config, "model_type", None) not in FAMILIES:
        raise IncompatiblePairError(
            f"model family {getattr(config, 'model_type', None)!r} of {getattr(config, '_name_or_path', '') or '?'} is "
            f"not supported; known families: {', '.join(FAMILIES)}. A family with Llama's layout is one word in "
            "pkt_eval/models/blocks.py."
        )
    heads = config.num_attention_heads
    return Dims(
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        ffn=config.intermediate_size,
        heads=heads,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        vocab=config.vocab_size,
    )


def check_blocks(names: Iterable[str]) -> tuple[str, ...]:
    """Return the block names as a tuple, in the order given.

    Raises:
        ConfigError: A name is unknown or stands twice, or there is none.
    """
    names = tuple(names)
    unknown = [n for n in names if n not in _MODULES]
    if unknown or not names or len(set(names)) != len(names):
        raise ConfigError(f"modules={'+'.join(names)!r}: expected distinct names out of {', '.join(BLOCKS)}")
    return names


def module_name(block: str, layer: int) -> str:
    """Full name of the ``nn.Linear`` that holds a block, e.g. ``model.layers.3.mlp.up_proj``."""
    return _MODULES[block].format(layer=layer)


def layer_name(layer: int) -> str:
    """Full name of a decoder layer, e.g. ``model.layers.3``."""
    return f"model.layers.{layer}"


def weight_name(block: str, layer: int) -> str:
    """Full parameter name of a block, e.g. ``model.layers.3.mlp.up_proj.weight``."""
    return module_name(block, layer) + ".weight"


def layer_of(name: str) -> int:
    """Layer index in a full parameter or module name.

    Raises:
        ConfigError: The name belongs to no decoder layer.
    """
    match = _LAYER.search(name)
    if not match:
        raise ConfigError(f"{name!r} is not the name of a parameter in a decoder layer")
    return int(match.group(1))


def block(model: Any, name: str, layer: int) -> "Module":
    """The ``nn.Linear`` that holds a block of a loaded model."""
    return model.get_submodule(module_name(name, layer))


def decoder(model: Any) -> "Module":
    """The model without its output embedding: ids to the residual stream behind the final norm."""
    return model.model


def layers(model: Any) -> "list[Module]":
    """The decoder layers, in depth order; each takes the residual stream as its first argument and returns it."""
    return list(model.model.layers)


def attention(layer: Any) -> "Module":
    """The attention of a layer; with eager attention the second thing that it returns are its weights
    ``(B, h, T, T)``.
    """
    return layer.self_attn


def ffn_activation(layer: Any) -> "Callable[[Tensor], Tensor]":
    """The nonlinearity of a layer's gate: ``m = activation(gate·x) ∘ (up·x)``."""
    return layer.mlp.act_fn


def norm_before_ffn(layer: Any) -> "Module":
    """The norm whose input is the residual stream between attention and FFN.

    Llama calls it post_attention_layernorm, a name under which Gemma 2 norms the attention's output instead.
    """
    return getattr(layer, "pre_feedforward_layernorm", None) or layer.post_attention_layernorm


def norm_after_attention(layer: Any) -> "Module | None":
    """The norm of the attention's output before it is added to the stream; Gemma 2 alone has one."""
    return layer.post_attention_layernorm if hasattr(layer, "pre_feedforward_layernorm") else None


def norm_after_ffn(layer: Any) -> "Module | None":
    """The norm of the FFN's output before it is added to the stream; Gemma 2 alone has one."""
    return getattr(layer, "post_feedforward_layernorm", None)


def final_norm(model: Any) -> "Module":
    """The norm between the last layer and the output embedding."""
    return model.model.norm


def norm_eps(model: Any) -> float:
    """What the model's RMSNorms add to the mean square."""
    return model.config.rms_norm_eps


def norm_gain(norm: Any, eps: float) -> "Tensor":
    """``γ (d,)`` of an RMSNorm in float32, by asking it: families store γ or γ − 1."""
    import torch

    ones = torch.ones(norm.weight.shape, dtype=torch.float32, device=norm.weight.device)
    return norm(ones).float() * (1 + eps) ** 0.5


HEAD = "lm_head.weight"
"""Full parameter name of the output embedding, tied or not."""
EMBEDDING = "model.embed_tokens.weight"
"""Full parameter name of the input embedding."""
FINAL_NORM = "model.norm"
"""Full name of the norm between the last layer and the output embedding."""


def untie(model: Any) -> None:
    """Give the output embedding a weight of its own, so that an edit of it leaves the input embedding alone.

    The configuration says so too: the model is saved, and read, with both.
    """
    from torch.nn import Parameter

    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head.weight is embedding.weight:
        head.weight = Parameter(embedding.weight.detach().clone(), requires_grad=embedding.weight.requires_grad)
    model.config.tie_word_embeddings = False


def unembedding(model: Any) -> "Tensor":
    """The output embedding ``(V, d)``, which may be the input embedding itself."""
    return model.get_output_embeddings().weight.detach()


def logit_cap(model: Any) -> float | None:
    """``c`` of a model whose logits ``t`` are soft-capped to ``c·tanh(t/c)``, as Gemma 2's; None for the others."""
    return getattr(model.config, "final_logit_softcapping", None)


def logits(model: Any, states: "Tensor") -> "Tensor":
    """Logits ``(…, V)`` of states ``(…, d)`` behind the final norm, as the model itself computes them."""
    raw: Tensor = model.get_output_embeddings()(states)
    cap = logit_cap(model)
    return raw if cap is None else cap * (raw / cap).tanh()


def full_attention(model: Any) -> bool:
    """Whether every layer attends to all that comes before, however long it is."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return set(kinds) == {"full_attention"}
    return not (getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True))


def check_fits(teacher: Dims, student: Dims, *, teacher_name: str, student_name: str) -> None:
    """Check that every block of the student can be cut out of the teacher.

    Raises:
        IncompatiblePairError: Some size of the teacher is below the student's; names both sides and the sizes.
    """
    t, s = asdict(teacher), asdict(student)
    # What is cut are matrices: key/value rows are g·e, query rows h·e, so the products count, not the factors.
    for d in (t, s):
        d["heads*head_dim"] = d.pop("heads") * d["head_dim"]
        d["kv_heads*head_dim"] = d.pop("kv_heads") * d.pop("head_dim")
        d.pop("vocab")
    short = [f"{key} {t[key]} < {s[key]}" for key in t if t[key] < s[key]]
    if short:
        raise IncompatiblePairError(
            f"teacher {teacher_name} is smaller than student {student_name} in {'; '.join(short)}. Parametric transfer "
            "goes from the larger model to the smaller: swap teacher= and pretrained=, or choose a larger teacher."
        )
