"""Transport & Merge: Sinkhorn's marginals and fixed point, the merge by loops, and what a permutation changes."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval.align.procrustes import standardised
from pkt_eval.align.sinkhorn import sinkhorn
from pkt_eval.methods.transport import SITES, Site, channel_costs, layer_shares, transported, with_row_norms
from pkt_eval.models import blocks
from pkt_eval.transfer.recipe import make_recipe
from pkt_eval.transfer.transfer import make_student

WIDTHS_T = {Site("q", "input"): 6, Site("q", "output"): 8, Site("k", "output"): 4, Site("v", "output"): 4}
WIDTHS_T |= {Site("o", "output"): 6, Site("o", "input"): 8}
WIDTHS_S = {site: width // 2 + 1 for site, width in WIDTHS_T.items()}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("scale", [1.0, 1e4])  # the kernel, and log-sum-exp
def test_a_plan_has_uniform_marginals_and_the_form_of_the_optimum(scale):
    C = noise(2, 5, 7).abs() * scale
    Q = sinkhorn(C, epsilon=0.1 * scale**0.5, iterations=2000, tolerance=1e-10)
    torch.testing.assert_close(Q.sum(-1), torch.full((2, 5), 1 / 5).double())
    torch.testing.assert_close(Q.sum(-2), torch.full((2, 7), 1 / 7).double(), rtol=1e-6, atol=0)
    # log Q + C/ε = u ⊕ v: every 2×2 minor of it vanishes.
    free = (Q.clamp_min(1e-300).log() + C / (0.1 * scale**0.5))[Q.amin((-2, -1)) > 1e-290]
    minors = free[:, 1:, 1:] - free[:, :1, 1:] - free[:, 1:, :1] + free[:, :1, :1]
    assert minors.numel() == 0 or float(minors.abs().max()) < 1e-6 * float(free.abs().max())


def test_kernel_and_log_domain_agree_and_a_cold_plan_is_the_assignment():
    from scipy.optimize import linear_sum_assignment

    C = noise(6, 6, seed=3).abs()
    cold = sinkhorn(C, epsilon=1e-3, iterations=3000, tolerance=1e-6)  # beyond the kernel's range
    _, columns = linear_sum_assignment(C.numpy())
    assert cold.argmax(1).tolist() == columns.tolist()
    kernel = sinkhorn(C.float(), epsilon=0.05, iterations=1000)
    u, v = torch.zeros(6).double(), torch.zeros(6).double()
    for _ in range(300):
        u = -math.log(6) - torch.logsumexp(v - C / 0.05, 1)
        v = -math.log(6) - torch.logsumexp(u[:, None] - C / 0.05, 0)
    torch.testing.assert_close(kernel.double(), (u[:, None] + v - C / 0.05).exp(), rtol=1e-3, atol=1e-6)


def channels(widths: dict, seed: int, n: int = 50) -> dict:
    return {site: standardised(noise(n, width, seed=seed + 10 * i)) for i, (site, width) in enumerate(widths.items())}


def weights(widths: dict, seed: int) -> dict:
    inputs = {block: Site("o" if block == "o" else "q", "input") for block in "qkvo"}
    return {b: noise(widths[Site(b, "output")], widths[into], seed=seed) for b, into in inputs.items()}


def test_the_merge_is_the_formula_by_loops():
    ours, theirs = channels(WIDTHS_S, 1), [channels(WIDTHS_T, 100), channels(WIDTHS_T, 200)]
    W = [weights(WIDTHS_T, 5), weights(WIDTHS_T, 6)]
    shares = {site: torch.tensor([0.3 + 0.02 * i, 0.7 - 0.02 * i]).double() for i, site in enumerate(SITES)}
    found = transported(ours, theirs, W, shares)
    for block in "qkvo":
        out, into = Site(block, "output"), Site("o" if block == "o" else "q", "input")
        wanted = torch.zeros(WIDTHS_S[out], WIDTHS_S[into]).double()
        for j in range(2):
            plans = []
            for site in (out, into):
                C = (
                    1
                    - torch.corrcoef(torch.cat([ours[site], theirs[j][site]], 1).T)[: WIDTHS_S[site], WIDTHS_S[site] :]
                )
                plans.append(sinkhorn(C) * WIDTHS_S[site])
            torch.testing.assert_close(plans[0].sum(1), torch.ones(WIDTHS_S[out]).double())
            weight = math.sqrt(float(shares[out][j] * shares[into][j]))
            wanted += weight * plans[0] @ W[j][block] @ plans[1].T
        torch.testing.assert_close(found[block], wanted, rtol=1e-6, atol=1e-9)


def test_permuting_the_channels_of_the_teacher_changes_nothing():
    ours, theirs, W = channels(WIDTHS_S, 1), [channels(WIDTHS_T, 100)], [weights(WIDTHS_T, 5)]
    shares = {site: torch.ones(1).double() for site in SITES}
    generator = torch.Generator().manual_seed(0)
    orders = {site: torch.randperm(width, generator=generator) for site, width in WIDTHS_T.items()}
    shuffled = {site: rows[:, orders[site]] for site, rows in theirs[0].items()}
    turned = {
        b: w[orders[Site(b, "output")]][:, orders[Site("o" if b == "o" else "q", "input")]] for b, w in W[0].items()
    }
    one, two = transported(ours, theirs, W, shares), transported(ours, [shuffled], [turned], shares)
    for block in "qkvo":
        torch.testing.assert_close(two[block], one[block])


def test_a_layer_goes_to_the_layer_that_it_is():
    layers = [channels(WIDTHS_T, seed) for seed in (100, 200, 300)]
    share = layer_shares(layers, layers)
    for site, P in share.items():
        torch.testing.assert_close(P.sum(1), torch.ones(3).double())
        assert P.argmax(1).tolist() == [0, 1, 2], site


def test_costs_and_row_norms():
    A = channels(WIDTHS_T, 1)[SITES[0]]
    torch.testing.assert_close(channel_costs(A, A).diagonal(), torch.zeros(6).double())
    W, like = noise(4, 3), noise(4, 5, seed=1)
    W[2] = 0
    scaled = with_row_norms(W, like)
    torch.testing.assert_close(scaled.norm(dim=1)[[0, 1, 3]], like.norm(dim=1)[[0, 1, 3]])
    assert not scaled[2].any()


@pytest.mark.parametrize("family", ["qwen2", "gemma2"])
def test_the_control_shrinks_the_same_weights_and_needs_no_teacher(family, tiny, small):
    teacher, base = tiny(family)
    words = {k: v for k, v in small.items() if k.endswith("samples")}
    words |= {"transfer_task": "nano_mmlu", "pretrained": base, "tokens": 200, "strength": 0.1}
    merged = make_student(make_recipe({**words, "teacher": teacher, "method": "transport"}))
    shrunk = make_student(make_recipe({**words, "method": "transport_shrink"}))
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    assert [e.name for e in merged.edits] == [e.name for e in shrunk.edits] and len(merged.edits) == 3 * 4
    for moved, less in zip(merged.edits, shrunk.edits, strict=True):
        W = model.get_parameter(moved.name).detach()
        torch.testing.assert_close(less.delta, -0.1 * W)
        transported_part = moved.delta / 0.1 + W
        torch.testing.assert_close(transported_part.norm(dim=1), W.norm(dim=1), rtol=1e-3, atol=1e-4)
    record = merged.provenance.record
    assert record["delta_over_weight"].keys() == set("qkvo") and record["choice"]["candidates"][0]["strength"] == 0.1
    assert shrunk.provenance.record["delta_over_weight"] == pytest.approx(dict.fromkeys("qkvo", 0.1))
    assert set(map(len, record["nearest_teacher_layer"].values())) == {3}
    assert blocks.dims(model.config).layers == 3
