"""``pkt-eval gate``: from two folders of records to an exit code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pkt_eval._util.boundary import end
from pkt_eval._util.files import save_text
from pkt_eval.errors import ConfigError, PKTError, StoreError

FOLDER = (
    "Folder of a suite, of a part of it, or of lm_eval's --output_path (with --log_samples); FOLDER::STUDENT where it "
    "holds several, e.g. suite::lora or suite::lora/seed1."
)


def gate(
    baseline: Annotated[str, typer.Option(metavar="FOLDER", help=f"What must be kept up with. {FOLDER}")],
    candidate: Annotated[str, typer.Option(metavar="FOLDER", help="What is tested. As --baseline.")],
    tolerance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHARE",
            help="Loss in score that is tolerated; default: 0.02, two points. NAME=SHARE is for one benchmark, e.g. "
            "gsm8k=0.03. May be given several times.",
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Chance of either wrong claim.")] = 0.05,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers as JSON.")] = None,
) -> None:
    """Is a candidate no more than a tolerance worse than its baseline, on every benchmark?

    \b
      pkt-eval gate --baseline suite::vanilla --candidate suite::lora
      pkt-eval gate --baseline main/ --candidate branch/ --tolerance 0.03 --tolerance gsm8k=0.05 --junit gate.xml

    Compares the same documents pair by pair; reads records only, no model.

    \b
    Exit code 0: holds. On every benchmark a loss of the tolerance is excluded.
              1: worse. On some benchmark a loss beyond the tolerance is shown. A smaller
                 loss fails no gate, however significant it is.
              2: cannot tell. Too few items to show either, and it says how many are
                 needed; or no comparison: other prompts, template, version or settings,
                 a benchmark or samples missing; or a folder that cannot be read.

    Each claim is false with a chance of alpha at most. Two runs with the same answers hold from 133 items on for the
    default tolerance, from 88 for 0.03, from 52 for 0.05.
    """
    try:
        code = _gate(baseline, candidate, tolerance or [], alpha, junit, json_file)
    except PKTError:
        raise
    except Exception as error:
        end("pkt-eval gate", error)
        code = 2  # the boundary's own is 1, which would say "worse"
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
            try:
                save_text(path, text(outcome))
            except OSError as error:
                raise StoreError(f"cannot write {path}: {error}") from error
    show(outcome, console())
    return outcome.exit_code


def tolerances(words: Sequence[str]) -> dict[str, float]:
    """Benchmark → tolerance; "" → that of all others.

    Args:
        words: ``0.02`` or ``gsm8k=0.03``.

    Raises:
        ConfigError: A word is neither, or something is given twice.
    """
    given: dict[str, float] = {}
    for word in words:
        name, _, value = word.rpartition("=")
        try:
            number = float(value)
        except ValueError:
            raise ConfigError(f"--tolerance {word!r} is neither a share, such as 0.02, nor NAME=SHARE") from None
        if name in given:
            raise ConfigError(f"--tolerance is given twice for {name or 'all benchmarks'}")
        given[name] = number
    return given
