"""What is printed is data: no markup, no control characters, and no error of encoding."""

import io
import os
import subprocess
import sys

import pytest
from rich.progress import Progress
from rich.table import Table

from pkt_eval._util.console import WIDTH, console
from pkt_eval._util.text import lenient, printable

HOSTILE = "[bold]x[/b] [old] :smile: \x1b[31mred\x07\r\x9b2J\x7f \u202eevil"


def shown(what: object, encoding: str = "utf-8", **how) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding)
    console(file).print(what, **how)
    file.flush()
    return raw.getvalue().decode(encoding)


def in_a_table(*cells: str) -> Table:
    table = Table(*cells, title=cells[0])
    table.add_row(*cells)
    return table


@pytest.mark.parametrize("made", [lambda text: text, in_a_table])
def test_data_is_no_markup_and_cannot_drive_a_terminal(made):
    said = shown(made(HOSTILE))
    assert "[bold]x[/b] [old] :smile: [31mred2J evil" in said
    assert not {"\x1b", "\x07", "\r", "\x9b", "\x7f", "\u202e"} & set(said)


def test_newlines_tabs_and_letters_of_all_scripts_stay():
    assert printable("a\tb\nÄ→日") == "a\tb\nÄ→日"


@pytest.mark.parametrize(("encoding", "said"), [("cp1252", "-3 -> 4 ± 1 <= Ä ? ?"), ("ascii", "-3 -> 4 +- 1 <= ? ? ?")])
@pytest.mark.parametrize("made", [lambda text: text, in_a_table])
def test_what_an_encoding_lacks_is_replaced(made, encoding, said):
    assert said in shown(made("−3 → 4 ± 1 ≤ Ä 日 \ud800"), encoding)


def test_a_lone_surrogate_is_replaced_in_utf_8():
    assert shown("\udcff!") == "?!\n"


def test_rich_itself_still_drives_the_terminal():
    file = io.StringIO()
    out = console(file, width=80)
    out._force_terminal, out._color_system = True, None
    with Progress(console=out, auto_refresh=False) as bar:
        bar.update(bar.add_task("x", total=1), advance=1)
    assert "x" in file.getvalue() and "\x1b[" in file.getvalue()


def test_a_pipe_gets_the_width_that_tables_need_and_columns_has_its_way(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console(io.StringIO()).width == WIDTH
    assert console(io.StringIO(), width=40).width == 40
    monkeypatch.setenv("COLUMNS", "72")
    assert console(io.StringIO()).width == 72


@pytest.mark.parametrize("how", ["console().print({})", "lenient(sys.stdout); print({})"])
def test_a_process_whose_output_is_not_utf_8_ends_well(how):
    rooms = "import sys; from pkt_eval._util.console import *; from pkt_eval._util.text import *; "
    code = rooms + how.format("'− → 日 \\ud800'")
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONIOENCODING": "cp1252"}, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout.strip()) == (0, b"- -> ? ?")


def test_the_doctor_shows_a_path_that_is_markup_and_not_in_the_encoding():
    env = {**os.environ, "PYTHONIOENCODING": "cp1252", "PKT_EVAL_STORE": "/x→[/b]日"}
    done = subprocess.run([sys.executable, "-m", "pkt_eval", "doctor"], env=env, capture_output=True)
    assert b"/x->[/b]?" in done.stdout and b"Traceback" not in done.stderr


def test_what_is_no_stream_is_left_as_it_is():
    lenient(object())
