"""Maps between two models' activations: their closed form against least squares on stacked rows, and streaming."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from pkt_eval.align import contexts
from pkt_eval.align.maps import AffineMap, Moments, collect, fit_map, paired_moments
from pkt_eval.errors import DataError
from pkt_eval.models.activations import Tap


def rows(n: int, d: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) * torch.linspace(0.5, 3, d) + 5


def moments(T: torch.Tensor, S: torch.Tensor, size: int = 7) -> Moments:
    found = Moments.zero(T.shape[1], S.shape[1])
    for t, s in zip(T.split(size), S.split(size), strict=True):
        found = found.add(t, s)
    return found


def brute_force(T: torch.Tensor, S: torch.Tensor, ridge: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Least squares on the centred rows, with rows √λ·I that want zero below them."""
    m_T, m_S = T.mean(0), S.mean(0)
    d = T.shape[1]
    weight = (ridge * (T - m_T).square().sum() / d) ** 0.5
    stacked = torch.cat([T - m_T, weight * torch.eye(d, dtype=torch.float64)])
    wanted = torch.cat([S - m_S, torch.zeros(d, S.shape[1], dtype=torch.float64)])
    return m_T, m_S, torch.linalg.lstsq(stacked, wanted, driver="gelsd").solution.T


def test_sums_do_not_depend_on_batches_and_are_centred_exactly():
    T, S = rows(40, 6, 0), rows(40, 4, 1)
    one, many = moments(T, S, 40), moments(T, S, 3)
    halves = moments(T[:11], S[:11]) + moments(T[11:], S[11:])
    for part in ("count", "sum_T", "sum_S", "TT", "ST", "SS"):
        for other in (many, halves):
            torch.testing.assert_close(torch.as_tensor(getattr(one, part)), torch.as_tensor(getattr(other, part)))
    centre = T - T.mean(0), S - S.mean(0)
    TT, ST, SS = one.about(one.mean_T, one.mean_S)
    for found, (a, b) in zip((TT, ST, SS), ((0, 0), (1, 0), (1, 1)), strict=True):
        torch.testing.assert_close(found, centre[a].T @ centre[b], rtol=1e-10, atol=1e-10)
    with pytest.raises(DataError, match="paired token by token: 3 of the teacher, 2"):
        one.add(T[:3], S[:2])


@pytest.mark.parametrize("n", [60, 9])  # more rows than columns, and fewer
def test_the_map_is_least_squares_with_a_ridge_that_held_out_rows_choose(n):
    T, noise = rows(n, 12, 2), rows(n, 5, 3)
    S = T @ rows(12, 5, 4) * 0.1 + noise
    fit, held = slice(0, 2 * n // 3), slice(2 * n // 3, n)
    ridges = (10.0, 1.0, 1e-1, 1e-3)
    found = fit_map(moments(T[fit], S[fit]), moments(T[held], S[held]), ridges)

    def r2(ridge: float) -> float:
        m_T, m_S, M = brute_force(T[fit], S[fit], ridge)
        residual = S[held] - m_S - (T[held] - m_T) @ M.T
        return float(1 - residual.square().sum() / (S[held] - m_S).square().sum())

    best = max(ridges, key=r2)
    m_T, m_S, M = brute_force(T, S, best)
    assert found.ridge == best and found.r2 == pytest.approx(r2(best), abs=1e-9)
    torch.testing.assert_close(found.M, M, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found(T.float()), (T.float().double() - m_T) @ M.T + m_S, rtol=1e-8, atol=1e-8)


def test_a_rotation_of_the_teacher_changes_nothing():
    T, S = rows(50, 8, 5), rows(50, 3, 6)
    Q = torch.linalg.qr(rows(8, 8, 7)).Q
    one, other = (fit_map(moments(X[:40], S[:40]), moments(X[40:], S[40:])) for X in (T, T @ Q.T))
    assert one.ridge == other.ridge and one.r2 == pytest.approx(other.r2, abs=1e-9)
    torch.testing.assert_close(other.M @ Q, one.M, rtol=1e-7, atol=1e-9)


def test_what_has_no_map_is_said():
    T, S = rows(8, 3, 0), rows(8, 2, 1)
    with pytest.raises(DataError, match="rows to fit and rows to hold out, and has 8 and 0"):
        fit_map(moments(T, S), Moments.zero(3, 2))
    with pytest.raises(DataError, match="do not vary"):
        fit_map(moments(torch.zeros(8, 3), S), moments(torch.zeros(8, 3), S))


def test_a_model_maps_to_itself_and_streaming_is_what_stacked_rows_give(tiny, records):
    teacher, student = tiny("qwen2")
    tokenizer, data = records
    found = contexts.texts(data, tokenizer, ("align", "train"), rows="all", budget=1500)
    fit, held = contexts.fitted_and_held_out(found)
    taps = [Tap("residual", 0), Tap("residual", 2)]
    T, S = (AutoModelForCausalLM.from_pretrained(f, dtype=torch.float32).eval() for f in (teacher, student))
    maps: dict[str, list[AffineMap]] = {}
    for name, theirs in (("other", T), ("self", S)):
        parts = []
        for of in (fit, held):
            kept = collect(theirs, contexts.text_batches(of), taps)
            parts.append(paired_moments(S, contexts.text_batches(of, 3), kept))
        maps[name] = [fit_map(parts[0][tap], parts[1][tap]) for tap in taps]
    for one in maps["self"]:
        assert one.r2 > 1 - 1e-6
        torch.testing.assert_close(one.M, torch.eye(48, dtype=torch.float64), atol=1e-2, rtol=0)
    stacked = [collect(m, contexts.text_batches(fit), taps)[taps[1]].double() for m in (T, S)]
    judged = [collect(m, contexts.text_batches(held), taps)[taps[1]].double() for m in (T, S)]
    assert len(stacked[0]) == sum(len(e["input_ids"]) - 2 for e in fit)
    torch.testing.assert_close(maps["other"][1].M, fit_map(moments(*stacked), moments(*judged)).M, rtol=1e-6, atol=1e-8)
    with pytest.raises(DataError, match="the student has"):
        paired_moments(S, contexts.text_batches(held), collect(T, contexts.text_batches(fit), taps))


def test_texts_keep_their_budget_and_say_which_positions(records):
    tokenizer, data = records
    few = contexts.texts(data, tokenizer, ("align", "train"), rows="answer", budget=300)
    assert few and sum(len(e["input_ids"]) for e in few) <= 300
    every = contexts.texts(data, tokenizer, ("align", "train"), rows="answer")
    assert len(every) == len(data.splits.align) + len(data.splits.train) and every[: len(few)] == few
    assert len(contexts.texts(data, tokenizer, ("align",), rows="all", budget=1)) == 1
    fit, held = contexts.fitted_and_held_out(every)
    assert len(fit) + len(held) == len(every) and held == every[3::4]
    with pytest.raises(DataError, match="1 text cannot be parted"):
        contexts.fitted_and_held_out(every[:1])
