"""What a student is told apart from its teacher by: divergences of their next tokens, at the supervised positions.

``P`` is the teacher's distribution and ``Q`` the student's, over one vocabulary.
"""

from __future__ import annotations

from typing import Literal

from pkt_eval._util.lazy import torch

KLDirection = Literal["forward", "reverse"]


def generalised_jsd(teacher: torch.Tensor, student: torch.Tensor, beta: float) -> torch.Tensor:
    """``β·KL(P‖M) + (1 − β)·KL(Q‖M)`` with ``M = β·P + (1 − β)·Q``, summed over positions, in nats (arXiv 2306.13649).

    Its limits are taken at the ends, where it is zero itself, as trl does: ``KL(P‖Q)`` at 0 and ``KL(Q‖P)`` at 1.

    Args:
        teacher: Logits ``(N, V)``.
        student: Logits ``(N, V)``.
        beta: From 0 to 1.
    """
    p, q = teacher.float().log_softmax(-1), student.float().log_softmax(-1)
    if beta == 0:
        return _kl(p, q)
    if beta == 1:
        return _kl(q, p)
    share = torch.tensor(beta, device=p.device)
    m = torch.logaddexp(p + share.log(), q + (1 - share).log())
    return beta * _kl(p, m) + (1 - beta) * _kl(q, m)


def _kl(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.exp() * (a - b)).sum()


def kept_divergence(
    ids: torch.Tensor, teacher: torch.Tensor, student: torch.Tensor, direction: KLDirection
) -> torch.Tensor:
    """``KL(P‖Q)`` or ``KL(Q‖P)`` where of the teacher only the likeliest tokens are known, summed, in nats.

    All other tokens count as one: so it is a lower bound of the divergence over the whole vocabulary, zero where the
    two are the same.

    Args:
        ids: ``(N, k)`` tokens whose probability is known.
        teacher: ``(N, k)`` their log-probabilities.
        student: Logits ``(N, V)``.
        direction: ``forward``: by the teacher's probabilities; ``reverse``: by the student's.
    """
    q = student.float().log_softmax(-1).gather(1, ids)
    p, q = (torch.cat([t.float(), _rest(t.float())], dim=1) for t in (teacher, q))
    return _kl(p, q) if direction == "forward" else _kl(q, p)


def _rest(known: torch.Tensor) -> torch.Tensor:
    """Log-probability ``(N, 1)`` of what is not known; float32 tells none below 1e-7 from none."""
    return (1 - known.exp().sum(1, keepdim=True)).clamp_min(1e-7).log()
