"""What was found, as tables of one number a row, for CSV."""

from collections.abc import Iterable

import numpy as np

from pkt_eval.diagnose.findings import Diagnosis


def tables(diagnosis: Diagnosis) -> dict[str, tuple[tuple[str, ...], Iterable[tuple[object, ...]]]]:
    """CSV name → header and rows, one number a row."""
    cka = (
        (a, b, kind, *place, value)
        for (a, b), of_kinds in diagnosis.cka.items()
        for kind, t in of_kinds.items()
        for place, value in np.ndenumerate(t.numpy())
    )
    r2, ridge = diagnosis.stitching.r2.numpy(), diagnosis.stitching.ridge.numpy()
    overlap = (
        (role, kind, between, *place, value)
        for role, of_kinds in diagnosis.overlap.items()
        for kind, o in of_kinds.items()
        for between in ("samples", "tasks")
        for place, value in np.ndenumerate(getattr(o, between).numpy())
    )
    parametric = (
        (label, quantity, p.blocks[i], layer, value)
        for label, p in diagnosis.parametric.items()
        for quantity, t in p.values.items()
        for (layer, i), value in np.ndenumerate(t.numpy())
    )
    spectra = (
        (label, name, p.blocks[i], layer, number, value)
        for label, p in diagnosis.parametric.items()
        for name, t in p.spectra.items()
        for (layer, i, number), value in np.ndenumerate(t.numpy())
        if not np.isnan(value)
    )
    named: dict[str, tuple[tuple[str, ...], Iterable[tuple[object, ...]]]] = {
        "cka": (("rows", "columns", "output", "row_layer", "column_layer", "cka"), cka),
        "stitching": (
            ("teacher_layer", "student_layer", "r2", "ridge"),
            ((*place, value, ridge[place]) for place, value in np.ndenumerate(r2)),
        ),
        "overlap": (("model", "neurons", "between", "first", "second", "jaccard"), overlap),
    }
    if diagnosis.parametric:
        named["parametric"] = (("transfer", "quantity", "block", "layer", "value"), parametric)
        named["spectra"] = (("transfer", "of", "block", "layer", "number", "singular_value"), spectra)
    return named
