"""``pkt-eval gate``: from two folders of records to an exit code."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from pkt_eval._util.boundary import end, one_line
from pkt_eval._util.files import save_text
from pkt_eval.errors import ConfigError, StoreError

FOLDER = (
    "Folder of a suite, of a part of it, or of lm_eval's --output_path (with --log_samples); FOLDER::STUDENT where it "
    "holds several: suite::lora is all its seeds, suite::lora/seed1 one."
)


def gate(
    baseline: Annotated[str, typer.Option(metavar="FOLDER", help=f"What must be kept up with. {FOLDER}")],
    candidate: Annotated[str, typer.Option(metavar="FOLDER", help="What is tested. As --baseline.")],
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHARE",
            help="Loss in score that is tolerated, as a share of 1; default: 0.02, which is two points. NAME=SHARE is "
            "for one benchmark, e.g. gsm8k=0.03. May be given several times.",
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Chance of either wrong claim.")] = 0.05,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers as JSON.")] = None,
) -> None:
    """Is a candidate no more than a tolerance worse than its baseline, on every benchmark?

    \b
      pkt-eval gate --baseline suite::vanilla --candidate suite::lora
      pkt-eval gate --baseline main/ --candidate branch/ \\
          --tolerance 0.03 --tolerance gsm8k=0.05 --junit gate.xml

    Compares the same documents pair by pair, of all seeds that a student has; reads records only, no model.

    \b
    Exit code 0: holds. On every benchmark a loss of the tolerance is excluded.
    1: worse. On some benchmark a loss beyond the tolerance is shown. A smaller
       loss fails no gate, however significant it is.
    2: cannot tell. Too few items to show either, and it says how many are
       needed; or no comparison: other prompts, template, version or settings,
       a benchmark or samples missing; or a folder that cannot be read.
       --junit and --json say why, too.

    Each claim is false with a chance of alpha at most. Two runs with the same answers hold from 133 items on for the
    default tolerance, from 88 for 0.03, from 52 for 0.05.
    """
    if junit and json_file and junit.absolute() == json_file.absolute():
        raise ConfigError(f"--junit and --json would both write {junit}: name two files")
    try:
        code = _gate(baseline, candidate, tolerance or [], alpha, junit, json_file)
    except Exception as error:
        end("pkt-eval gate", error)
        code = 2  # the boundary's own is 1 for a mistake of ours, which would say "worse"
        _write_refusal(one_line(error), junit, json_file)
    raise typer.Exit(code)


def _gate(
    baseline: str, candidate: str, words: Sequence[str], alpha: float, junit: Path | None, json_file: Path | None
) -> int:
    from pkt_eval._util.console import console
    from pkt_eval.report.gate import TOLERANCE, load, show, to_json, to_junit
    from pkt_eval.report.gate import gate as test

    own = tolerances(words)
    (old, notes), (new, more) = load(baseline), load(candidate)
    outcome = test(old, new, own.pop("", TOLERANCE), own, alpha, list(dict.fromkeys([*notes, *more])))
    for path, text in ((junit, to_junit), (json_file, to_json)):
        if path:
            _write(path, text(outcome))
    show(outcome, console())
    return outcome.exit_code


def _write_refusal(reason: str, junit: Path | None, json_file: Path | None) -> None:
    """For CI to show why; where these files are what cannot be written, that has been said."""
    from pkt_eval.report.gate import refused_json, refused_junit

    for path, text in ((junit, refused_junit), (json_file, refused_json)):
        with suppress(StoreError):
            if path:
                _write(path, text(reason))


def _write(path: Path, text: str) -> None:
    try:
        if path.is_dir():
            raise ValueError("it is a folder; name a file")
        save_text(path, text)
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot write {str(path)[:200]}: {error}") from error


def tolerances(words: Sequence[str]) -> dict[str, float]:
    """Benchmark → tolerance; "" → that of all others.

    Args:
        words: ``0.02`` or ``gsm8k=0.03``.

    Raises:
        ConfigError: A word is neither, or something is given twice.
    """
    given: dict[str, float] = {}
    for word in words:
        name, equals, value = word.rpartition("=")
        try:
            if equals and not name:
                raise ValueError
            number = float(value)
        except ValueError:
            raise ConfigError(
                f"--tolerance {word!r} is neither a share nor NAME=SHARE: two points, or 2 % of the items, are 0.02"
            ) from None
        if name in given:
            raise ConfigError(f"--tolerance is given twice for {name or 'all benchmarks'}")
        given[name] = number
    return given
