"""The pictures of a diagnosis: PNG for a README, SVG for print.

Two columns of print wide, maps that colour-blind readers can tell apart (viridis, cividis; PuOr for differences), lines
in the colours of Okabe and Ito. Needs matplotlib, the extra ``figures``.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from pkt_eval.data.benchmarks import benchmark
from pkt_eval.diagnose.findings import Diagnosis
from pkt_eval.diagnose.overlap import Overlap
from pkt_eval.diagnose.parametric import Parametric

_WIDTH = 7.2  # inches: two columns of print
_DPI = 160
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLE = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "svg.fonttype": "none",
    "svg.hashsalt": "pkt-eval",  # the same numbers, the same file
}
#: Style of a line → keywords of ``plot``. Before and after often coincide: both must be seen where they do.
_LINES: dict[str, dict[str, Any]] = {
    "before": {
        "linestyle": "none",
        "marker": "o",
        "markersize": 3.5,
        "markerfacecolor": "none",
        "markeredgewidth": 0.7,
    },
    "after": {"linestyle": "-", "marker": ".", "markersize": 2.5},
    "dashed": {"linestyle": "--"},
    "weight": {"linestyle": "-", "color": "0.6", "linewidth": 2.5, "zorder": 1},
}
_OUTPUTS = {"residual": "residual stream"}
_NEURONS = {"ffn": "FFN neurons", "attention": "attention neurons", "value": "value rows"}


def draw(diagnosis: Diagnosis, folder: Path) -> dict[str, str]:
    """Draw everything into a folder that is there.

    Returns:
        Name of a figure (``NAME.png`` and ``NAME.svg``) → its caption, in the order of the report. The first word of a
        name is the section that it belongs to.
    """
    captions = {}
    with matplotlib.rc_context(_STYLE):
        for name, figure, caption in _figures(diagnosis):
            FigureCanvasAgg(figure)
            figure.savefig(folder / f"{name}.png", dpi=_DPI)
            figure.set_layout_engine("none")  # as it is laid out now: doing it again would take as long as all the rest
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            captions[name] = caption
    return captions


def _figures(diagnosis: Diagnosis) -> Iterator[tuple[str, Figure, str]]:
    for (a, b), of_kinds in diagnosis.cka.items():
        if a == b and a not in ("teacher", "student"):
            continue  # in the table alone: to the eye it is the student's
        if a == "teacher" and b in diagnosis.parametric:
            yield (
                f"cka_after_{b}",
                _after(of_kinds, diagnosis.cka["teacher", "student"], b),
                f"CKA of teacher and student after the transfer {b}, and what it changed.",
            )
        else:
            which = f"cka_{a}_{b}" if a != b else f"cka_within_{a}"
            what = f"every {a} layer and every {b} layer" if a != b else f"the {a}'s layers with each other"
            yield which, _maps(of_kinds, a, b), f"Debiased linear CKA of {what}."
    yield "stitching", _stitching(diagnosis), "Held-out R² of the best affine map from teacher to student layers."
    tasks = diagnosis.facts["tasks"]
    for role, located in diagnosis.overlap.items():
        yield (
            f"overlap_{role}",
            _overlap(located, tasks, role),
            f"Neurons of the {role} that two samples, two tasks and two seeds (diagonal below) locate alike.",
        )
    if diagnosis.parametric:
        yield "weights_cosines", _cosines(diagnosis.parametric), "The product before and after fine-tuning, against W."
        yield "weights_delta", _delta(diagnosis.parametric), "How much of a weight a transfer changed."
        if any(not p.values["angle_out_start_final"].isnan().all() for p in diagnosis.parametric.values()):
            yield "weights_angles", _angles(diagnosis.parametric), "Mean principal angles between subspaces."
        yield "weights_spectra", _spectra(diagnosis.parametric), "Singular values, mean over layers."


def _new(rows: int, columns: int, height: float, title: str, **kwargs: Any) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **kwargs)
    figure.suptitle(title, fontsize=9)
    return figure, axes


def _heat(axes: Axes, matrix: np.ndarray, title: str, *, low: float, high: float, cmap: str = "viridis") -> Any:
    image = axes.imshow(matrix, vmin=low, vmax=high, cmap=cmap, origin="lower", aspect="auto", interpolation="nearest")
    axes.set_title(title)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True))
    return image


def _mean(matrix: np.ndarray, *, own: bool = False) -> str:
    known = matrix[~np.eye(len(matrix), dtype=bool)] if own else matrix
    return f"{np.nanmean(known):.2f} ± {np.nanstd(known):.2f}"


def _maps(of_kinds: Mapping[str, Any], a: str, b: str) -> Figure:
    """A heat map a kind of output, and the best of each column beside them."""
    own = a == b
    figure, axes = _new(2, 3, 4.9, f"Debiased linear CKA, {a} × {b} (mean ± deviation)")
    *panels, last = axes.flat
    for axis, (kind, t), colour in zip(panels, of_kinds.items(), _COLOURS, strict=False):
        matrix, name = t.numpy(), _OUTPUTS.get(kind, kind)
        image = _heat(axis, matrix, f"{name}: {_mean(matrix, own=own)}", low=0, high=1)
        axis.set(xlabel=f"{b} layer", ylabel=f"{a} layer")
        off = np.where(np.eye(len(matrix), dtype=bool), np.nan, matrix) if own else matrix
        last.plot(np.nanmax(off, axis=0), color=colour, marker="o", markersize=2, label=name)
    last.set(xlabel=f"{b} layer", ylabel="CKA", ylim=(0, 1.02), title=f"best {'other' if own else a} layer")
    last.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    last.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(of_kinds), frameon=False)
    figure.colorbar(image, ax=axes[:, -1], label="CKA", aspect=40)
    return figure


def _after(of_kinds: Mapping[str, Any], before: Mapping[str, Any], label: str) -> Figure:
    figure, axes = _new(
        2, len(of_kinds), 3.9, f"Debiased linear CKA, teacher × {label} (mean ± deviation)", sharex=True, sharey=True
    )
    changes = {kind: (t - before[kind]).numpy() for kind, t in of_kinds.items()}
    most = max(0.01, *(np.nanmax(np.abs(c)) for c in changes.values()))
    for (upper, lower), (kind, t) in zip(axes.T, of_kinds.items(), strict=True):
        matrix, change = t.numpy(), changes[kind]
        image = _heat(upper, matrix, f"{_OUTPUTS.get(kind, kind)}\n{_mean(matrix)}", low=0, high=1)
        mean = f"{np.nanmean(change):+.4f}".replace("-", "−")
        moved = _heat(lower, change, f"{mean} ± {np.nanstd(change):.4f}", low=-most, high=most, cmap="PuOr")
        lower.set_xlabel("student layer")
    for axis in axes[:, 0]:
        axis.set_ylabel("teacher layer")
    figure.colorbar(image, ax=axes[0], label="CKA after", aspect=15, pad=0.01)
    figure.colorbar(moved, ax=axes[1], label="after − before", aspect=15, pad=0.01)
    return figure


def _stitching(diagnosis: Diagnosis) -> Figure:
    r2 = diagnosis.stitching.r2.numpy()
    figure, ((left, right),) = _new(1, 2, 3.0, "Affine stitching of residual streams, teacher → student")
    # A map that is worse than the mean is no better for being much worse.
    image = _heat(left, r2, f"held-out R²: {_mean(r2)} (mean ± deviation)", low=0, high=1, cmap="cividis")
    left.set(xlabel="student layer", ylabel="teacher layer")
    figure.colorbar(image, ax=left, label="R²", extend="min" if r2.min() < 0 else "neither")
    right.plot(r2.max(axis=0), color=_COLOURS[0], marker="o", markersize=3)
    for layer, teacher in enumerate(r2.argmax(axis=0)):
        right.annotate(
            str(teacher), (layer, r2[teacher, layer]), (0, 4), textcoords="offset points", ha="center", fontsize=6
        )
    right.set(xlabel="student layer", ylabel="held-out R²", title="from the best teacher layer (its number)")
    right.set_ylim(min(0, r2.max(axis=0).min()), 1.05)
    right.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    right.grid(alpha=0.3)
    return figure


def _overlap(of_kinds: Mapping[str, Overlap], tasks: list[str], role: str) -> Figure:
    title = f"Neurons of the {role} located alike: Jaccard index (that of random sets)"
    figure, axes = _new(2, len(of_kinds), 4.9, title)
    names = [benchmark(t).kind for t in tasks]
    for (upper, lower), (kind, o) in zip(axes.T, of_kinds.items(), strict=True):
        means = o.means
        single = o.samples.clone().fill_diagonal_(float("nan")).numpy()
        same, other = means["two samples of a task"], means["samples of two tasks"]
        title = f"{_NEURONS[kind]} ({o.random:.2f})\nsame task {same:.2f}, other {other:.2f}"
        image = _heat(upper, single, title, low=0, high=1)
        ends = np.cumsum(np.bincount(o.task_of.numpy()))
        for end in ends[:-1]:
            for line in (upper.axhline, upper.axvline):
                line(end - 0.5, color="white", linewidth=0.8)
        middles = (ends + np.concatenate([[0], ends[:-1]])) / 2 - 0.5
        title = f"other seed (diagonal) {means['two seeds']:.2f},\nother task {means['two tasks']:.2f}"
        _heat(lower, o.tasks.numpy(), title, low=0, high=1)
        for (i, j), value in np.ndenumerate(o.tasks.numpy()):
            lower.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=6, color="w" if value < 0.6 else "k")
        for axis, places in ((upper, middles), (lower, np.arange(len(tasks)))):
            axis.set_xticks(places, names, rotation=30, ha="right", rotation_mode="anchor")
            axis.set_yticks(places, names if axis in axes[:, 0] else [""] * len(names))
            axis.tick_params(length=0)
    for axis, what in zip(axes[:, 0], ("one sample each", "all samples of a task"), strict=True):
        axis.set_ylabel(what)
    figure.colorbar(image, ax=axes[:, -1], label="Jaccard index", aspect=40)
    return figure


def _lines(
    parametric: Mapping[str, Parametric],
    rows: list[tuple[str, dict[str, str]]],
    draw: Callable[[Axes, Parametric, int, str, Mapping[str, Any]], bool],
    styles: Mapping[str, str],
    title: str,
    xlabel: str = "student layer",
) -> tuple[Figure, np.ndarray]:
    """A column of panels a block, a colour a transfer, a line style a role.

    Args:
        parametric: Label → what is drawn.
        rows: Label of the axis, and quantity → name of its style, of each row of panels.
        draw: Draws a quantity of a block, by its number, into axes, with keywords for ``plot``; False if there is none.
        styles: Name of a style, out of ``_LINES`` → its words in the legend.
        title: Of the figure.
        xlabel: Of the lowest panels.
    """
    blocks = list(dict.fromkeys(b for p in parametric.values() for b in p.blocks))
    figure, axes = _new(len(rows), len(blocks), 1.1 + 1.6 * len(rows), title, sharex=True, sharey="row")
    colours = dict(zip(parametric, _COLOURS * len(parametric), strict=False))
    drawn = {}
    for panels, (ylabel, quantities) in zip(axes, rows, strict=True):
        panels[0].set_ylabel(ylabel)
        for axis, block in zip(panels, blocks, strict=True):
            axis.grid(alpha=0.3)
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            for label, p in parametric.items():
                for quantity, style in quantities.items():
                    keywords = {"color": colours[label], **_LINES[style]}
                    if block in p.blocks and draw(axis, p, p.blocks.index(block), quantity, keywords):
                        drawn[label] = Line2D([], [], color=colours[label], label=label)
    for axis, block in zip(axes[0], blocks, strict=True):
        axis.set_title(block)
    for axis in axes[-1]:
        axis.set_xlabel(xlabel)
    keys = [Line2D([], [], label=words, **{"color": "0.3", **_LINES[style]}) for style, words in styles.items()]
    handles = [*drawn.values(), *keys]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False)
    return figure, axes


def _by_layer(axis: Axes, p: Parametric, block: int, quantity: str, keywords: Mapping[str, Any]) -> bool:
    values = p.values[quantity][:, block].numpy()
    if known := not np.isnan(values).all():
        axis.plot(values, **keywords)
    return known


def _by_number(axis: Axes, p: Parametric, block: int, name: str, keywords: Mapping[str, Any]) -> bool:
    """Singular values, geometric mean over layers, without those that are zero but for rounding."""
    values = p.spectra[name][:, block].numpy()
    values = values[:, ~np.isnan(values).all(0)]
    if not values.any():
        return False
    values = np.exp(np.nanmean(np.log(np.maximum(values, 1e-30)), axis=0))
    values = values[values > 1e-6 * values[0]]
    axis.plot(range(1, len(values) + 1), values, **keywords)
    return True


def _cosines(parametric: Mapping[str, Parametric]) -> Figure:
    rows = [
        ("cos(BA, W)", {"cos_start_original": "before", "cos_final_original": "after"}),
        ("cos(BA, W − B₀A₀)", {"cos_start_remaining": "before", "cos_final_remaining": "after"}),
    ]
    styles = {"before": "before fine-tuning", "after": "after"}
    title = "The low-rank product against the original and the remaining weight"
    return _lines(parametric, rows, _by_layer, styles, title)[0]


def _delta(parametric: Mapping[str, Parametric]) -> Figure:
    rows = [("‖δ‖ / ‖W‖", {"delta_norm": "after"})]
    figure, axes = _lines(parametric, rows, _by_layer, {}, "Norm of the change, relative to W")
    axes[0, 0].set_yscale("log")
    return figure


def _angles(parametric: Mapping[str, Parametric]) -> Figure:
    rows = [
        ("before ∠ after\nfine-tuning (°)", {"angle_out_start_final": "after", "angle_in_start_final": "dashed"}),
        (
            "before ∠ principal\nsubspace of W (°)",
            {"angle_out_start_weight": "after", "angle_in_start_weight": "dashed"},
        ),
    ]
    styles = {"after": "outputs (columns of B)", "dashed": "inputs (rows of A)"}
    title = "Mean principal angle between subspaces of the product's rank"
    figure, axes = _lines(parametric, rows, _by_layer, styles, title)
    axes[0, 0].set_ylim(bottom=0)
    axes[1, 0].set_ylim(-3, 93)
    return figure


def _spectra(parametric: Mapping[str, Parametric]) -> Figure:
    rows = [
        ("W, B₀A₀ and BA", {"weight": "weight", "start": "before", "final": "after"}),
        ("whole change δ", {"delta": "after"}),
    ]
    styles = {"weight": "W", "before": "B₀A₀, before fine-tuning", "after": "BA, after; δ"}
    title = "Singular values over ‖W‖, geometric mean over layers"
    figure, axes = _lines(parametric, rows, _by_number, styles, title, "index")
    for axis in axes[:, 0]:
        axis.set_yscale("log")
    return figure
