"""The shapes of the two models; nothing here trains or loads.

They differ in depth, width, heads and query-group size, and the student's ``heads * head_dim`` is not its
hidden size, as in real pairs. Every teacher matrix is at least as large as the student's in both
dimensions, so that a block of the student's shape can be cut out of it.
"""

from transformers import LlamaConfig, PreTrainedTokenizerFast

SHAPES = {
    "teacher": {
        "hidden_size": 256,
        "intermediate_size": 640,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 32,
    },
    "student": {
        "hidden_size": 144,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 32,
    },
}


def config(role: str, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """The configuration of a model.

    Args:
        role: ``"teacher"`` or ``"student"``.
        tokenizer: gives the vocabulary's size and the ids of the end and padding tokens.
    """
    return LlamaConfig(
        **SHAPES[role],
        vocab_size=len(tokenizer),
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.06,  # about 1/sqrt(width); the usual 0.02 is for models ten times as wide
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
