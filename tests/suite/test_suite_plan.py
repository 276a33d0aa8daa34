"""A suite's file is checked with words that help, and what is equal in it is one cell."""

import pytest

from pkt_eval.errors import ConfigError, MissingDataError
from pkt_eval.report.render.registry import formats
from pkt_eval.suite.names import LOCK, PROGRESS, SUITE, check_name
from pkt_eval.suite.plan import Asked, cells, learners, select
from pkt_eval.suite.schema import EXAMPLE, Suite, load_suite

NANO = {"benchmarks": ["nano_gsm8k", "nano_mmlu"], "methods": ["vanilla", "teacher", "lora", "seeking"]}


def written(tmp_path, text):
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    return path


def test_the_example_is_a_suite(tmp_path):
    text = EXAMPLE.replace("# confirm_run_unsafe_code: true ", "confirm_run_unsafe_code: true ")
    suite = load_suite(written(tmp_path, text))
    assert [entry.name for entry in suite.methods][-2:] == ["seeking-r64", "laten"]
    assert suite.methods[-2].options == {"rank": 64, "alpha": 64} and suite.seeds == (0, 1, 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no keys"),
        ("a: [", "not YAML"),
        ("benchmarks: [nano_gsm8k]\nmethod: [lora]", "method is no key; did you mean 'methods'"),
        ("benchmarks: [nano_gsm8k]\nmethods: [{method: lora, option: {}}]", "option is no key; did you mean 'options'"),
        ("benchmarks: [nano_gsm8k]", "methods: Field required"),
        ("benchmarks: [gsm9k]\nmethods: [lora]", "gsm8k"),
        ("benchmarks: [nano_gsm8k]\nmethods: [loraa]", "did you mean 'lora'"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora, lora]", "two methods are called lora"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\noptions: {epoch: 1}", "did you mean 'epochs'"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nteacher: T", "teacher is given but student is not"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nlimit: 0", "limit.nano_gsm8k: Input should be greater than 0"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nlimit: {nano_mmlu: 2}", "limit: nano_mmlu is none of the"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nbatch_size: {mmlu: 2}", "batch_size: mmlu is none of the"),
        ("benchmarks: [nano_gsm8k]\nmethods: [{method: lora, name: a/b}]", "a name consists of"),
        ("benchmarks: [nano_gsm8k]\nmethods: [{method: lora, name: ..}]", "is a folder's name for another one"),
        ("benchmarks: [nano_gsm8k]\nmethods: [{method: lora, name: .}]", "is a folder's name for another one"),
        ("benchmarks: [nano_gsm8k]\nmethods: [{method: lora, name: '..\\a'}]", "a name consists of"),
        ('benchmarks: [nano_gsm8k]\nmethods: [{method: lora, name: "a\\u0007"}]', "a name consists of"),
        ("benchmarks: [nano_gsm8k]\nmethods: [{method: lora, name: .lock}]", "begins or ends in a dot"),
        ("benchmarks: [nano_gsm8k]\nmethods: [{method: lora, name: lora.}]", "begins or ends in a dot"),
        ("benchmarks: [nano_gsm8k]\nmethods: [{method: lora, name: Suite.JSON}]", "a file of ours in a suite's folder"),
        ("benchmarks: [nano_gsm8k]\nmethods: [{method: lora, name: progress.json}]", "a file of ours"),
        ("benchmarks: [nano_gsm8k]\nmethods: [{method: lora, name: leaderboard.md}]", "a file of ours"),
        ("benchmarks: [nano_gsm8k]\nmethods: [{method: lora, name: Records}]", "a file of ours"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora, {method: lora, name: LoRA}]", "lora and LoRA are one folder where"),
        (f"benchmarks: [nano_gsm8k]\nmethods: [{{method: lora, name: {101 * 'a'}}}]", "has 101 characters"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nengine: rya", "engine: there is no 'rya'; there are local, ray"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nlocal: {cpus: 1}", "local.cpus is no key: local takes none"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nengine: ray\nray: {cpus: 1}", "did you mean 'num_cpus'"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nray: {num_cpus: 2}", "say engine: ray, too"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nengine: ray\ndevice: cpu", "follows from ray.num_gpus"),
        ("1: 2", "every key is a word"),
    ],
)
def test_a_wrong_file_says_where_and_what_was_meant(tmp_path, text, said):
    with pytest.raises(ConfigError) as error:
        load_suite(written(tmp_path, text))
    assert said in str(error.value) and "suite.yaml" in str(error.value) and "\n" not in str(error.value)


def test_a_row_is_called_by_no_name_that_we_write():
    """What stands in a suite's folder, and what a report writes there."""
    for name in [SUITE, PROGRESS, LOCK, *(each.file for each in formats())]:
        with pytest.raises(ValueError, match=r"begins or ends in a dot|file of ours"):
            check_name(name.upper())


def test_no_file_says_how_to_get_one(tmp_path):
    with pytest.raises(MissingDataError, match="--example"):
        load_suite(tmp_path / "none.yaml")


def test_an_option_of_a_method_is_checked_before_anything_runs():
    with pytest.raises(ValueError, match="did you mean 'rank'"):
        cells(Suite(**{**NANO, "methods": [{"method": "lora", "options": {"rnak": 3}}]}))


def test_cells_are_chosen_by_method_benchmark_or_student():
    every = cells(Suite(**NANO, seeds=[0, 1]))

    def chosen(*only):
        return {cell.name for cell in select(every, only)}

    assert chosen() == {cell.name for cell in every}
    assert chosen("vanilla") == {"vanilla/nano_gsm8k", "vanilla/nano_mmlu"}
    assert chosen("lora", "nano_gsm8k") == {f"lora/nano_gsm8k/seed{seed}/nano_gsm8k" for seed in (0, 1)}
    assert chosen("lora", "seeking") == {c.name for c in every if c.learner.entry in ("lora", "seeking")}
    assert chosen("lora/nano_gsm8k/seed1") == {"lora/nano_gsm8k/seed1/nano_gsm8k"}
    with pytest.raises(ConfigError, match=r"--only loar: .* did you mean 'lora'"):
        chosen("loar")
    with pytest.raises(ConfigError, match="there are lora, nano_gsm8k, nano_mmlu, seeking, teacher, vanilla"):
        chosen("xyzzy")


def test_how_a_cell_is_asked_is_its_identity_but_for_consent():
    """A field that is added to it counts, unless it is named as harmless."""
    asked = Asked.of(Suite(**NANO, limit=3, batch_size={"nano_mmlu": 5}), "nano_mmlu")
    assert asked == Asked(limit=3, batch_size=5, chat=True, consent=False)
    assert asked.identity == {"limit": 3, "batch_size": 5, "chat": True}


def test_each_benchmark_is_scored_with_the_student_made_for_it():
    planned = cells(Suite(**NANO, seeds=[0, 1]))
    # vanilla and teacher: one student each, whatever the seed; the others one a benchmark and seed.
    assert len(planned) == 2 * 2 + 2 * 2 * 2 and len({cell.name for cell in planned}) == len(planned)
    assert len(learners(planned)) == 2 + 2 * 2 * 2
    assert all(cell.learner.benchmark in (None, cell.benchmark) for cell in planned)
    names = [cell.learner.name for cell in planned]
    assert [n for i, n in enumerate(names) if n not in names[:i]] == list(dict.fromkeys(names)), (
        "a student's are together"
    )


def test_cross_scores_every_student_on_every_benchmark():
    planned = cells(Suite(**NANO, cross=True))
    assert len(planned) == 2 * 2 + 2 * 2 * 2
    assert len(learners(planned)) == 2 + 2 * 2


def test_a_limit_is_for_all_benchmarks_or_for_each():
    assert [Suite(**NANO, limit=7).items(b) for b in ("nano_gsm8k", "nano_mmlu")] == [7, 7]
    assert [Suite(**NANO, limit={"nano_mmlu": 7}).items(b) for b in ("nano_gsm8k", "nano_mmlu")] == [None, 7]
    assert Suite(**NANO).items("nano_mmlu") is None


def test_so_is_a_batch_size():
    assert [Suite(**NANO, batch_size=7).batch(b) for b in ("nano_gsm8k", "nano_mmlu")] == [7, 7]
    assert Suite(**NANO, batch_size="auto").batch("nano_mmlu") == "auto"
    assert [Suite(**NANO, batch_size={"nano_mmlu": 7}).batch(b) for b in ("nano_gsm8k", "nano_mmlu")] == [8, 7]


def test_all_students_are_asked_in_one_chat_format():
    formats = {c.learner.recipe.chat_format for c in cells(Suite(**NANO, options={"chat_format": "model"}))}
    assert formats == {"model"}


def test_common_options_go_to_the_methods_that_take_them():
    suite = Suite(
        **{**NANO, "methods": ["vanilla", "lora", "laten"]}, options={"rank": 4, "rate": 0.2, "train_samples": 9}
    )
    recipes = {c.learner.entry: c.learner.recipe for c in cells(suite)}
    assert recipes["lora"].options == {"rank": 4} and recipes["lora"].train_samples == 9
    assert recipes["laten"].options == {"rate": 0.2}
    assert recipes["vanilla"].options == {} and recipes["vanilla"].train_samples is None


def test_a_grid_is_a_student_for_each_combination(tmp_path):
    text = """
benchmarks: [nano_gsm8k]
methods:
  - {method: seeking, grid: {rank: [4, 16], learning_rate: [1e-4, 3e-4]}, alpha: 8}
  - {method: lora, name: "lora-r{rank}", grid: {rank: [2, 3]}}
  - {method: lora, name: mine, rank: 9, options: {alpha: 7}}
"""
    suite = load_suite(written(tmp_path, text))
    assert [(entry.method, entry.name) for entry in suite.methods] == [
        ("seeking", "seeking(rank=4,learning_rate=1e-4)"),
        ("seeking", "seeking(rank=4,learning_rate=3e-4)"),
        ("seeking", "seeking(rank=16,learning_rate=1e-4)"),
        ("seeking", "seeking(rank=16,learning_rate=3e-4)"),
        ("lora", "lora-r2"),
        ("lora", "lora-r3"),
        ("lora", "mine"),
    ]
    made = {c.learner.entry: c.learner for c in cells(suite)}
    assert made["lora-r3"].recipe.options == {"rank": 3} and made["lora-r3"].label == "lora-r3"
    assert made["mine"].recipe.options == {"rank": 9, "alpha": 7}
    assert made["seeking(rank=4,learning_rate=3e-4)"].recipe.options == {
        "alpha": 8, "rank": 4, "learning_rate": "3e-4",
    }  # fmt: skip
    assert Suite.model_validate_json(suite.model_dump_json()) == suite  # as `pkt-eval status` reads it
    assert [c.learner.label for c in cells(Suite(**NANO))[:1]] == [None]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{method: lora, grid: {rank: 4}}", "each with a list of values"),
        ("{method: lora, grid: {rank: []}}", "each with a list of values"),
        ("{method: lora, grid: [rank]}", "each with a list of values"),
        ("{method: lora, rank: 2, grid: {rank: [4]}}", "has rank, which is also given beside it"),
        ("{method: lora, options: {rank: 2}, grid: {rank: [4]}}", "has rank, which is also given beside it"),
        ("{method: lora, options: {rank: 2}, rank: 3}", "rank is given twice"),
        ("{method: lora, name: one, grid: {rank: [4, 8]}}", "one name for several students"),
        ('{method: lora, name: "r{rnak}", grid: {rank: [4, 8]}}', "has {rnak}, and the grid has rank"),
        ('{method: lora, name: "{rank.__class__}", grid: {rank: [4, 8]}}', "has {rank.__class__}, and the grid"),
        (f"{{method: lora, grid: {{rank: {list(range(50))}, alpha: {list(range(50))}}}}}", "2,500 combinations"),
        ("{method: lora, grid: {rank: [4, 4]}}", "a value of rank twice"),
        ("{method: lora, grid: {splits: [a/b]}}", "a name consists of"),
        ("{method: lora, seed: 3}", "the suite's seeds: says it"),
        ("{method: lora, seeds: [3]}", "the suite's seeds: says it"),
        ("{method: lora, batch_size: 3}", "the suite's batch_size: says it"),
        ("{method: lora, rnak: 3}", "did you mean 'rank'"),
    ],
)
def test_a_grid_or_name_that_cannot_be_is_refused(tmp_path, row, said):
    with pytest.raises(ConfigError) as error:
        load_suite(written(tmp_path, f"benchmarks: [nano_gsm8k]\nmethods: [{row}]"))
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nbenchmarks: [nano_mmlu]", "the key benchmarks is there twice"),
        ("benchmarks: [nano_gsm8k]\nmethods: [{method: lora, rank: 1, rank: 2}]", "the key rank is there twice"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nlimit: true", "true is no number"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nlimit: {nano_gsm8k: true}", "true is no number"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nbatch_size: yes", "true is no number"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nbatch_size: many", "neither a number above zero nor auto"),
        ("benchmarks: [nano_gsm8k]\nmethods: [lora]\nseeds: [1, false]", "false is no number"),
    ],
)
def test_what_yaml_would_take_for_something_else_is_refused(tmp_path, text, said):
    with pytest.raises(ConfigError) as error:
        load_suite(written(tmp_path, text))
    assert said in str(error.value)


def test_consent_is_asked_for_when_code_is_run(tmp_path):
    from pkt_eval.suite.run import Run

    suite = load_suite(written(tmp_path, "benchmarks: [nano_mbpp]\nmethods: [vanilla]"))
    assert "nano_mbpp runs code that a model wrote" in suite.lacks_consent
    with pytest.raises(ConfigError, match="confirm_run_unsafe_code: true"):
        Run(suite, tmp_path / "out").run()
    assert not (tmp_path / "out").exists()
    assert not Suite(benchmarks=["nano_mbpp"], methods=["vanilla"], confirm_run_unsafe_code=True).lacks_consent
