"""Scores a model on the four nano benchmarks, for the card: what the lm-eval tasks ask and accept, without lm-eval.

By how the table says that a benchmark is scored: the four letters after ``The answer is:`` are compared; the number
that a greedy answer announces is compared with the reference's; the tests are run on the program in a greedy answer.
"""

from collections.abc import Sequence

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from pkt_eval.code import extract_code, judge_many
from pkt_eval.data.benchmarks import Benchmark, benchmark, benchmarks
from pkt_eval.data.numbers import announced_number, final_number, same_number
from pkt_eval.data.records import assistant_turn, user_turn
from pkt_eval.data.rows import Row
from pkt_eval.data.sources import load_rows
from pkt_eval.data.wording import CHOICE_ANSWER, LETTERS
from pkt_eval.nano_training.tokenizer import chat_prompt

BATCH = 100
NEW_TOKENS = {"number": 64, "code": 96}
"""How long an answer may get, by what it is."""


def prompts(name: str, items: Sequence[Row], chat: bool = True) -> list[str]:
    """What a model continues: the user's turn and, where a letter is asked for, the beginning of the answer."""
    start = CHOICE_ANSWER if benchmark(name).scoring == "choice" else ""
    texts = [user_turn(name, row) for row in items]
    return [(chat_prompt(text) if chat else f"{text}\n") + start for text in texts]


@torch.no_grad()
def score_model(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    name: str,
    count: int | None = None,
    chat: bool = True,
    split: str = "test",
) -> list[bool]:
    """Which items of a nano benchmark the model answers correctly, greedily.

    Args:
        model: A causal language model in evaluation mode.
        tokenizer: Its tokenizer, padding on the left.
        name: Of the nano benchmark.
        count: The first so many items only.
        chat: With the chat template's markers, or as plain text.
        split: The split to take the items from.

    Returns:
        One truth value an item.
    """
    items = load_rows(name, split)[:count]
    texts = prompts(name, items, chat)
    order = sorted(range(len(items)), key=lambda i: len(texts[i]))  # similar lengths pad little
    right = [False] * len(items)
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        verdicts = _judge(model, tokenizer, benchmark(name), [items[i] for i in places], [texts[i] for i in places])
        for place, verdict in zip(places, verdicts, strict=True):
            right[place] = verdict
    return right


def _judge(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, asked: Benchmark, items: list[Row], texts: list[str]
) -> list[bool]:
    inputs = tokenizer(texts, return_tensors="pt", padding=True)
    if asked.scoring == "choice":
        letters = [tokenizer.encode(f" {letter}")[0] for letter in LETTERS]
        logits = model(**inputs, logits_to_keep=1).logits[:, -1, letters]  # (B, 4)
        return [int(choice) == row["answer"] for choice, row in zip(logits.argmax(-1), items, strict=True)]
    longest = NEW_TOKENS["code" if asked.code else "number"]
    output = model.generate(**inputs, max_new_tokens=longest, do_sample=False)
    answers = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    if asked.code is None:
        references = [final_number(assistant_turn(asked.name, row)) for row in items]
        said = [announced_number(answer) for answer in answers]
        return [same_number(a or "", b or "") for a, b in zip(said, references, strict=True)]
    jobs = []
    for answer, row in zip(answers, items, strict=True):
        code = asked.code
        program = extract_code(answer, prompt=code.prompt(row) or None, entry_point=code.entry_point(row))
        jobs.append(code.job(row, program))
    return [verdict.passed for verdict in judge_many(jobs)]


def score_all(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, count: int | None = None, chat: bool = True
) -> dict[str, list[bool]]:
    """Kind of each nano benchmark → ``score_model`` on it."""
    return {row.kind: score_model(model, tokenizer, row.name, count, chat) for row in benchmarks("nano")}
