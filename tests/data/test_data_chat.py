"""Training ids are scoring ids, for several tokenizers, in ``transformers`` and in lm-eval's own HF model."""

import copy
import os
import re
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pkt_eval.data.chat import IGNORE, ChatFormat, adds_bos, collate
from pkt_eval.errors import ConfigError, DataError

USER = "The following are questions about physics.\n\nWhy?\nA. a\nB. b\nAnswer:"
RECORDS = [
    {"messages": [{"role": "user", "content": USER}, {"role": "assistant", "content": answer}]}
    for answer in (
        "The answer is: C",
        "Answer: 48/2 = 24. So the answer is 24.",
        "```python\ndef f(x):\r\n    return  x \n",
        "  leading space",
        "☃ → ünï",
    )
]
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As Llama 2's: BOS in the template, content stripped, a space before the answer.
LLAMA2 = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + message['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)


@lru_cache
def _bpe(bos: bool) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>", "<pad>"]
    text = [message["content"] for record in RECORDS for message in record["messages"]] * 3
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*text, "<|user|>\n\n\n<|assistant|>\n"], trainer)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", chat_template=CHATML
    )


@lru_cache
def _real(name: str):
    root = os.environ.get("PKT_EVAL_MODELS")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"PKT_EVAL_MODELS does not name a folder with {name}")
    return AutoTokenizer.from_pretrained(Path(root) / name)


@lru_cache
def _nano():
    """A tokenizer made as the nano family's, whose ``<|user|>`` is a special token."""
    from pkt_eval.nano_training.tokenizer import train_tokenizer

    return train_tokenizer([message["content"] for record in RECORDS for message in record["messages"]])


TOKENIZERS = {
    "bpe": lambda: _bpe(bos=False),
    "bpe_bos": lambda: _bpe(bos=True),
    "nano": _nano,
    "qwen": lambda: _real("qwen-0.5b"),
    "smollm2": lambda: _real("smollm2"),
}


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    loaded = TOKENIZERS[request.param]()
    template = loaded.chat_template
    yield loaded
    loaded.chat_template = template


@pytest.fixture(params=["paper", "model"])
def chat_format(request) -> ChatFormat:
    return ChatFormat(request.param)


def _carried(tokenizer, chat_format):
    """The tokenizer as a student of this format has it."""
    tokenizer.chat_template = chat_format.template(tokenizer)
    return tokenizer


@pytest.mark.parametrize("record", RECORDS)
def test_prompt_plus_answer_tokenises_to_the_training_ids(tokenizer, chat_format, record):
    encoded = chat_format.encode(tokenizer, record)
    user, assistant = record["messages"]
    student = _carried(tokenizer, chat_format)
    prompt = student.apply_chat_template([user], add_generation_prompt=True, tokenize=False)
    text = prompt + assistant["content"]
    # BOS comes from the template or from the tokenizer, never from both.
    add = not (student.bos_token and text.startswith(student.bos_token))
    ids = student.encode(text, add_special_tokens=add)
    assert encoded["input_ids"] == [*ids, student.eos_token_id]

    answer = [i for i, label in zip(encoded["input_ids"], encoded["labels"], strict=True) if label != IGNORE]
    # A token that merges the prompt's last newline with the answer's first spaces belongs to the answer.
    assert student.decode(answer).lstrip() == (assistant["content"] + student.eos_token).lstrip()
    assert encoded["labels"][-len(answer) :] == answer


def test_there_is_one_bos_where_the_tokenizer_uses_one(tokenizer, chat_format):
    ids = chat_format.encode(tokenizer, RECORDS[0])["input_ids"]
    if adds_bos(tokenizer):
        assert ids[0] == tokenizer.bos_token_id and ids.count(tokenizer.bos_token_id) == 1
    else:
        assert "bos_token" not in ChatFormat("paper").template(tokenizer)


def test_paper_text_is_the_papers(tokenizer):
    encoded = ChatFormat("paper").encode(tokenizer, RECORDS[0])["input_ids"]
    ids = encoded[1:] if adds_bos(tokenizer) else encoded
    assert tokenizer.decode(ids) == f"<|user|>\n{USER}\n\n<|assistant|>\nThe answer is: C{tokenizer.eos_token}"


def test_paper_template_with_a_system_message_and_several_turns():
    student = _carried(copy.deepcopy(_bpe(bos=True)), ChatFormat("paper"))
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "1?"},
        {"role": "assistant", "content": "one"},
        {"role": "user", "content": "2?"},
    ]
    start = "<s><|system|>\nBe brief.\n\n<|user|>\n1?\n\n<|assistant|>\none</s>\n<|user|>\n2?\n\n"
    render = student.apply_chat_template
    assert render(messages, tokenize=False) == start
    assert render(messages, tokenize=False, add_generation_prompt=True) == start + "<|assistant|>\n"
    prefixed = [*messages, {"role": "assistant", "content": "The answer is:"}]
    assert render(prefixed, tokenize=False, continue_final_message=True) == start + "<|assistant|>\nThe answer is:"
    assert render(prefixed, tokenize=False) == start + "<|assistant|>\nThe answer is:</s>"


def test_lm_eval_sees_the_training_ids(tokenizer, chat_format):
    """What lm-eval's HF model scores for a multiple-choice item with an answer prefix, and generates from."""
    from lm_eval.models.huggingface import HFLM

    record = RECORDS[0]
    encoded = chat_format.encode(tokenizer, record)
    student = _carried(tokenizer, chat_format)
    config = LlamaConfig(
        vocab_size=len(student),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
    )
    lm = HFLM(pretrained=LlamaForCausalLM(config), tokenizer=student, device="cpu", batch_size=1)
    user = record["messages"][0]
    prefix = {"role": "assistant", "content": "The answer is:"}
    context = lm.apply_chat_template([user, prefix], add_generation_prompt=False)
    whole, letter = lm._encode_pair(context, " C")
    assert whole + letter == encoded["input_ids"][:-1]
    assert encoded["labels"][-1 - len(letter) :] == [*letter, student.eos_token_id]

    generation = lm.apply_chat_template([user])
    batch, _ = lm.tok_batch_encode([generation])
    start = encoded["labels"].count(IGNORE)
    assert batch[0].tolist() == encoded["input_ids"][:start]


def test_a_template_that_spaces_and_strips_is_followed():
    tokenizer = copy.deepcopy(_bpe(bos=True))
    tokenizer.chat_template = LLAMA2
    record = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So.\n"}]}
    encoded = ChatFormat("model").encode(tokenizer, record)
    assert tokenizer.decode(encoded["input_ids"]) == "<s>[INST] Why? [/INST] So.</s>"


def test_loss_on_all_tokens(tokenizer):
    encoded = ChatFormat().encode(tokenizer, RECORDS[0], loss_on="all")
    assert encoded["labels"] == encoded["input_ids"]


@pytest.mark.parametrize("bos", [False, True])
def test_long_records_are_cut_by_the_rule(bos):
    tokenizer, chat = _bpe(bos), ChatFormat()
    whole = chat.encode(tokenizer, RECORDS[1])
    total, supervised = len(whole["input_ids"]), sum(label != IGNORE for label in whole["labels"])
    assert chat.encode(tokenizer, RECORDS[1], max_length=total) == whole
    for length in range(4, total):
        cut = chat.encode(tokenizer, RECORDS[1], max_length=length)
        prompt = cut["labels"].count(IGNORE)
        assert len(cut["input_ids"]) == len(cut["labels"]) == length
        assert prompt == min(total - supervised, max(length - supervised, length // 2))
        assert cut["input_ids"][prompt:] == whole["input_ids"][total - supervised :][: length - prompt]
        inner = cut["input_ids"][1:prompt] if bos else cut["input_ids"][:prompt]
        assert inner == whole["input_ids"][total - supervised - len(inner) : total - supervised]
        assert (cut["input_ids"][0] == tokenizer.bos_token_id) == bos


def test_cuts_are_counted(caplog):
    tokenizer = _bpe(False)
    lengths = sorted(len(ChatFormat().encode(tokenizer, record)["input_ids"]) for record in RECORDS)
    encoded = ChatFormat().encode_all(tokenizer, RECORDS, max_length=lengths[2])
    assert len(encoded) == len(RECORDS)
    longer = sum(length > lengths[2] for length in lengths)
    assert longer and f"{longer} of {len(RECORDS)} records" in caplog.text


def test_collate_pads_on_the_right():
    batch = collate([{"input_ids": [1, 2], "labels": [IGNORE, 2]}, {"input_ids": [3], "labels": [3]}], pad_id=9)
    assert batch["input_ids"].tolist() == [[1, 2], [3, 9]]
    assert batch["labels"].tolist() == [[IGNORE, 2], [3, IGNORE]]
    assert batch["attention_mask"].tolist() == [[1, 1], [1, 0]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"messages": []},
        {"messages": [{"role": "user", "content": "a"}]},
        {"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]},
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": " \n"}]},
        {"messages": [{"role": "user", "content": None}, {"role": "assistant", "content": "a"}]},
    ],
)
def test_what_is_no_chat_record_is_an_error(record):
    with pytest.raises(DataError):
        ChatFormat().encode(_bpe(False), record)


def test_wrong_settings_are_errors():
    bare = copy.deepcopy(_bpe(False))
    bare.chat_template = None
    with pytest.raises(ConfigError, match="chat_format='paper'"):
        ChatFormat("model").encode(bare, RECORDS[0])
    with pytest.raises(ConfigError, match="'papers'"):
        ChatFormat("papers")
    with pytest.raises(ConfigError, match="loss_on"):
        ChatFormat().encode(bare, RECORDS[0], loss_on="answers")
    bare.eos_token = None
    with pytest.raises(ConfigError, match="eos_token"):
        ChatFormat().template(bare)


THINKING = (
    "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<assistant>' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think></think>' }}{% endif %}{% endif %}"
)


def _with(template):
    tokenizer = copy.deepcopy(_bpe(False))
    tokenizer.chat_template = template
    return tokenizer


def test_what_the_template_is_told_is_trained():
    tokenizer = _with(THINKING)
    plain, told = (ChatFormat("model", a).encode(tokenizer, RECORDS[0]) for a in ({}, {"enable_thinking": False}))
    texts = [tokenizer.decode(e["input_ids"]) for e in (plain, told)]
    assert texts[0] == f"<user>{USER}<assistant>The answer is: C</s>"
    assert texts[1] == f"<user>{USER}<assistant><think></think>The answer is: C</s>"
    asked = tokenizer.apply_chat_template(
        RECORDS[0]["messages"][:1], add_generation_prompt=True, tokenize=False, enable_thinking=False
    )
    start = tokenizer.encode(asked, add_special_tokens=False)
    assert told["input_ids"][: len(start)] == start and told["labels"][: len(start)] == [IGNORE] * len(start)


def _dated(said):
    return f"  {said}\n{{# not strftime_now #}}{{% for m in messages %}}{{{{ m['content'] }}}}{{% endfor %}}\n"


@pytest.mark.parametrize(
    ("said", "date"),
    [
        ("{{ strftime_now('%B %d, %Y') }}", "July 26, 2024"),
        ('{{ "on " + strftime_now ( "%Y-%m-%d" ) }}', "on 2024-07-26"),
        # As Llama 3.2's.
        (
            "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
            '{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}{%- set date_string = "26 Jul 2024" %}'
            "{%- endif %}{%- endif %}{{ date_string }}",
            "26 Jul 2024",
        ),
    ],
)
def test_a_template_that_prints_the_date_prints_one_date(said, date, caplog):
    tokenizer = _with(_dated(said))
    today = tokenizer.apply_chat_template(RECORDS[0]["messages"][:1], tokenize=False)
    student = _carried(tokenizer, ChatFormat("model"))
    pinned = student.apply_chat_template(RECORDS[0]["messages"][:1], tokenize=False)
    assert date in pinned and date not in today
    stamp = re.compile(r"(on )?[\w, -]*20\d\d[-\d]*")
    assert stamp.sub("", pinned, count=1) == stamp.sub("", today, count=1)  # nothing else has changed
    assert ChatFormat("model").template(student) == student.chat_template


def test_a_date_may_be_chosen_where_the_template_takes_one():
    tokenizer = _with(
        _dated("{% if not date_string %}{% set date_string = strftime_now('%Y') %}{% endif %}{{ date_string }}")
    )
    assert "1 May 2025" in ChatFormat("model", {"date_string": "1 May 2025"}).prompt(
        tokenizer, RECORDS[0]["messages"][:1]
    )


@pytest.mark.parametrize("said", ["{{ strftime_now(form) }}", "{% set clock = strftime_now %}{{ clock('%Y') }}"])
def test_a_date_that_cannot_be_pinned_is_refused(said):
    with pytest.raises(ConfigError, match="write the date into the template, or choose chat_format='paper'"):
        ChatFormat("model").template(_with(_dated(said)))


def test_named_templates_need_a_default():
    tokenizer = _with({"tool_use": CHATML, "rag": CHATML})
    with pytest.raises(ConfigError, match="chat templates rag, tool_use and no default: choose chat_format='paper'"):
        ChatFormat("model").prompt(tokenizer, RECORDS[0]["messages"][:1])
    assert ChatFormat("paper").prompt(tokenizer, RECORDS[0]["messages"][:1]).startswith("<|user|>")
    tokenizer.chat_template = {"tool_use": "", "default": CHATML}
    assert ChatFormat("model").template(tokenizer) == CHATML


@pytest.mark.parametrize(
    "broken",
    [
        "{{ raise_exception('Roles must\\nalternate') }}",
        "{% for m in messages %}{{ m['content'] }}",
        "{{ messages[0]['content'] + 1 }}",
        "{{ nowhere.at_all.either }}",
        "{{ messages[0]['content'] | unknown_filter }}",
    ],
)
def test_a_template_that_cannot_be_rendered_is_said_in_a_line(broken):
    """Before training: jinja's own errors have no word of what to do, and some have several lines."""
    with pytest.raises(ConfigError, match=r"cannot write the transfer's records: .*chat_format='paper'") as error:
        ChatFormat("model").encode(_with(broken), RECORDS[0])
    assert "\n" not in str(error.value)
