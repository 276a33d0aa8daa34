"""How sure the statistics over seeds are: coverage and false alarms, on more cells than the tests have time for.

``python benchmarks/seeds.py [TABLES]`` prints, in per cent, for each number of items, pass rate and number of seeds,
and for four spreads between seeds (1.9, 3.8, 5.5 and 10 points): how many 95 % intervals of a difference to vanilla
hold the truth, and how many comparisons of equal students have p <= 0.05; then how many whole tables of
equal students (ten, on four benchmarks, against vanilla and against LoRA with the same seeds or with others) have
anything bold.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "report"))
from simulated import draw

from pkt_eval.report.stats import Crossed, benjamini_hochberg, benjamini_yekutieli

SPREADS = (0.019, 0.038, 0.055, 0.10)
SEEDS = (2, 3, 4, 5, 7, 10)
BENCHMARKS = ((164, 0.4), (200, 0.5), (300, 0.3), (400, 0.6))
BLOCK = 100


def comparisons(rng: np.random.Generator, tables: int) -> None:
    """Coverage and level of one comparison."""
    print("items  rate  seeds  coverage / p<=0.05, for each spread")
    for n in (100, 400, 1300):
        for p in (0.1, 0.3, 0.6):
            for seeds in SEEDS:
                shown = [_one(rng, tables, n, p, seeds, spread) for spread in SPREADS]
                print(f"{n:5}  {p:4}  {seeds:5}  " + "  ".join(f"{100 * c:5.1f} / {100 * a:4.1f}" for c, a in shown))


def _one(rng: np.random.Generator, tables: int, n: int, p: float, seeds: int, spread: float) -> tuple[float, float]:
    covered: list[np.ndarray] = []
    alarms: list[np.ndarray] = []
    for _ in range(tables // BLOCK):
        rows, vanilla = draw(rng, BLOCK, 1, seeds, n, p, spread)
        crossed = Crossed.of(rows[:, 0] - vanilla, [seeds])
        covered.append(np.abs(crossed.value) <= crossed.half_width(0.95))
        alarms.append(crossed.p_value() <= 0.05)
    return float(np.mean(covered)), float(np.mean(alarms))


def tables_of_nothing(rng: np.random.Generator, tables: int) -> None:
    """False alarms of whole tables."""
    print("seeds  LoRA's seeds  tables with anything bold by BH / BY, for each spread")
    for seeds in SEEDS:
        for same in (True, False):
            shown = []
            for spread in SPREADS:
                drawn = np.concatenate([_tables(rng, seeds, spread, same) for _ in range(tables // BLOCK)])
                shown.append([_bold(drawn, adjust) for adjust in (benjamini_hochberg, benjamini_yekutieli)])
            name = "the same" if same else "others"
            print(f"{seeds:5}  {name:12}  " + "  ".join(f"{100 * bh:4.1f} / {100 * by:4.1f}" for bh, by in shown))


def _tables(rng: np.random.Generator, seeds: int, spread: float, same: bool) -> np.ndarray:
    p: list[np.ndarray] = []
    for n, rate in BENCHMARKS:
        rows, vanilla = draw(rng, BLOCK, 10, seeds, n, rate, spread)
        ours, lora = rows[:, 1:], rows[:, :1]
        p.append(Crossed.of(rows - vanilla[:, None], [seeds]).p_value())
        if same:
            p.append(Crossed.of(ours - lora, [seeds]).p_value())
        else:
            apart = np.concatenate([ours, np.broadcast_to(-lora, ours.shape)], axis=2)
            p.append(Crossed.of(apart, [seeds, seeds]).p_value())
    return np.concatenate(p, axis=1)


def _bold(tables: np.ndarray, adjust) -> float:
    return float(np.mean([(adjust(table) <= 0.05).any() for table in tables]))


def main(arguments: Sequence[str]) -> None:
    """Both simulations."""
    rng, tables = np.random.default_rng(0), int(arguments[0]) if arguments else 1000
    comparisons(rng, tables)
    tables_of_nothing(rng, tables)


if __name__ == "__main__":
    main(sys.argv[1:])
