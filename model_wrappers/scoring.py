"""lm-eval's requests answered by our own loops, where they give what ``hf`` gives: its words around our arithmetic.

Encoding, truncation, stop sequences, thoughts and the cache of answers are lm-eval's; what is computed, and in which
company, is ``pkt_eval.inference``'s.
"""

from collections.abc import Callable, Iterable
from typing import Any

from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from tqdm import tqdm
from transformers import PreTrainedModel

from pkt_eval.inference.budget import bytes_of_token, row_budget
from pkt_eval.inference.greedy import Ending, ending_tokens
from pkt_eval.inference.likelihoods import JudgedText, Likelihood, likelihoods
from pkt_eval.inference.slots import decode
from pkt_eval.model_wrappers.generate import applies, stop_texts
from pkt_eval.models import blocks

_ASKED = {"until", "max_gen_toks", "do_sample", "temperature"}
# What a checkpoint's generation configuration may say without another token being the likeliest one.
_HARMLESS = {
    "bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "temperature", "top_p", "top_k", "min_p", "typical_p",
    "max_length", "use_cache", "cache_implementation", "cache_config", "num_beams",
    "num_return_sequences", "transformers_version", "output_attentions", "output_hidden_states", "output_scores",
    "output_logits", "return_dict_in_generate", "trust_remote_code",
}  # fmt: skip


def known(lm: HFLM) -> bool:
    """Whether a model is a decoder that we know."""
    family = getattr(lm.model.config, "model_type", None) if isinstance(lm.model, PreTrainedModel) else None
    return bool(lm.backend == "causal") and family in blocks.FAMILIES


def shares(lm: HFLM) -> bool:
    """Whether a model's texts can be judged in parts: we know it, and its layers attend to all that comes before."""
    return known(lm) and blocks.full_attention(lm.model)


def batch_rows(lm: HFLM, tokens: int, more: int = 0) -> int:
    """Texts of so many tokens that are computed at a time, where a token takes ``more`` bytes than its cache."""
    if lm.batch_size != "auto":
        return int(lm.batch_size)
    return row_budget(lm.model).of_texts(tokens, bytes_of_token(lm.model) + more)


def greedy(lm: HFLM, options: dict[str, Any]) -> bool:
    """Whether these requests ask for the likeliest tokens and for nothing else."""
    own = {k for k, v in lm.model.generation_config.to_diff_dict().items() if v is not None and not k.startswith("_")}
    return set(options) <= _ASKED and own <= _HARMLESS and applies(lm.model, options)


def generate(lm: HFLM, requests: list[Any], quiet: bool, note: Callable[[list[Ending]], None]) -> list[str]:
    """Answers to requests which all ask with the same options; the longest prompts begin.

    Args:
        lm: A model that is ``known``.
        requests: lm-eval's ``generate_until``, of the same options, which are ``greedy``.
        quiet: No bar.
        note: Called with how an answer ended, before it is kept.
    """
    options = normalize_gen_kwargs(dict(requests[0].args[1]), lm.max_gen_toks)
    eos = lm.tok_decode(lm.eot_token_id, skip_special_tokens=False)
    until, most = handle_stop_sequences(options.pop("until", None), eos=eos), options.pop("max_gen_toks")
    prompts = [_encoded(lm, request.args[0], lm.max_length - most) for request in requests]
    order = sorted(range(len(requests)), key=lambda i: (-len(prompts[i]), requests[i].args[0]))
    texts: list[str] = [""] * len(requests)
    with tqdm(total=len(requests), disable=quiet, desc="Running generate_until requests") as bar:
        said = decode(
            lm.model,
            [prompts[i] for i in order],
            slots=batch_rows(lm, max(map(len, prompts)) + most),
            most=most,
            stops=ending_tokens(lm.model, lm.eot_token_id),
            ended=stop_texts(lm.tokenizer, until),
        )
        for place, tokens, ending in said:
            i = order[place]
            note([ending])
            texts[i] = _text(lm, tokens, until)
            lm.cache_hook.add_partial("generate_until", requests[i].args, texts[i])
            bar.update(1)
    return texts


def judge_texts(lm: HFLM, requests: list[Any], size: int | None, quiet: bool) -> list[Likelihood]:
    """Log-likelihoods of lm-eval's encoded requests: texts, tokens of the prompt, tokens of the continuation.

    Args:
        lm: A model that ``shares``.
        requests: The encoded requests.
        size: Texts that are computed at a time; None: the model's own batch size.
        quiet: No bar.
    """
    texts = [_judged(lm, context, continuation) for _, context, continuation in requests]
    with tqdm(total=len(requests), disable=quiet, desc="Running loglikelihood requests") as bar:
        longest = max((len(text.context) + len(text.targets) for text in texts), default=1)
        found = likelihoods(
            lm.model, texts, rows=size or batch_rows(lm, longest), dtype=lm.softmax_dtype, done=bar.update
        )
    for (asked, *_), answer in zip(requests, found, strict=True):
        if asked is not None:  # lm-eval keeps the windows of a rolling likelihood together, by itself
            lm.cache_hook.add_partial("loglikelihood", asked, answer)
    return found


def _encoded(lm: HFLM, prompt: str, most: int) -> list[int]:
    ids, mask = lm.tok_batch_encode([prompt], left_truncate_len=most, truncation=lm.truncation)
    tokens: list[int] = ids[mask.bool()].tolist()
    return tokens


def _judged(lm: HFLM, context: list[int], continuation: list[int]) -> JudgedText:
    """As ``hf``, a text that is too long loses its beginning."""
    most = lm.max_length + 1 - len(continuation)
    return JudgedText(tuple(context[-most:]), tuple(continuation))


def _text(lm: HFLM, tokens: list[int], until: list[str]) -> str:
    """An answer's text, without its stop and the thoughts before it, as ``hf``."""
    end: Any = lm.think_end_token
    thought = isinstance(end, int) and end in tokens
    if thought:
        tokens = tokens[len(tokens) - tokens[::-1].index(end) :]
    text = lm.tok_decode(tokens)
    return postprocess_generated_text(
        generation=text.lstrip() if thought else text, stop=until, think_end_token=end if isinstance(end, str) else None
    )


def alike(requests: Iterable[Any]) -> list[list[int]]:
    """Indices of requests that ask with the same options."""
    groups: dict[str, list[int]] = {}
    for i, request in enumerate(requests):
        groups.setdefault(repr(sorted(request.args[1].items())), []).append(i)
    return list(groups.values())
