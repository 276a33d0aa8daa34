"""Seeking and LaTen at the sizes of Llama 2: random weights of the 13B's shape into the 7B's, seconds and peak memory.

Where time is short, the singular value decompositions stop at a deadline: their rate is what is wanted. Random weights
are their slowest case, having no gap in the spectrum, and their first LaTen step says nothing but how long it takes.
"""

import time
from typing import Any

import torch
from part import DEVICE, TINY, Part, clock, configuration, expect, free, random_ids, random_model

from pkt_eval._util.progress import Progress
from pkt_eval.align import AlignmentExamples, AlignmentOptions, align
from pkt_eval.extract import densest_block, truncated_svd
from pkt_eval.extract.neurons import neuron_vectors
from pkt_eval.locate import neuron_attribution, parameter_sensitivity, select_layers
from pkt_eval.locate.attribution import attribute
from pkt_eval.locate.places import best_places
from pkt_eval.locate.select import Located, best, neuron_counts
from pkt_eval.models import blocks

MODULES = ("up", "down", "v", "o")
RANK = 16
LENGTH = 24 if TINY else 128
SAMPLES = 2 if TINY else 4
SVD_SECONDS = 5 if TINY else 30

TEACHER, STUDENT = (blocks.dims(configuration(shape)) for shape in ("13B", "7B"))


def batches() -> list[dict[str, torch.Tensor]]:
    """Samples whose second half is the answer."""
    ids = random_ids(SAMPLES, LENGTH)
    labels = ids.clone()
    labels[:, : LENGTH // 2] = -100
    return [{"input_ids": i[None], "labels": one[None]} for i, one in zip(ids, labels, strict=True)]


def sequences() -> list[tuple[torch.Tensor, int]]:
    """The same as ``(ids before the target, target)``."""
    return [(ids[:-1], int(ids[-1])) for ids in random_ids(SAMPLES, LENGTH)]


def examples(count: int) -> list[dict[str, list[int]]]:
    """The same as lists."""
    made = [{key: t[0].tolist() for key, t in batch.items()} for batch in batches()]
    return [made[i % len(made)] for i in range(count)]


def seeking(teacher: Any, part: Part) -> None:
    """Sensitivity, layers, blocks, decompositions."""
    scores: dict[str, torch.Tensor] = {}
    layers: list[int] = []
    places: list[tuple[str, int, int, int]] = []
    with part.step("Seeking: sensitivity") as facts:
        start = clock()
        scores = parameter_sensitivity(teacher, batches(), MODULES)
        facts |= {"samples": SAMPLES, "tokens": LENGTH, "seconds_a_sample": round((clock() - start) / SAMPLES, 2)}
        facts["scores_gb"] = round(sum(s.nbytes for s in scores.values()) / 1e9, 1)
        layers = select_layers(scores, STUDENT.layers)
    with part.step("Seeking: densest blocks") as facts:
        for layer in layers:
            for block in MODULES:
                name = blocks.weight_name(block, layer)
                places.append((name, layer, *densest_block(scores[name], STUDENT.shape(block))))
        facts["blocks"] = len(places)
    with part.step("Seeking: the densest blocks of a layer on the CPU are the same") as facts:
        for block, (name, _, *place) in zip(MODULES, places[-len(MODULES) :], strict=True):
            here = list(densest_block(scores[name].cpu(), STUDENT.shape(block)))
            facts[block] = place
            expect(here == place, f"{name}: {here} on the CPU, {place} on the device")
    scores.clear()
    free()
    with part.step("Seeking: truncated SVD") as facts:
        deadline, done, first = time.perf_counter() + SVD_SECONDS, 0, None
        start = clock()
        for number, (name, _, row, column) in enumerate(places):
            rows, columns = STUDENT.shape(MODULES[number % len(MODULES)])
            cut = teacher.get_parameter(name).detach()[row : row + rows, column : column + columns]
            B, A = truncated_svd(cut, RANK)
            first = first or (cut.float(), B, A)
            done += 1
            if clock() > deadline:
                break
        each = (clock() - start) / done
        facts |= {"blocks": f"{done} of {len(places)}", "seconds_a_block": round(each, 3)}
        facts["seconds_of_all_blocks"] = round(each * len(places), 1)
        M, B, A = first
        gram = (M.T @ M if M.shape[0] >= M.shape[1] else M @ M.T).double()
        optimal = torch.linalg.eigvalsh(gram)[:-RANK].sum().sqrt()
        facts["residual_to_optimal"] = round(float((M - B @ A).double().norm() / optimal), 6)
        expect(facts["residual_to_optimal"] < 1.001, f"the residual is {facts['residual_to_optimal']} × the optimal")


def locate(model: Any, facts: dict[str, Any]) -> Located:
    """Fast attribution of the samples, summed; the first sample warms up."""
    keep = neuron_counts(STUDENT, 0.1)
    attribute(model, sequences()[:1], keep=keep, scoring="fast")
    start = clock()
    scores = attribute(model, sequences(), keep=keep, scoring="fast")
    facts |= {"samples": SAMPLES, "tokens": LENGTH, "seconds_a_sample": round((clock() - start) / SAMPLES, 3)}
    return best_places(scores, blocks.dims(model.config), keep, STUDENT.layers, MODULES)


def latens_teacher(teacher: Any, part: Part) -> dict[str, torch.Tensor]:
    """Locate and take out, by few tokens; and how that compares with the whole vocabulary."""
    vectors: dict[str, torch.Tensor] = {}
    with part.step("LaTen: locate in the teacher") as facts:
        where = locate(teacher, facts)
    with part.step("LaTen: the teacher's vectors") as facts:
        vectors = {block: t.cpu() for block, t in neuron_vectors(teacher, where).items()}
        facts["vectors_gb"] = round(sum(t.nbytes for t in vectors.values()) / 1e9, 2)
    with part.step("LaTen: one sample on the whole vocabulary") as facts:
        ids, target = sequences()[0]
        start = clock()
        full = neuron_attribution(teacher, ids, target)
        seconds = clock() - start
        fast = neuron_attribution(teacher, ids, target, scoring="fast")
        # U times down and o of each layer, in float32.
        flops = 2 * TEACHER.vocab * TEACHER.hidden * TEACHER.layers * (TEACHER.ffn + TEACHER.heads * TEACHER.head_dim)
        facts |= {"seconds_full": round(seconds, 2), "tflops": round(flops / seconds / 1e12, 3)}
        k = neuron_counts(STUDENT, 0.1).ffn
        pairs = zip(best(fast.ffn, k).tolist(), best(full.ffn, k).tolist(), strict=True)
        facts["best_tenth_agrees"] = round(sum(len({*a} & {*b}) for a, b in pairs) / (k * TEACHER.layers), 5)
        expect(facts["best_tenth_agrees"] > 0.99, f"fast and full scoring agree in {facts['best_tenth_agrees']}")
    return vectors


def latens_student(vectors: dict[str, torch.Tensor], part: Part) -> None:
    """The student is opened in float32, as LaTen does: located in, and aligned by one step."""
    with part.step("LaTen: the student, float32"):
        student = random_model("7B", torch.float32)
    with part.step("LaTen: locate in the student") as facts:
        where = locate(student, facts)
    with part.step("LaTen: one step of alignment") as facts:
        moved = {block: t.to(DEVICE) for block, t in vectors.items()}
        options = AlignmentOptions(steps=1, samples=4, learning_rate=3e-5, seed=0)
        texts = AlignmentExamples(examples(1), examples(3), examples(2))
        (step,) = align(student, where, moved, texts, options, Progress(enabled=False))
        facts |= {"samples": 4, "lm_loss": round(step.lm_loss, 3), "validation_loss": round(step.validation_loss, 3)}
        expect(all(bool(d.isfinite().all()) for d in step.deltas.values()), "a delta is not finite")


def main() -> None:
    """The teacher's part, then the student's: the two are never in memory together."""
    part = Part("extraction", "Seeking and LaTen, random weights of Llama-2-13B's shape into 7B's")
    teacher = None
    with part.step("the teacher, bfloat16") as facts:
        teacher = random_model("13B", torch.bfloat16)
        facts["parameters"] = sum(p.numel() for p in teacher.parameters())
    if teacher is not None:
        seeking(teacher, part)
        free()
        vectors = latens_teacher(teacher, part)
        teacher = None
        free()
        latens_student(vectors, part)
    part.end()


if __name__ == "__main__":
    main()
