"""Blocks: names and shapes agree with the models that transformers builds."""

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from pkt_eval.errors import ConfigError, IncompatiblePairError
from pkt_eval.models import blocks


@pytest.mark.parametrize("family", blocks.FAMILIES)
def test_every_block_of_a_family_is_there_with_its_shape(family, tiny):
    teacher, _ = tiny(family)
    dims = blocks.dims(AutoConfig.from_pretrained(teacher))
    model = AutoModelForCausalLM.from_pretrained(teacher)
    assert dims.heads * dims.head_dim != dims.hidden
    assert dims.kv_heads < dims.heads
    for layer in range(dims.layers):
        for block in blocks.BLOCKS:
            weight = model.get_parameter(blocks.weight_name(block, layer))
            assert tuple(weight.shape) == dims.shape(block)
            assert blocks.layer_of(blocks.weight_name(block, layer)) == layer


def test_an_unknown_family_is_named_with_the_known_ones():
    with pytest.raises(IncompatiblePairError, match=r"gpt2.*llama"):
        blocks.dims(AutoConfig.for_model("gpt2"))


@pytest.mark.parametrize("names", [("up", "upp"), (), ("up", "up")])
def test_bad_block_names(names):
    with pytest.raises(ConfigError, match="distinct names"):
        blocks.check_blocks(names)


def test_a_teacher_that_is_too_small_is_refused_with_both_names_and_the_sizes():
    big = blocks.Dims(layers=4, hidden=64, ffn=160, heads=4, kv_heads=2, head_dim=16, vocab=100)
    small = blocks.Dims(layers=3, hidden=48, ffn=200, heads=4, kv_heads=1, head_dim=32, vocab=100)
    with pytest.raises(IncompatiblePairError, match=r"(?s)TEACH.*STUD.*ffn 160 < 200.*heads\*head_dim 64 < 128"):
        blocks.check_fits(big, small, teacher_name="TEACH", student_name="STUD")
