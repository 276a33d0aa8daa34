"""Every command of the README and of the pages is run here, or says why not.

They are run from the top to the bottom, README first, in one folder, as somebody does who reads: the files that a block
is are there for those after it. What was run before is not run again.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import READ, ROOT, USED, Block, blocks, pages
from warm import commands


@pytest.fixture(scope="module")
def reader(tmp_path_factory, lean_lm_eval):
    """``reader(block)``: does what a block says; raises AssertionError with the output where that fails."""
    folder = tmp_path_factory.mktemp("reader")
    told = {"PKT_EVAL_STORE": str(folder / "store"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": lean_lm_eval, "COLUMNS": "80"}
    environment = {**os.environ, **told}
    here, done = folder / "here", set()
    here.mkdir()
    with commands(folder, environment) as bin:
        environment["PATH"] = f"{bin}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

        def run(words: list[str]) -> None:
            said = subprocess.run(words, cwd=here, env=environment, capture_output=True, text=True)
            assert said.returncode == 0, f"{words[-1]}\n{said.stdout[-3000:]}{said.stderr[-3000:]}"

        def do(block: Block) -> None:
            if block.file:
                (here / block.file).write_text(block.text)
            if block.language == "bash":
                if new := [command for command in block.commands if command not in done]:
                    done.update(new)
                    run(["bash", "-euo", "pipefail", "-c", "\n".join(new)])
            elif block.language == "python" and block.text not in done:
                done.add(block.text)
                run([str(bin / "python"), "-c", block.text])

        yield do


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_says_can_be_done(page, reader):
    for block in blocks(page):
        if block.language in USED and not block.why_not:
            reader(block)


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_block_is_run_or_read_or_says_why_not(page):
    for block in blocks(page):
        assert block.language in USED + READ, f"a block in {block.language or 'no language'}: {block.text[:80]}"
        assert block.language != "yaml" or block.file or block.why_not, f"name its file: {block.text[:80]}"


def test_commands_outside_of_blocks_are_of_ours():
    """Words after ``pkt-eval`` anywhere on a page are a command that there is."""
    from typer.main import get_command

    from pkt_eval.cli import app

    there = set(get_command(app).commands) | {"--version"}
    for page in pages():
        named = set(re.findall(r"pkt-eval ([a-z-]+)", page.read_text("utf-8")))
        assert named <= there, page
