"""How to read each figure of a report."""

#: Beginning of a figure's name → how to read it; of several the longest counts.
_READING: dict[str, str] = {
    "cka": "a cell is a layer of one model against a layer of the other, from 0 (dark, unrelated) to 1 (bright, "
    "equal). A bright diagonal says that the models do the same in the same order. Even brightness says "
    "that all layers are alike, so that a high value means little. The last panel has the best of each "
    "column.",
    "cka_within": "the reference for two models: how alike two layers of *one* are. Bright blocks along the diagonal "
    "are groups of layers that do much the same.",
    "cka_after": "above, as before the transfer. Below, what it changed, to be read with the scale beside it: where "
    "that ends at 0.01, hardly anything has moved.",
    "stitching": "left, R² of the map from each teacher layer to each student layer: 0 is as good as the mean, 1 is "
    "exact. Right, the best of each student layer, with the number of the teacher layer; numbers that "
    "rise from left to right say that depth is kept.",
    "overlap": "above, a cell is two single samples, those of one task within white lines: squares along the "
    "diagonal say that a task has neurons of its own. Below, all samples of a task: off the diagonal two "
    "tasks, on it two seeds of one. In brackets what random sets have in common, which is the zero of "
    "this figure.",
    "weights_cosines": "above, whether the product is a part of the original weight (1) or unrelated to it (0); below, "
    "whether it is opposed to what is left of that weight (negative). Where the lines of before and after "
    "lie on each other, fine-tuning has left the product as it was.",
    "weights_delta": "the size of the whole change of a weight, relative to that weight, on a logarithmic scale: "
    "10⁻² is one per cent.",
    "weights_angles": "above, by how much fine-tuning turned the product's subspaces. Below, how they stand to the "
    "weight's own: 0° is in it, and random subspaces of a large space stand at nearly 90°.",
    "weights_spectra": "how the size of a matrix is spread over its directions; a steep line is a few strong ones. "
    "Where the product's line lies far under the weight's, it is small beside it.",
}


def reading(figure: str) -> str:
    """How to read a figure.

    Args:
        figure: Its name, as ``pkt_eval.diagnose.figures.draw`` gives it.
    """
    return _READING[max((start for start in _READING if figure.startswith(start)), key=len)]
