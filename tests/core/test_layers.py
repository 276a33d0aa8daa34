"""Which teacher layer feeds which student layer."""

import random

import pytest
import torch

from pkt_eval.errors import ConfigError
from pkt_eval.locate import map_layers


@pytest.mark.parametrize("by", ["proportional", "first", "last"])
def test_every_student_layer_gets_another_teacher_layer_in_depth_order(by):
    for teacher in range(1, 60):
        for student in range(1, teacher + 1):
            layers = map_layers(teacher, student, by)
            assert layers == sorted(set(layers)) and len(layers) == student
            assert set(layers) <= set(range(teacher))
            if by == "proportional" and student > 1:
                assert (layers[0], layers[-1]) == (0, teacher - 1)
                exact = [k * (teacher - 1) / (student - 1) for k in range(student)]
                assert all(abs(a - b) <= 0.5 for a, b in zip(layers, exact, strict=True))


def test_by_scores_by_chance_and_in_a_row():
    assert map_layers(4, 2, torch.tensor([1.0, 5, 5, 5])) == [1, 2]
    assert map_layers(28, 3, "last") == [25, 26, 27] and map_layers(28, 3, "first") == [0, 1, 2]
    drawn = map_layers(28, 14, random.Random(3))
    assert drawn == sorted(random.Random(3).sample(range(28), 14)) != map_layers(28, 14, random.Random(4))


def test_what_cannot_be_mapped_is_said():
    for words, message in [
        ((2, 3), "cannot keep 3 of 2 layers"),
        ((3, 0), "cannot keep 0 of 3"),
        ((3, 2, torch.zeros(4)), r"shape \(4,\) cannot choose among 3 layers"),
        ((3, 2, "middle"), "not 'middle'"),
    ]:
        with pytest.raises(ConfigError, match=message):
            map_layers(*words)
