"""The leaderboard's numbers against counts by hand and against the statistics called directly."""

import json

import numpy as np
import pytest

from pkt_eval.report import stats
from pkt_eval.report.board import StudentRow, leaderboard
from pkt_eval.report.board.columns import legend
from pkt_eval.report.board.model import written
from pkt_eval.report.records import read


def board_of(folder):
    records, notes = read([folder])
    return leaderboard(records, folder, notes)


def cell(board, label, benchmark="pkt_gsm8k_chat"):
    return next(c for _, row, name, c in board.cells() if (row.label, name) == (label, benchmark))


def right(first, n=100):
    """The first so many of n are right."""
    return [1] * first + [0] * (n - first)


@pytest.fixture
def four(made, tmp_path):
    """100 documents: vanilla has the first 20 right, LoRA 35, Seeking 45, the teacher 70."""
    for i, (method, n) in enumerate([("vanilla", 20), ("lora", 35), ("seeking", 45), ("teacher", 70)]):
        made(tmp_path / str(i), right(n), method=method, seed=0 if method in ("lora", "seeking") else None)
    return tmp_path


def test_a_table_counted_by_hand(four):
    board = board_of(four)
    (group,) = board.groups
    assert (group.title, [row.label for row in group.rows]) == (
        "acme/big → acme/small",
        ["vanilla", "lora", "seeking", "teacher"],
    )
    seeking = cell(board, "seeking")
    assert (seeking.low, seeking.high) == pytest.approx(stats.wilson_interval(45, 100)[1:])
    vanilla, lora = seeking.vanilla, seeking.lora
    assert (vanilla.value, vanilla.won, vanilla.lost, vanilla.count) == (pytest.approx(0.25), 25, 0, 100)
    assert (lora.value, lora.won, lora.lost, lora.against) == (pytest.approx(0.10), 10, 0, "lora")
    assert vanilla.p == stats.mcnemar_exact(25, 0) and lora.p == stats.mcnemar_exact(10, 0)
    # At the level at which one more of the three comparisons would be significant: all three are.
    assert board.level == 0.05
    assert vanilla.detectable == stats.minimum_detectable_difference(100, 0.25, alpha=board.level)
    # (45 - 20) of (70 - 20).
    assert seeking.gap[0] == pytest.approx(0.5) and seeking.gap[1] < 0.5 < seeking.gap[2]
    assert seeking.budget == {"learnt_records": 64, "steps": 4, "seconds": 12.5, "peak_bytes": 10**9}


def test_what_is_no_comparison_is_blank(four):
    board = board_of(four)
    assert cell(board, "vanilla").differences() == []
    for label in ("lora", "teacher"):
        assert cell(board, label).vanilla and not cell(board, label).lora
    assert cell(board, "teacher").gap is None and cell(board, "vanilla").gap is None


def test_the_correction_is_over_the_whole_table(four):
    board = board_of(four)
    differences = [d for *_, c in board.cells() for d in c.differences()]
    transfers = [d for d in differences if not d.lead]
    assert len(differences) - 1 == len(transfers) == board.comparisons == 3
    np.testing.assert_allclose(
        [d.adjusted for d in transfers], stats.benjamini_hochberg([d.p for d in transfers]), rtol=1e-12
    )
    assert all(d.significant == (d.adjusted <= 0.05) for d in differences)


def test_a_p_value_that_the_others_push_over_the_level_is_not_significant(made, tmp_path):
    made(tmp_path / "v", right(20), method="vanilla")
    made(tmp_path / "l", right(26), method="lora", seed=0)  # p = 1/32 by itself
    assert cell(board_of(tmp_path), "lora").vanilla.significant
    for lost, name in enumerate(("pissa", "seeking", "laten")):
        made(tmp_path / name, [*([0] * lost), *right(20, 100 - lost)], method=name, seed=0)
    board = board_of(tmp_path)
    assert cell(board, "lora").vanilla.p == 1 / 32
    assert not cell(board, "lora").vanilla.significant


def test_students_that_answer_alike_are_one_hypothesis(made, tmp_path):
    made(tmp_path / "v", right(20), method="vanilla")
    made(tmp_path / "l", right(35), method="lora", seed=0)
    made(tmp_path / "s", right(45), method="seeking", seed=0)
    one = board_of(tmp_path)
    for name in ("pissa", "laten", "laten_zero"):
        made(tmp_path / name, right(45), method=name, seed=0)
    many = board_of(tmp_path)
    differences = [d for *_, c in many.cells() for d in c.differences()]
    assert (len(differences), many.comparisons, one.comparisons) == (9, 3, 3)
    assert cell(many, "laten").vanilla.adjusted == cell(one, "seeking").vanilla.adjusted
    # The same score is not the same answers.
    made(tmp_path / "pissa", right(45)[::-1], method="pissa", seed=0)
    assert board_of(tmp_path).comparisons == 5


def test_the_teacher_s_lead_is_no_claim_about_a_transfer(four, made):
    board = board_of(four)
    lead = cell(board, "teacher").vanilla
    assert lead.lead and lead.adjusted == lead.p and lead.significant
    assert not any(d.lead for label in ("lora", "seeking") for d in cell(board, label).differences())
    # However sure leads are, they do not make transfers surer.
    transfers = [d.p for label in ("lora", "seeking") for d in cell(board, label).differences()]
    assert cell(board, "lora").vanilla.adjusted == pytest.approx(stats.benjamini_hochberg(transfers)[0])


def test_what_is_detectable_depends_on_the_table_and_the_seeds(made, tmp_path):
    rng = np.random.default_rng(3)
    vanilla, *seeds = (rng.random((4, 200)) < 0.5).astype(float)
    made(tmp_path / "v", vanilla.tolist())
    for seed, scores in enumerate(seeds):
        made(tmp_path / f"l{seed}", scores.tolist(), method="lora", seed=seed)
    alone = cell(board_of(tmp_path), "lora").vanilla
    for lost, name in enumerate(("pissa", "seeking", "laten")):
        made(tmp_path / name, np.roll(vanilla, lost).tolist(), method=name, seed=0)
    board = board_of(tmp_path)
    among, once = cell(board, "lora").vanilla, cell(board, "seeking").vanilla
    assert board.level < 0.05 and among.detectable > alone.detectable
    discordance = (once.won + once.lost) / 200
    assert once.detectable == pytest.approx(stats.minimum_detectable_difference(200, discordance, alpha=board.level))


def test_the_correction_is_of_the_reader_s_choice_and_said(four):
    records, notes = read([four])
    board = leaderboard(records, four, notes, stats.Correction.BY)
    transfers = [d for *_, c in board.cells() for d in c.differences() if not d.lead]
    np.testing.assert_allclose([d.adjusted for d in transfers], stats.benjamini_yekutieli([d.p for d in transfers]))
    assert json.loads(board.to_json())["correction"] == "by"
    said = " ".join(legend(board))
    assert "Benjamini–Yekutieli over 3 comparisons" in said
    assert "the teachers' leads are corrected by themselves" in said


def test_the_gap_is_blank_without_a_sure_lead(made, tmp_path):
    for method, n in (("vanilla", 50), ("seeking", 52), ("teacher", 53)):
        made(tmp_path / method, right(n), method=method, seed=0 if method == "seeking" else None)
    board = board_of(tmp_path)
    assert not cell(board, "teacher").vanilla.significant
    assert cell(board, "seeking").gap is None


def test_students_that_agree_everywhere_still_have_an_interval(made, tmp_path):
    made(tmp_path / "a", right(50))
    made(tmp_path / "b", right(50), method="laten", seed=0)
    difference = cell(board_of(tmp_path), "laten").vanilla
    assert (difference.value, difference.p) == (0, 1)
    assert difference.low < -0.01 and difference.high > 0.01


def test_seeds_are_one_row(made, tmp_path):
    rng = np.random.default_rng(0)
    vanilla, *seeds = (rng.random((4, 80)) < 0.5).astype(float)
    made(tmp_path / "v", vanilla.tolist())
    for seed, scores in enumerate(seeds):
        made(tmp_path / f"l{seed}", scores.tolist(), method="lora", seed=seed)
        made(tmp_path / f"s{seed}", scores[::-1].tolist(), method="seeking", seed=seed)
    board = board_of(tmp_path)
    lora, scores = cell(board, "lora"), np.array(seeds)
    expected = stats.aggregate_seeds(scores)
    assert (lora.score, lora.low, lora.high, lora.spread) == expected[:4]
    assert [source.seed for source in lora.sources] == [0, 1, 2]
    assert lora.vanilla.p == stats.seed_difference(scores, vanilla[None], same_seeds=False).p
    against_lora = cell(board, "seeking").lora
    matched = stats.seed_difference(scores[:, ::-1], scores, same_seeds=True)
    assert (against_lora.low, against_lora.high, against_lora.seeds) == (matched.low, matched.high, (3, 3))
    # Of each seed, the documents won and lost; then their mean.
    assert against_lora.won == pytest.approx(np.mean([(a[::-1] > a).sum() for a in scores]))


@pytest.mark.parametrize(("subjects", "clusters"), [(25, 25), (5, None)])
def test_many_subjects_are_resampled_whole_and_few_are_not(made, tmp_path, subjects, clusters):
    rng = np.random.default_rng(1)
    vanilla, lora = (rng.random((2, 100)) < 0.5).astype(float)
    for method, scores in (("vanilla", vanilla), ("lora", lora)):
        made(
            tmp_path / method,
            scores.tolist(),
            method=method,
            seed=0 if method == "lora" else None,
            subject=lambda doc: f"s{int(doc[1:]) % subjects}",
        )
    board = board_of(tmp_path)
    of_lora = cell(board, "lora")
    names = np.arange(100) % subjects if clusters else None
    assert of_lora.vanilla.clusters == clusters
    assert of_lora.vanilla.p == stats.paired_test(lora, vanilla, names)
    assert len(of_lora.subjects) == subjects
    first = of_lora.subjects["s0"]
    assert first.score == pytest.approx(lora[::subjects].mean())
    assert first.difference == pytest.approx((lora - vanilla)[::subjects].mean())
    assert any("too few" in note for note in board.notes) == (clusters is None)


def test_the_order_of_the_paths_does_not_matter(four):
    records, _ = read([four])
    folders = sorted({record.results.parent for record in records})
    texts = [leaderboard(read(paths)[0], four).to_json() for paths in (folders, folders[::-1])]
    assert texts[0] == texts[1]


def test_the_last_bits_of_a_sum_do_not_reach_a_file():
    assert written({"a": (0.1 + 0.2, 1 / 3, 5, True), "b": float("nan")}) == {
        "a": [0.3, 0.333333333333, 5, True],
        "b": None,
    }


def test_every_number_leads_to_its_record(four):
    board = json.loads(board_of(four).to_json())
    for row in board["groups"][0]["rows"]:
        for saved in row["cells"].values():
            for source in saved["sources"]:
                results = json.loads((four / source["results"]).read_text())
                assert results["results"]["pkt_gsm8k_chat"]["exact_match,strict-match"] == source["score"]
                assert all((four / path).is_file() for path in source["samples"])


def test_what_was_refused_or_cut_is_said(made, tmp_path):
    made(tmp_path / "v", right(20, 50))
    made(tmp_path / "l", right(30, 60), method="lora", seed=0)
    made(tmp_path / "s", right(30, 50), method="seeking", seed=0, template="u" * 64)
    made(tmp_path / "p", right(30, 50), method="pissa", seed=0, samples=False)
    board = board_of(tmp_path)
    notes = "\n".join(board.notes)
    assert cell(board, "lora").vanilla.count == 50 and "compared on the 50 documents in common" in notes
    assert not cell(board, "seeking").differences() and "different chat templates" in notes
    assert not cell(board, "pissa").differences() and "--log_samples" in notes
    assert cell(board, "pissa").score == 0.6
    assert "no teacher" in notes


def test_a_pair_without_baselines_says_so(made, tmp_path):
    made(tmp_path, right(30), method="seeking", seed=0)
    notes = "\n".join(board_of(tmp_path).notes)
    for missing in ("no vanilla", "no LoRA", "no teacher"):
        assert missing in notes


def test_a_foreign_run_of_the_base_is_the_vanilla_student_if_there_is_no_other(made, tmp_path):
    made(tmp_path / "h", right(20), method=None)
    made(tmp_path / "s", right(40), method="seeking", seed=0)
    board = board_of(tmp_path)
    assert cell(board, "seeking").vanilla.against == "acme/small (hf)"
    made(tmp_path / "v", right(20))
    board = board_of(tmp_path)
    assert cell(board, "seeking").vanilla.against == "vanilla"
    assert cell(board, "acme/small (hf)").vanilla.value == 0


def test_a_student_for_another_task_is_a_row_of_its_own(made, tmp_path):
    for task in ("gsm8k", "mbpp"):
        made(tmp_path / f"v{task}", right(20), task=f"pkt_{task}_chat")
        for learnt in ("gsm8k", "mbpp"):
            for method in ("lora", "seeking"):
                folder = tmp_path / f"{method}{task}{learnt}"
                made(folder, right(30), task=f"pkt_{task}_chat", method=method, seed=0, transfer_task=learnt)
    board = board_of(tmp_path)
    assert [row.label for row in board.groups[0].rows] == [
        "vanilla",
        "lora ← gsm8k",
        "lora ← mbpp",
        "seeking ← gsm8k",
        "seeking ← mbpp",
    ]
    for learnt in ("gsm8k", "mbpp"):
        for task in ("gsm8k", "mbpp"):
            assert cell(board, f"seeking ← {learnt}", f"pkt_{task}_chat").lora.against == f"lora ← {learnt}"


def test_lora_is_the_one_with_the_same_options(made, tmp_path):
    made(tmp_path / "v", right(20))
    for rank in (8, 64):
        made(tmp_path / f"l{rank}", right(25), method="lora", seed=0, options={"rank": rank})
    made(tmp_path / "s", right(30), method="seeking", seed=0, options={"rank": 64})
    assert cell(board_of(tmp_path), "seeking").lora.against == "lora (rank=64)"


def test_vanilla_is_the_one_in_the_same_dtype(made, tmp_path):
    for i, (method, dtype, n) in enumerate(
        [("vanilla", "float32", 20), ("vanilla", "bfloat16", 25), ("laten", "float32", 30), ("lora", "bfloat16", 40)]
    ):
        made(tmp_path / str(i), right(n), method=method, seed=0 if i > 1 else None, dtype=dtype, date=float(i))
    board = board_of(tmp_path)
    bases = [f"vanilla (evaluation_dtype={dtype})" for dtype in ("bfloat16", "float32")]
    assert [row.label for row in board.groups[0].rows] == [*bases, "lora", "laten"]
    assert (cell(board, "laten").vanilla.against, cell(board, "lora").vanilla.against) == (bases[1], bases[0])
    assert cell(board, "laten").vanilla.value == pytest.approx(0.10)
    assert cell(board, "lora").vanilla.value == pytest.approx(0.15)
    assert any("evaluated with different dtype" in note for note in board.notes)  # laten and lora


def test_one_benchmark_with_several_numbers_of_examples_is_several_columns(made, tmp_path):
    for shots in (0, 5):
        made(tmp_path / f"v{shots}", right(20), fewshot=shots)
    assert board_of(tmp_path).groups[0].benchmarks == ["pkt_gsm8k_chat (0-shot)", "pkt_gsm8k_chat (5-shot)"]


def test_notes_that_differ_in_the_benchmark_alone_are_one(made, tmp_path):
    for task in ("pkt_gsm8k_chat", "pkt_mbpp_chat"):
        made(tmp_path / f"v{task}", right(20, 50), task=task)
        made(tmp_path / f"l{task}", right(30, 60), task=task, method="lora", seed=0)
    notes = [note for note in board_of(tmp_path).notes if "in common" in note]
    assert notes == [
        "On pkt_gsm8k_chat, pkt_mbpp_chat, lora and vanilla: compared on the 50 documents in common (of 50 and 60)"
    ]


def test_other_training_records_than_lora_s_are_said(made, tmp_path):
    made(tmp_path / "v", right(20))
    made(tmp_path / "l", right(25), method="lora", seed=0, train=64)
    made(tmp_path / "s", right(25), method="seeking", seed=0, train=64)
    made(tmp_path / "n", right(25), method="laten", seed=0, train=128)  # has the split, and saw none of it
    assert not any("training records" in note for note in board_of(tmp_path).notes)
    made(tmp_path / "s", right(25), method="seeking", seed=0, train=128)
    assert any("(128 and 64 records)" in note for note in board_of(tmp_path).notes)


@pytest.mark.parametrize(
    ("label", "parts"),
    [
        ("lora", ("lora", "")),
        ("lora (rank=8)", ("lora", "rank=8")),
        ("lora (rank=8, modules=up+down) ← gsm8k", ("lora ← gsm8k", "rank=8, modules=up+down")),
        ("lora ← gsm8k", ("lora ← gsm8k", "")),
    ],
)
def test_a_label_is_a_name_and_options(label, parts):
    assert StudentRow("id", label, "lora", "baseline", "", "").name_and_options == parts
