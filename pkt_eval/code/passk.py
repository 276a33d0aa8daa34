"""pass@k, unbiased: the chance that one of k samples passes, estimated from n samples of which c passed.

Chen et al. 2021, "Evaluating Large Language Models Trained on Code" (arXiv 2107.03374), equation 1.
"""

from operator import index

from pkt_eval.errors import ConfigError


def pass_at_k(n: int, c: int, k: int) -> float:
    """Estimates pass@k of one problem as ``1 - C(n-c, k) / C(n, k)``.

    The quotient is taken as a product of n-c-i over n-i, in which every factor lies in [0, 1]: no large
    binomials.

    Args:
        n: Samples drawn for the problem.
        c: How many of them passed.
        k: Size of the draw that pass@k asks about; at most ``n``.

    Returns:
        A number from 0.0 to 1.0; exactly 1.0 when fewer than ``k`` samples failed, exactly 0.0 when none
        passed.

    Raises:
        ConfigError: Unless the three are whole numbers with ``0 <= c <= n`` and ``1 <= k <= n``.

    Example:
        One of two samples passed, so a draw of one passes half the time, and a draw of both always.

        >>> pass_at_k(2, 1, 1), pass_at_k(2, 1, 2)
        (0.5, 1.0)
    """
    try:
        n, c, k = index(n), index(c), index(k)
    except TypeError as error:
        raise ConfigError(f"pass@k takes whole numbers, got n={n!r}, c={c!r}, k={k!r}") from error
    if not 0 <= c <= n:
        raise ConfigError(f"pass@k needs 0 <= c <= n, got n={n}, c={c}: more passes than samples, or negative")
    if not 1 <= k <= n:
        raise ConfigError(f"pass@k needs 1 <= k <= n, got n={n}, k={k}: draw at least k samples per problem")
    none_passes = 1.0
    for i in range(k):
        none_passes *= max(n - c - i, 0) / (n - i)
    return 1.0 - none_passes
