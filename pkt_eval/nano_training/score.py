"""Scores a model on the four nano benchmarks, for the card: what the lm-eval tasks ask and accept, without lm-eval.

MMLU compares the four letters after ``The answer is:``; GSM8K reads the number after ``####`` of a greedy
answer; the code benchmarks run the tests on the program in a greedy answer.
"""

import re
from collections.abc import Sequence
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from pkt_eval.code import extract_code, judge_many
from pkt_eval.data.records import code_job, entry_point, user_turn
from pkt_eval.data.wording import CHOICE_ANSWER, LETTERS
from pkt_eval.nano.benchmarks import MAKERS, rows
from pkt_eval.nano_training.tokenizer import chat_prompt

Row = dict[str, Any]  # as the benchmark has it

BATCH = 100
NEW_TOKENS = {"gsm8k": 64, "humaneval": 96, "mbpp": 96}


def prompts(name: str, items: Sequence[Row], chat: bool = True) -> list[str]:
    """What a model continues: the user's turn and, for mmlu, the beginning of the answer."""
    start = CHOICE_ANSWER if name == "mmlu" else ""
    texts = [user_turn(f"nano_{name}", row) for row in items]
    return [(chat_prompt(text) if chat else f"{text}\n") + start for text in texts]


@torch.no_grad()
def score(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    name: str,
    count: int | None = None,
    chat: bool = True,
    split: str = "test",
) -> list[bool]:
    """Which items of a nano benchmark the model answers correctly, greedily.

    Args:
        model: a causal language model in evaluation mode.
        tokenizer: its tokenizer, padding on the left.
        name: a key of ``MAKERS``.
        count: the first so many items only.
        chat: with the chat template's markers, or as plain text.
        split: the split to take the items from.

    Returns:
        One truth value an item.
    """
    items = rows(name, split)[:count]
    texts = prompts(name, items, chat)
    order = sorted(range(len(items)), key=lambda i: len(texts[i]))  # similar lengths pad little
    right = [False] * len(items)
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        verdicts = _judge(model, tokenizer, name, [items[i] for i in places], [texts[i] for i in places])
        for place, verdict in zip(places, verdicts, strict=True):
            right[place] = verdict
    return right


def _judge(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, name: str, items: list[Row], texts: list[str]
) -> list[bool]:
    inputs = tokenizer(texts, return_tensors="pt", padding=True)
    if name == "mmlu":
        letters = [tokenizer.encode(f" {letter}")[0] for letter in LETTERS]
        logits = model(**inputs, logits_to_keep=1).logits[:, -1, letters]  # (B, 4)
        return [int(choice) == row["answer"] for choice, row in zip(logits.argmax(-1), items, strict=True)]
    output = model.generate(**inputs, max_new_tokens=NEW_TOKENS[name], do_sample=False)
    answers = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    if name == "gsm8k":
        said = [re.search(r"#### (-?\d+)", answer) for answer in answers]
        gold = [row["answer"].split("#### ")[1] for row in items]
        return [match is not None and match[1] == number for match, number in zip(said, gold, strict=True)]
    jobs = [
        code_job(
            f"nano_{name}",
            row,
            extract_code(answer, prompt=row.get("prompt"), entry_point=entry_point(f"nano_{name}", row)),
        )
        for answer, row in zip(answers, items, strict=True)
    ]
    return [verdict.passed for verdict in judge_many(jobs)]


def score_all(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, count: int | None = None, chat: bool = True
) -> dict[str, list[bool]]:
    """``score`` on every benchmark."""
    return {name: score(model, tokenizer, name, count, chat) for name in MAKERS}
