"""Corrections for many comparisons: published values, statsmodels, and the false alarms of a whole table."""

from functools import cache

import numpy as np
import pytest

from pkt_eval.errors import DataError
from pkt_eval.report.stats import Correction, benjamini_hochberg, benjamini_yekutieli, holm, mcnemar_exact

# Benjamini & Hochberg 1995, §4.1: thrombolysis against its predecessors; their rule finds 4, Bonferroni's kind 3.
PUBLISHED = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0,
]  # fmt: skip


def test_published_example():
    assert (benjamini_hochberg(PUBLISHED) <= 0.05).sum() == 4
    assert (holm(PUBLISHED) <= 0.05).sum() == 3


@pytest.mark.parametrize(
    ("ours", "theirs"), [(benjamini_hochberg, "fdr_bh"), (benjamini_yekutieli, "fdr_by"), (holm, "holm")]
)
def test_is_statsmodels(ours, theirs):
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    rng = np.random.default_rng(0)
    for p in (PUBLISHED, rng.random(40), rng.random(40) ** 4, np.repeat(0.02, 5), [0.3]):
        assert ours(p) == pytest.approx(multitest.multipletests(p, method=theirs)[1])


@pytest.mark.parametrize("adjust", [benjamini_hochberg, benjamini_yekutieli, holm])
def test_shape_order_and_gaps(adjust):
    p = np.array(PUBLISHED)
    order = np.random.default_rng(1).permutation(15)
    assert (adjust(p[order]) == adjust(p)[order]).all()
    assert (adjust(p.reshape(3, 5)) == adjust(p).reshape(3, 5)).all()
    assert (adjust(p) >= p).all() and (np.diff(adjust(p)) >= 0).all()
    gaps = np.insert(p, [0, 7, 15], np.nan)
    assert np.isnan(adjust(gaps)).sum() == 3
    assert (adjust(gaps)[~np.isnan(gaps)] == adjust(p)).all()
    assert np.isnan(adjust([np.nan, np.nan])).all()
    assert adjust([]).shape == (0,)


@pytest.mark.parametrize("correction", Correction)
def test_the_level_is_that_of_one_more_comparison(correction):
    """With one more p-value just below it, one more is flagged; just above it, none."""
    flagged = int((correction.adjust(PUBLISHED) <= 0.05).sum())
    level = correction.level(len(PUBLISHED), flagged)
    for p, more in ((level * 0.999, 1), (level * 1.001, 0)):
        assert (correction.adjust([*PUBLISHED[:-1], p]) <= 0.05).sum() == flagged + more
    assert correction.level(96) <= 0.05 / 96 and correction.level(1) == correction.level(3, 3) * (
        1 if correction == "bh" else 1 + 1 / 2 + 1 / 3
    )


@pytest.mark.parametrize("adjust", [benjamini_hochberg, benjamini_yekutieli, holm])
def test_bad_input_is_refused(adjust):
    with pytest.raises(DataError):
        adjust([0.5, 1.5])


def test_a_table_of_students_like_vanilla_flags_nothing():
    """10 students × 4 benchmarks, none better or worse than vanilla: whatever is flagged is a false alarm."""
    rng, tables = np.random.default_rng(2), 600
    p_value = cache(mcnemar_exact)
    p = np.empty((tables, 10, 4))
    for benchmark, n in enumerate((164, 200, 300, 500)):
        rates = rng.beta(0.3, 0.4, size=(tables, 1, n))  # most items are easy or hard; discordance about 0.2
        right = rng.random((tables, 11, n)) < rates
        vanilla, students = right[:, :1], right[:, 1:]
        b = (students & ~vanilla).sum(axis=2).ravel().tolist()
        c = (~students & vanilla).sum(axis=2).ravel().tolist()
        p[:, :, benchmark] = np.reshape([p_value(*pair) for pair in zip(b, c, strict=True)], (tables, 10))
    corrected = np.mean([(benjamini_hochberg(table) <= 0.05).any() for table in p])
    assert corrected < 0.05 + 3 * np.sqrt(0.05 * 0.95 / tables)
    assert np.mean((p <= 0.05).any(axis=(1, 2))) > 0.5, "without correction most tables would show something"
