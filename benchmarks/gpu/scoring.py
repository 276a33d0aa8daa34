"""Scoring a model of Llama-2-7B's shape by our wrapper, against lm-eval's stock ``hf``: generation and likelihoods.

The model counts: after word ``n`` it says word ``n + 1``, since its output embedding is its input embedding moved by
one and its layers, of full cost, add next to nothing. So a prompt's last word decides after how many tokens its answer
meets the stop word, and answers of known lengths are mixed in a batch as real ones are.
"""

import random
import tempfile
from pathlib import Path
from typing import Any

import torch
from part import DEVICE, TINY, VOCABULARY, Part, bare_product, clock, configuration, expect, free, random_model

PROMPTS = 8 if TINY else 64
LENGTH = 24 if TINY else 256
LIMIT = 16 if TINY else 64
STOP = VOCABULARY - 1
DTYPE = torch.bfloat16
WRAPPERS = ("hf", "pkt_vanilla")


def save_folder(folder: Path) -> None:
    """Configuration and tokenizer, a word a token; the weights are not in it."""
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>", "<pad>"]
    words = special + [f"w{i}" for i in range(len(special), STOP)] + ["stop"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = dict(zip(("unk_token", "bos_token", "eos_token", "pad_token"), special, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    config = configuration("7B", dtype=DTYPE, pad_token_id=3)
    config.architectures = ["LlamaForCausalLM"]
    config.save_pretrained(folder)
    save_file({"none": torch.zeros(1)}, folder / "model.safetensors", metadata={"format": "pt"})


def counting_model() -> Any:
    """See the head of this file."""
    model = random_model("7B", DTYPE, pad_token_id=3)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.mul_(1e-4)
            layer.mlp.down_proj.weight.mul_(1e-4)
        model.lm_head.weight.copy_(model.get_input_embeddings().weight.roll(1, 0))
    return model


def lengths() -> list[int]:
    """Tokens of each answer with its stop word: most are short, a few ramble to the limit."""
    dice = random.Random(0)
    return [min(LIMIT, 2 + int(dice.expovariate(4 / LIMIT))) for _ in range(PROMPTS)]


def prompt(dice: random.Random, last: int | None = None, shared: str = "") -> str:
    """Words without meaning, the given one last."""
    count = LENGTH - len(shared.split()) - (last is not None)
    words = [f"w{dice.randrange(8, STOP - LIMIT - 1)}" for _ in range(count)]
    return " ".join([*shared.split(), *words, *([f"w{last}"] if last is not None else [])])


def generations() -> list[Any]:
    """lm-eval's requests, each with as many tokens as it is to write."""
    from lm_eval.api.instance import Instance

    dice = random.Random(1)
    asked = {"until": ["stop"], "max_gen_toks": LIMIT, "do_sample": False}
    return [
        Instance("generate_until", {}, (prompt(dice, STOP - length), asked), i) for i, length in enumerate(lengths())
    ]


def likelihoods(shared: float) -> list[Any]:
    """Questions of four choices of two words each; the questions share so much of their prompt, as few-shot ones do."""
    from lm_eval.api.instance import Instance

    dice = random.Random(2)
    head = " ".join(f"w{dice.randrange(8, STOP)}" for _ in range(int(shared * LENGTH)))
    made = []
    for _ in range(PROMPTS // 4):
        context = prompt(dice, shared=head)
        for choice in range(4):
            made.append(
                Instance("loglikelihood", {}, (context, f" w{100 + choice} w{dice.randrange(8, STOP)}"), choice)
            )
    return made


def timed(lm: Any, kind: str, requests: list[Any]) -> tuple[list[Any], float]:
    """Answers and seconds; a whole pass before warms up every size of batch that answers which end make of one."""
    ask = getattr(lm, kind)
    ask(requests, disable_tqdm=True)
    free()
    start = clock()
    return ask(requests, disable_tqdm=True), clock() - start


def generate(lm: Any, facts: dict[str, Any]) -> None:
    """Tokens of answers a second; each answer must be the words up to its stop."""
    answers, seconds = timed(lm, "generate_until", generations())
    for length, answer in zip(lengths(), answers, strict=True):
        wanted = [f"w{i}" for i in range(STOP - length + 1, STOP)]
        expect(answer.split() == wanted, f"wanted {wanted[:3]}… ({len(wanted)} words), got {answer[:60]!r}")
    facts |= {"prompts": PROMPTS, "answer_tokens": sum(lengths()), "asking_seconds": round(seconds, 3)}
    facts["answer_tokens_a_second"] = round(sum(lengths()) / seconds, 1)


def score(lm: Any, shared: float, facts: dict[str, Any]) -> list[float]:
    """Requests a second."""
    requests = likelihoods(shared)
    answers, seconds = timed(lm, "loglikelihood", requests)
    facts |= {"requests": len(requests), "asking_seconds": round(seconds, 3)}
    facts["requests_a_second"] = round(len(requests) / seconds, 1)
    facts["prompt_tokens_a_second"] = round(len(requests) * (LENGTH + 1) / seconds)
    return [value for value, _ in answers]


def _loaded(model: Any) -> Any:
    """A ``from_pretrained`` that has the model already."""

    def load(_: Any, *__: Any, output_loading_info: bool = False, **___: Any) -> Any:
        return (model, {}) if output_loading_info else model

    return load


def main() -> None:
    """Both wrappers on one model in memory, batch size by batch size."""
    import lm_eval.models  # noqa: F401  registers the models
    from lm_eval.api.registry import get_model
    from transformers import AutoModelForCausalLM

    from pkt_eval.models import source

    part = Part("scoring", "Scoring a model of Llama-2-7B's shape, against stock hf")
    with part.step("the model, bfloat16") as facts:
        model = counting_model()
        facts |= {"parameters": sum(p.numel() for p in model.parameters()), "bare_product_tflops": bare_product()}
    # The folder holds no weights; both wrappers load by this call.
    source.check_folder = lambda folder: None
    AutoModelForCausalLM.from_pretrained = classmethod(_loaded(model))
    with tempfile.TemporaryDirectory() as temporary:
        save_folder(Path(temporary))
        values: dict[tuple[str, str], list[float]] = {}
        for batch in (2, 4) if TINY else (16, 64):
            for name in WRAPPERS:
                lm = get_model(name)(pretrained=temporary, device=DEVICE, dtype="bfloat16", batch_size=batch)
                with part.step(f"generate, batch {batch}: {name}") as facts:
                    generate(lm, facts)
                for shared in (0.0, 0.8):
                    what = f"likelihoods, {shared:.0%} of the prompts shared, batch {batch}"
                    with part.step(f"{what}: {name}") as facts:
                        values[what, name] = score(lm, shared, facts)
                        if name != "hf":
                            pairs = zip(values[what, "hf"], values[what, name], strict=True)
                            facts["share_off_by"] = max(abs(a - b) / max(1.0, abs(a)) for a, b in pairs)
                            # Logits of some tens in bfloat16: steps of 1 in 256.
                            expect(facts["share_off_by"] < 0.02, f"likelihoods are off by {facts['share_off_by']}")
                del lm
                free()
    with part.step("times the speed of hf") as facts:
        facts |= ratios(part.record["steps"])
    part.end()


def ratios(steps: dict[str, Any]) -> dict[str, float]:
    """Our rate over the stock one, by what was asked."""
    made = {}
    for name, ours in steps.items():
        what, _, wrapper = name.rpartition(": ")
        stock = steps.get(f"{what}: hf")
        if wrapper == WRAPPERS[1] and stock and ours["ok"] and stock["ok"]:
            made[what] = round(stock["asking_seconds"] / ours["asking_seconds"], 2)
    return made


if __name__ == "__main__":
    main()
