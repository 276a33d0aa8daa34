"""The threat model that ``pkt_eval/code/README.md`` states is the code's."""

import re
from pathlib import Path
from typing import get_args

import pkt_eval.code
from pkt_eval.code import Limits
from pkt_eval.code.isolation import LEVELS, SCRATCH_BYTES
from pkt_eval.code.jailed import seccomp
from pkt_eval.code.session import MOST_THREADS
from pkt_eval.code.verdict import Status

FOLDER = Path(pkt_eval.code.__file__).parent
TEXT = (FOLDER / "README.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("|")]


def constant(file: str, name: str) -> int:
    """A constant of a jailed script, which does not import out here."""
    line = re.search(rf"^{name} = (.+)$", (FOLDER / "jailed" / file).read_text(), re.M)
    return eval(line[1].replace("_", ""))


def test_levels_are_those_of_the_code():
    rows = {row[0].strip("`"): row for row in ROWS if row[0].strip("`") in LEVELS}
    assert list(rows) == list(LEVELS)
    for name, level in LEVELS.items():
        assert rows[name][1] == (", ".join(level.isolates) or "nothing")
        assert rows[name][2] == (", ".join(level.enforces) or "nothing")


def test_statuses_are_those_of_the_code():
    section = TEXT.partition("## The verdict")[2].partition("##")[0]
    statuses = list(get_args(Status))
    named = [name for name in re.findall(r"`(\w+)`", section) if name in statuses]
    assert named[: len(statuses)] == statuses


def test_limits_are_those_of_the_code():
    limits = Limits()
    flat = " ".join(TEXT.split())
    assert f"CPU time ({limits.cpu_seconds} s)" in flat and f"address space ({limits.memory_mb} MB)" in flat
    assert f"output ({limits.output_bytes >> 10} KB)" in flat and f"a file ({limits.file_mb} MB)" in flat
    assert limits.wall_seconds == 3 * limits.cpu_seconds + 5 and "(3 × that + 5 s;" in flat
    assert f"{constant('zygote.py', 'OPEN_FILES')} open files and {MOST_THREADS} threads" in flat
    assert f"in memory of {SCRATCH_BYTES >> 20} MB" in flat
    most, deepest = constant("plain.py", "MOST_BYTES"), constant("forms.py", "DEEPEST")
    assert f"over all calls: {constant('plain.py', 'MOST_COMPARED') >> 20} MB" in flat
    assert f"at most {most >> 20} MB and {deepest} deep" in flat
    assert f"{constant('forms.py', 'MOST_ELEMENTS'):,} elements" in flat


def test_every_file_is_named():
    table = " ".join(" ".join(row) for row in ROWS)
    for file in [*FOLDER.glob("*.py"), *(FOLDER / "jailed").glob("*.py")]:
        assert file.stem == "__init__" or f"`{file.stem}`" in table, file


def test_architectures_are_those_of_the_filter():
    assert all(name in TEXT for name in seccomp._ARCHITECTURES)
