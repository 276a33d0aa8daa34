"""peft's own initialisations of a LoRA, as starts: the code is peft's, and the base stays as it is.

peft subtracts a start that is not zero from the base. Here each layer is initialised on a copy of its weight in
float32, one after the other, and only the product is kept: what it is subtracted from is said in ``adapter``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from pkt_eval._util.lazy import torch
from pkt_eval.data.chat import collate
from pkt_eval.data.transfer_data import Example
from pkt_eval.errors import DataError
from pkt_eval.models import blocks
from pkt_eval.tune.adapter import Factors, quiet_peft
from pkt_eval.tune.loss import supervised_loss

Init = Literal["pissa", "olora", "orthogonal", "mica", "eva", "corda_ipm", "corda_kpm", "lora_ga"]
READING: frozenset[Init] = frozenset({"eva", "corda_ipm", "corda_kpm", "lora_ga"})
"""Those that read examples."""

_ADAPTER = "default"
_TOKENS = 512  # of a batch, at least


def peft_start(
    model: Any, names: Sequence[str], init: Init, rank: int, seed: int, examples: Sequence[Example]
) -> dict[str, Factors]:
    """The products of an initialisation, at a scale of 1.

    Args:
        model: The base, loaded; it is left as found.
        names: Of the linear modules.
        init: Which.
        rank: Of the products.
        seed: Of what is drawn at random.
        examples: That the initialisation reads, if it reads any.

    Returns:
        Module name → ``(B, A)``, float32 on the CPU.

    Raises:
        DataError: The examples are too few.
    """
    from peft import EvaConfig, LoraConfig, LoraGAConfig
    from peft.tuners.lora.config import CordaConfig

    kind = init.partition("_")[0] if init.startswith("corda") else init
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=sorted(names),
        init_lora_weights=kind,
        # With ρ > 1 ranks would move between layers, and with them the number of parameters.
        eva_config=EvaConfig(rho=1.0, use_label_mask=False) if kind == "eva" else None,
        corda_config=CordaConfig(corda_method="kpm" if init == "corda_kpm" else "ipm") if kind == "corda" else None,
        lora_ga_config=LoraGAConfig() if kind == "lora_ga" else None,
    )
    devices = [model.device.index or 0] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), quiet_peft():
        torch.manual_seed(seed)
        if kind == "eva":
            return _eva(model, config, examples)
        if kind == "corda":
            _read_for_corda(model, config, examples)
        elif kind == "lora_ga":
            _read_for_lora_ga(model, config, examples)
        return {name: _initialised(model.get_submodule(name), config) for name in names}


def _initialised(module: Any, config: Any) -> Factors:
    """A layer's product by peft's own code, on a copy of its weight; what was read for it is taken from the layer."""
    from peft.tuners.lora import Linear

    copy = torch.nn.Linear(module.in_features, module.out_features, bias=False, device="meta")
    copy.weight = torch.nn.Parameter(module.weight.detach().float().clone(), requires_grad=False)
    for read in ("eigens", "_peft_loraga_grad"):
        if hasattr(module, read):
            setattr(copy, read, getattr(module, read))
            delattr(module, read)
    layer = Linear(copy, _ADAPTER, config, r=config.r, lora_alpha=config.lora_alpha)
    B, A = (part[_ADAPTER].weight.detach().float().cpu().clone() for part in (layer.lora_B, layer.lora_A))
    return B, A


def _eva(model: Any, config: Any, examples: Sequence[Example]) -> dict[str, Factors]:
    """``A``: the principal directions of a layer's inputs; ``B`` is zero."""
    from peft import get_eva_state_dict

    batches = list(_batches(examples, max(_TOKENS, 4 * config.r)))
    # peft goes on until the directions stand still, and skips a batch of too few tokens for ever.
    if not batches or min(int(b["attention_mask"].sum()) for b in batches) < config.r:
        raise DataError(
            f"rank={config.r} asks for as many tokens in {len(examples)} train records, and they have fewer"
        )
    components = get_eva_state_dict(model, batches, config, forward_fn=_body, show_progress_bar=False)
    return {
        name: (torch.zeros(model.get_submodule(name).out_features, config.r), A.float().cpu().clone())
        for name, A in components.items()
    }


def _read_for_corda(model: Any, config: Any, examples: Sequence[Example]) -> None:
    """Leaves in each layer the directions of its weight times the covariance of its inputs."""
    from peft.tuners.lora.corda import preprocess_corda

    def run() -> None:
        for example in examples:  # one at a time: peft takes a batch for one text
            _body(model, collate([example], 0))

    preprocess_corda(model, config, run)


def _read_for_lora_ga(model: Any, config: Any, examples: Sequence[Example]) -> None:
    """Leaves in each layer the mean gradient of its weight."""
    from peft.tuners.lora.loraga import preprocess_loraga

    def step() -> None:
        for batch in _batches(examples, _TOKENS):
            loss, count = supervised_loss(model, {name: t.to(model.device) for name, t in batch.items()})
            torch.autograd.backward(loss / count)

    with _no_gradients_kept(model):
        preprocess_loraga(model, config, step)


@torch.no_grad()
def _body(model: Any, batch: Mapping[str, torch.Tensor]) -> None:
    """A pass without the head, whose logits nobody reads."""
    blocks.decoder(model)(
        input_ids=batch["input_ids"].to(model.device),
        attention_mask=batch["attention_mask"].to(model.device),
        use_cache=False,
    )


def _batches(examples: Sequence[Example], tokens: int) -> Iterator[dict[str, torch.Tensor]]:
    """Examples in their order, so many together as have ``tokens``; the last batch has the rest besides."""
    groups: list[list[Example]] = [[]]
    for example in examples:
        if sum(len(e["input_ids"]) for e in groups[-1]) >= tokens:
            groups.append([])
        groups[-1].append(example)
    if len(groups) > 1 and sum(len(e["input_ids"]) for e in groups[-1]) < tokens:
        groups[-2] += groups.pop()
    return (collate(group, 0) for group in groups if group)


@contextmanager
def _no_gradients_kept(model: Any) -> Iterator[None]:
    """peft restores who asks for gradients, not whether the model was in eval mode before an error."""
    flags: list[tuple[Any, bool]] = [(p, p.requires_grad) for p in model.parameters()]
    try:
        yield
    finally:
        model.eval()
        for parameter, flag in flags:
            parameter.requires_grad_(flag)
            parameter.grad = None
