"""Draws that do not depend on the Python version."""

from pkt_eval.nano.dice import FOLDS, Dice, fold


def test_draws_are_pinned():
    dice = Dice("pinned")
    assert [dice.roll(0, 9) for _ in range(8)] == [3, 9, 5, 6, 5, 1, 1, 5]
    assert dice.shuffled("abcdef") == list("becadf")


def test_a_sample_has_distinct_places_and_leaves_its_source():
    items = list(range(50))
    drawn = Dice(1).sample(items, 20)
    assert len(set(drawn)) == 20 and set(drawn) <= set(items)
    assert items == list(range(50))
    assert sorted(Dice(2).shuffled(items)) == items


def test_a_roll_reaches_both_ends():
    dice = Dice(3)
    assert {dice.roll(2, 4) for _ in range(100)} == {2, 3, 4}


def test_folds_are_even():
    counts = [0] * FOLDS
    for i in range(16000):
        counts[fold(f"content {i}")] += 1
    assert min(counts) > 850 and max(counts) < 1150
