"""The name that a suite gave a student is its name in tables, whatever its options are."""

import pytest

from pkt_eval.errors import DataError
from pkt_eval.report.records.labels import labelled
from pkt_eval.report.records.students import student_of


def config(rank: int, label: object = None) -> dict[str, object]:
    made = {"method": "seeking", "student": "s", "transfer_task": "nano_gsm8k", "seed": 0, "config": {"rank": rank}}
    return {"pkt": made} | ({} if label is None else {"pkt_label": label})


def labels(*configs: dict[str, object]) -> list[str]:
    students = [student_of(each) for each in configs]
    found = labelled(students)
    return [found[student.variant] for student in students]


def test_a_name_of_ones_own_is_the_label():
    assert labels(config(8, "seeking-r8"), config(16, "seeking(rank=16)"), config(4)) == [
        "seeking-r8", "seeking(rank=16)", "seeking",
    ]  # fmt: skip


def test_without_names_the_options_that_differ_tell_students_apart():
    assert labels(config(8), config(16)) == ["seeking (rank=8)", "seeking (rank=16)"]


def test_one_name_for_two_students_says_what_differs():
    assert labels(config(8, "mine"), config(16, "mine")) == ["mine (rank=8)", "mine (rank=16)"]


@pytest.mark.parametrize("label", [3, "", " ", ["a"], {}])
def test_a_name_is_text(label):
    with pytest.raises(DataError, match="pkt_label"):
        student_of(config(8, label))
