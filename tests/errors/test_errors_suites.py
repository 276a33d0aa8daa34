"""A suite's YAML."""

import pytest
from bounded import DEEP, LONG

from pkt_eval.errors import ConfigError
from pkt_eval.suite.schema import load_suite

GOOD = "benchmarks: [nano_mmlu]\nmethods: [vanilla]\n"
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
SUITES: dict[str, tuple[bytes | str, str]] = {
    "empty": ("", "suite.yaml"),
    "not UTF-8": (b"benchmarks: [\xff\xfe]\n", "suite.yaml"),
    "UTF-16": ("benchmarks: []".encode("utf-16"), "suite.yaml"),
    "deep": ("[" * DEEP, "suite.yaml"),
    "deep mapping": ("a: " + "{a: " * 5000, "suite.yaml"),
    "an alias bomb": (BOMB + GOOD, "suite.yaml"),
    "an alias bomb as a method": (BOMB + "benchmarks: [nano_mmlu]\nmethods: *i\n", "suite.yaml"),
    "an alias of itself": ("&a [*a]", "suite.yaml"),
    "itself as a method": ("benchmarks: [nano_mmlu]\nmethods: &a [*a]\n", "methods"),
    "itself as options": (GOOD + "options: &a {rank: *a}\n", "rank"),
    "a list": ("- a", "suite.yaml"),
    "text": ("hello", "suite.yaml"),
    "cut": ("benchmarks: [nano_mmlu", "suite.yaml"),
    "a tag of Python": ("!!python/object/apply:os.system [echo]", "suite.yaml"),
    "a key of 3": (GOOD + "3: x\n", "suite.yaml"),
    "a key of a list": (GOOD + "? [a]\n: x\n", "suite.yaml"),
    "a key of null": (GOOD + "~: x\n", "suite.yaml"),
    "no methods": ("benchmarks: [nano_mmlu]\n", "methods"),
    "methods of nothing": ("benchmarks: [nano_mmlu]\nmethods: []\n", "methods"),
    "methods of 3": ("benchmarks: [nano_mmlu]\nmethods: 3\n", "methods"),
    "methods of numbers": ("benchmarks: [nano_mmlu]\nmethods: [3]\n", "methods"),
    "an unknown method": ("benchmarks: [nano_mmlu]\nmethods: [lorra]\n", "lorra"),
    "an unknown benchmark": ("benchmarks: [mmmlu]\nmethods: [vanilla]\n", "mmmlu"),
    "benchmarks of numbers": ("benchmarks: [3]\nmethods: [vanilla]\n", "benchmarks"),
    "benchmarks of a mapping": ("benchmarks: {a: b}\nmethods: [vanilla]\n", "benchmarks"),
    "a misspelt key": (GOOD + "seed: [1]\n", "seeds"),
    "seeds of text": (GOOD + "seeds: [one]\n", "seeds"),
    "seeds of nothing": (GOOD + "seeds: []\n", "seeds"),
    "seeds below zero": ("benchmarks: [nano_mmlu]\nmethods: [lora]\nseeds: [-1]\n", "seed"),
    "seeds of infinity": (GOOD + "seeds: [.inf]\n", "seeds"),
    "no day": (GOOD + "student: 2020-13-45\n", "is not YAML"),
    "a number of 5,000 digits": (GOOD + "seeds: [" + "9" * 5000 + "]\n", "is not YAML"),
    "seeds of a word": (GOOD + "seeds: one\n", "seeds: it is a list, as in [a, b]"),
    "a row of null": ("benchmarks: [nano_mmlu]\nmethods: [null]\n", "methods.0: a row is a method's name"),
    "options of text beside a grid": (
        "benchmarks: [nano_mmlu]\nmethods: [{method: lora, options: x, grid: {rank: [4]}}]\n", "the options of lora"),
    "a value twice, written otherwise": (
        "benchmarks: [nano_mmlu]\nmethods: [{method: lora, grid: {alpha: [4, 4.0]}}]\n", "a value of alpha twice"),
    "a device of nothing": (GOOD + "device: ''\n", "device: String should have at least 1 character"),
    "a student of nothing": (GOOD + "student: ''\n", "student: String should have at least 1 character"),
    "a seed twice": (GOOD + "seeds: [0, 1, 0]\n", "0 is there 2 times"),
    "a grid's value twice": (
        "benchmarks: [nano_mmlu]\nmethods: [{method: lora, grid: {rank: [4, 4]}}]\n", "a value of rank twice"),
    "a name with a dash": ("benchmarks: [nano_mmlu]\nmethods: [{method: lora, name: -x}]\n", "begins with a dash"),
    "a grid's names with dashes": (
        "benchmarks: [nano_mmlu]\nmethods: [{method: lora, name: '--{rank}', grid: {rank: [4]}}]\n", "with a dash"),
    "limit of zero": (GOOD + "limit: 0\n", "limit"),
    "limit of text": (GOOD + "limit: few\n", "limit"),
    "limit of another benchmark": (GOOD + "limit: {gsm8k: 3}\n", "gsm8k"),
    "batch size below zero": (GOOD + "batch_size: -1\n", "batch_size"),
    "dtype": (GOOD + "dtype: float13\n", "dtype"),
    "engine": (GOOD + "engine: slurm\n", "slurm"),
    "engine of a list": (GOOD + "engine: [a]\n", "engine"),
    "options of an engine that is not asked": (GOOD + "ray: {num_cpus: 2}\n", "ray"),
    "options of a list": (GOOD + "options: [a]\n", "options"),
    "an option that nobody takes": (GOOD + "options: {rnk: 3}\n", "rnk"),
    "a rank of 1e9": ("benchmarks: [nano_mmlu]\nmethods: [lora]\noptions: {rank: 1000000000}\n", "rank"),
    "a rate of nan": ("benchmarks: [nano_mmlu]\nmethods: [lora]\noptions: {learning_rate: .nan}\n", "learning_rate"),
    "epochs of inf": ("benchmarks: [nano_mmlu]\nmethods: [lora]\noptions: {epochs: .inf}\n", "epochs"),
    "a name as a path": ("benchmarks: [nano_mmlu]\nmethods: [{method: lora, name: ../x}]\n", "name"),
    "a long name": (f"benchmarks: [nano_mmlu]\nmethods: [{{method: lora, name: {LONG}}}]\n", "name"),
    "a name twice": ("benchmarks: [nano_mmlu]\nmethods: [lora, lora]\n", "lora"),
    "a teacher alone": (GOOD + "teacher: x/y\n", "student"),
    "a protocol": (GOOD + "protocol: mine\n", "protocol"),
    "a date": (GOOD + "student: 2020-01-01\n", "student"),
    "no consent": ("benchmarks: [humaneval]\nmethods: [vanilla]\n", "confirm_run_unsafe_code"),
}  # fmt: skip


@pytest.mark.parametrize("what", SUITES)
def test_a_wrong_suite(what, refuses, tmp_path):
    content, says = SUITES[what]
    (tmp_path / "suite.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    refuses(["run", "suite.yaml"], says)
    assert not list(tmp_path.glob("suite/*/*"))


def test_what_follows_from_a_mistake_is_not_said(tmp_path):
    (tmp_path / "suite.yaml").write_text(GOOD + "seeds: [one]\n")
    with pytest.raises(ConfigError) as error:
        load_suite(tmp_path / "suite.yaml")
    assert str(error.value).endswith(
        "suite.yaml: seeds.0: Input should be a valid integer, unable to parse string as an integer"
    )
