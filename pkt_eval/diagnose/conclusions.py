"""What was found, in words. Each sentence is made of numbers of the summary by a rule that it states.

A number says little without another one that it is to be compared with, so every sentence names its reference: two
layers of one model, pairs at random, random sets, the student before the transfer. The thresholds are conventions and
no tests: they decide which word is used, and are said in the report (``THRESHOLDS``).
"""

import re
from collections.abc import Mapping
from typing import Any

#: Similarities (CKA) that differ by less are called the same.
SAME = 0.05
#: A transfer that moved a mean CKA by less has changed what layers compute "hardly".
MOVED = 0.01
#: R² from which a map is called "mostly" and "in part" there.
MOSTLY, PARTLY = 0.75, 0.25
#: Share of the agreement between two seeds of a task, from which two tasks are said to locate alike.
ALIKE = 0.8
#: |cosine| under which two matrices are called unrelated, and from which one is called part of the other.
UNRELATED, PART = 0.01, 0.1

THRESHOLDS = (
    "The words follow fixed rules, which are conventions and no tests. Similarities within "
    f"{SAME} of each other are as alike; a transfer that moves their mean by less than {MOVED} hardly moved it. R² is "
    f"mostly from {MOSTLY} on, in part from {PARTLY} on. Another task locates nearly what another seed does from "
    f"{ALIKE:.0%} of that on. A cosine below {UNRELATED} is unrelated, one from {PART} on a part, one below −{PART} "
    "opposed."
)


_Cka = Mapping[str, Mapping[str, Mapping[str, float]]]


def conclusions(numbers: Mapping[str, Any]) -> list[str]:
    """Sentences in Markdown, of a summary (``pkt_eval.diagnose.findings.summary``).

    Args:
        numbers: A summary; what older ones lack is left out.
    """
    said = [_layers(numbers["cka"]), _depth(numbers["cka"]), _stitching(numbers["stitching"])]
    said += [_moved(label, numbers["cka"]) for label in numbers["parametric"]]
    said += [_located(role, of_kinds) for role, of_kinds in numbers["overlap"].items()]
    said += [_weights(label, of_blocks) for label, of_blocks in numbers["parametric"].items()]
    return [sentence for sentence in said if sentence]


def _layers(cka: _Cka) -> str:
    across, within = cka["teacher × student"], cka["teacher × teacher"]
    alike: dict[str, list[str]] = {"as alike": [], "less alike": []}
    for kind, values in across.items():
        best, reference = values["best"], within[kind]["best"]
        how = "as alike" if best >= reference - SAME else "less alike"
        alike[how].append(f"{kind} ({best:.2f} against {reference:.2f})")
    found = "; ".join(f"{how} in {', '.join(kinds)}" for how, kinds in alike.items() if kinds)
    return (
        "**Layers, best pairs.** The CKA of each student layer with its best teacher layer, against that of each "
        f"teacher layer with the best *other* one of the teacher: {found}. Any two layers of teacher and student have "
        f"{_range([v['mean'] for v in across.values()], '{:.2f}')}, by kind of output."
    )


def _depth(cka: _Cka) -> str:
    known = {k: v for k, v in cka["teacher × student"].items() if v.get("depth") is not None}
    if not known:
        return ""
    more = [kind for kind, v in known.items() if v["depth"] > v["mean"] + SAME]
    numbers = ", ".join(f"{kind} {v['depth']:.2f} against {v['mean']:.2f}" for kind, v in known.items())
    what = f"adds to it in {', '.join(more)}" if more else "adds nothing to it"
    return (
        "**Layers, by depth.** CKA at equal relative depth against the mean of all pairs, which is what pairs shuffled "
        f"at random have: {numbers}. Depth {what}."
    )


def _stitching(r2: Mapping[str, float]) -> str:
    best, mean = r2["best"], r2["mean"]
    how = "mostly" if best >= MOSTLY else "in part" if best >= PARTLY else "hardly"
    return (
        f"**Stitching.** An affine map of a teacher layer's residual stream gives a student layer's {how}: held-out R² "
        f"{best:.2f} from the best teacher layer and {mean:.2f} from any, where predicting the mean gives 0."
    )


def _moved(label: str, cka: _Cka) -> str:
    before, after = cka["teacher × student"], cka[f"teacher × {label}"]
    change = {kind: after[kind]["mean"] - before[kind]["mean"] for kind in before}
    kind = max(change, key=lambda k: abs(change[k]))
    how = "hardly moved" if abs(change[kind]) < MOVED else "is closer" if change[kind] > 0 else "is further away"
    return (
        f"**After {label}**, the student {how} with respect to the teacher: of all kinds of output the mean CKA of "
        f"{kind} changed most, from {before[kind]['mean']:.3f} to {after[kind]['mean']:.3f}."
    )


def _located(role: str, of_kinds: Mapping[str, Mapping[str, float | None]]) -> str:
    parts, kinds = [], []
    for kind, means in of_kinds.items():
        seeds, tasks, random = means["two seeds"], means["two tasks"], means["random"]
        if seeds is None or random is None:
            continue
        other = "" if tasks is None else f", {tasks:.2f} of two tasks"
        parts.append(f"{kind} {seeds:.2f} of two seeds{other}, {random:.2f} of random sets")
        if tasks is not None and tasks >= ALIKE * seeds:
            kinds.append(kind)
    if not parts:
        return ""
    alike = f" Another task locates nearly what another seed does in {', '.join(kinds)}." if kinds else ""
    return f"**Located in the {role}** (share of neurons in common, Jaccard): {'; '.join(parts)}.{alike}"


def _weights(label: str, of_blocks: Mapping[str, Mapping[str, float | None]]) -> str:
    def of(quantity: str) -> list[float]:
        return [value for values in of_blocks.values() if (value := values[quantity]) is not None]

    changed = of("delta_norm")
    said = [f"**Weights of {label}** changed by {_range(changed, '{:.2%}')} of their norm."] if changed else []
    if start := of("cos_start_original"):
        largest, smallest = max(map(abs, start)), min(map(abs, start))
        how = "is unrelated to" if largest < UNRELATED else "is a part of" if smallest >= PART else "partly lies in"
        said.append(
            f"The product that fine-tuning started from {how} the weight that it was put into (cosine "
            f"{_range(start, '{:.3f}')}; unrelated matrices have 0)."
        )
    if angles := of("angle_out_start_weight") + of("angle_in_start_weight"):
        said.append(f"It stands at {_range(angles, '{:.1f}')}° to that weight's own principal subspaces.")
    if (left := of("cos_start_remaining")) and max(left) < -PART:
        said.append(f"What is left of the weight is opposed to it (cosine {_range(left, '{:.2f}')}).")
    if turned := of("angle_out_start_final") + of("angle_in_start_final"):
        said.append(f"Fine-tuning turned it by {_range(turned, '{:.1f}')}°.")
    return " ".join(said)


def _range(values: list[float], form: str) -> str:
    low, high = (re.sub(r"^-(?=[0.]+%?$)", "", form.format(end)) for end in (min(values), max(values)))
    return (low if low == high else f"{low} to {high}").replace("-", "−")
