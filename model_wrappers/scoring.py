"""lm-eval's requests answered by our own loops, where they give what ``hf`` gives: its words around our arithmetic.

Encoding, truncation, stop sequences, thoughts and the cache of answers are lm-eval's; what is computed, and in which
company, is ``slots.py``'s and ``likelihoods.py``'s.
"""

from collections.abc import Callable, Iterable
from typing import Any

from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from tqdm import tqdm
from transformers import PreTrainedModel

from pkt_eval.model_wrappers.generate import applies, stop_texts
from pkt_eval.model_wrappers.likelihoods import JudgedText, Likelihood, likelihoods
from pkt_eval.model_wrappers.slots import greedy_answers
from pkt_eval.models import blocks

_ASKED = {"until", "max_gen_toks", "do_sample", "temperature"}
# What a checkpoint's generation configuration may say without another token being the likeliest one.
_HARMLESS = {
    "bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "temperature", "top_p", "top_k", "min_p", "typical_p",
    "max_length", "max_new_tokens", "use_cache", "cache_implementation", "cache_config", "num_beams",
    "num_return_sequences", "transformers_version", "output_attentions", "output_hidden_states", "output_scores",
    "output_logits", "return_dict_in_generate", "trust_remote_code",
}  # fmt: skip


def shares(lm: HFLM) -> bool:
    """Whether a model's texts can be computed in parts: a decoder that we know, whose layers attend to everything."""
    model = lm.model
    known = isinstance(model, PreTrainedModel) and getattr(model.config, "model_type", None) in blocks.FAMILIES
    return lm.backend == "causal" and known and blocks.full_attention(model)


def greedy(lm: HFLM, options: dict[str, Any]) -> bool:
    """Whether these requests ask for the likeliest tokens and for nothing else."""
    own = {k for k, v in lm.model.generation_config.to_diff_dict().items() if v is not None and not k.startswith("_")}
    return set(options) <= _ASKED and own <= _HARMLESS and applies(lm.model, options)


def generate(
    lm: HFLM, requests: list[Any], slots: int, quiet: bool, note: Callable[[list[int], list[str]], None]
) -> list[str]:
    """Answers to requests which all ask with the same options; the longest prompts begin.

    Args:
        lm: A model that ``shares``.
        requests: lm-eval's ``generate_until``, of the same options, which are ``greedy``.
        slots: Answers that are written at a time.
        quiet: No bar.
        note: Called with the tokens of each answer, and what ends one, before the answer is kept.
    """
    options = normalize_gen_kwargs(dict(requests[0].args[1]), lm.max_gen_toks)
    eos = lm.tok_decode(lm.eot_token_id, skip_special_tokens=False)
    until, most = handle_stop_sequences(options.pop("until", None), eos=eos), options.pop("max_gen_toks")
    prompts = [_encoded(lm, request.args[0], lm.max_length - most) for request in requests]
    order = sorted(range(len(requests)), key=lambda i: (-len(prompts[i]), requests[i].args[0]))
    own = lm.model.generation_config.eos_token_id
    stops = {lm.eot_token_id} if own is None else {*(own if isinstance(own, list) else [own])}
    texts: list[str] = [""] * len(requests)
    with tqdm(total=len(requests), disable=quiet, desc="Running generate_until requests") as bar:
        said = greedy_answers(
            lm.model,
            [prompts[i] for i in order],
            slots=slots,
            most=most,
            stops=stops,
            ended=stop_texts(lm.tokenizer, until),
        )
        for place, tokens in said:
            i = order[place]
            note(tokens, until)
            texts[i] = _text(lm, tokens, until)
            lm.cache_hook.add_partial("generate_until", requests[i].args, texts[i])
            bar.update(1)
    return texts


def judge_texts(lm: HFLM, requests: list[Any], rows: int, quiet: bool) -> list[Likelihood]:
    """Log-likelihoods of lm-eval's encoded requests: texts, tokens of the prompt, tokens of the continuation."""
    texts = [_judged(lm, context, continuation) for _, context, continuation in requests]
    with tqdm(total=len(requests), disable=quiet, desc="Running loglikelihood requests") as bar:
        found = likelihoods(lm.model, texts, rows=rows, dtype=lm.softmax_dtype, done=bar.update)
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
