"""Influences of few markets in; p by the wild bootstrap and bands that hold together out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from retention_lab.incentives.rollout.aggregate import Average
from retention_lab.incentives.rollout.few import Error, scale_of, sides_of
from retention_lab.incentives.rollout.staggered import Floats

DRAWS = 9999
LEAST = 3  # markets on a side for a band: the t of two has no use so far out
AT_ONCE = 2**22  # numbers
WEBB = np.array([-np.sqrt(1.5), -1.0, -np.sqrt(0.5), np.sqrt(0.5), 1.0, np.sqrt(1.5)])


def webb_weights(
    markets: int, draws: int = DRAWS, seed: int = 1, width: int = 1
) -> Iterator[Floats]:
    """Blocks of (draws, markets) of Webb's six-point weights, mean 0, variance 1.

    `width` numbers a draw and market are made of each. Webb (2014), Queen's Economics Department
    Working Paper 1315: two-point weights have too few patterns where markets are few.
    """
    rng = np.random.default_rng(seed)
    block = max(1, min(draws, AT_ONCE // max(1, markets * width)))
    for first in range(0, draws, block):
        yield WEBB[rng.integers(0, 6, (min(block, draws - first), markets), dtype=np.int8)]


def wild_p(found: Average, seed: int = 1, draws: int = DRAWS) -> float | None:
    """p of no effect of an average, by a wild cluster bootstrap with the null imposed.

    The residuals are those where no market has an effect, flipped and scaled market by market; t
    is taken anew in each draw (Cameron, Gelbach, Miller 2008, Review of Economics and Statistics
    90). None where one side is one market. With few treated markets it rejects too seldom, not too
    often (MacKinnon, Webb 2018, Econometrics Journal 21).
    """
    some = (found.null != 0) | found.treated
    x, share, treated = found.null[some], found.share[some], found.treated[some]
    scale = scale_of(treated, np.ones(len(x), bool), found.weight[some])
    if np.isnan(scale).any() or not np.any(x):
        return None
    size, other = len(found.null), ~treated

    def t_of(y: Floats) -> Floats:
        own = y[..., treated].sum(axis=-1) / size
        rest = y - share * own[..., None]
        if other.any():
            rest[..., other] -= y[..., other].mean(axis=-1)[..., None]
        return np.asarray(np.abs(y.sum(axis=-1)) / np.sqrt((rest**2) @ scale))

    own = float(t_of(x))
    # Controls are measured from their own mean, which makes them too small by this much.
    flipped = np.where(treated, x, x * np.sqrt(scale))
    beyond = sum(
        int((t_of(v * flipped) >= own * (1.0 - 1e-9)).sum())
        for v in webb_weights(len(x), draws, seed)
    )
    return (1.0 + beyond) / (1.0 + draws)


def simultaneous(
    found: Sequence[Average], errors: Sequence[Error], alpha: float, seed: int = 1
) -> list[float | None]:
    """Half widths of intervals that hold all together with probability 1 - alpha.

    The greatest |t| of all averages under multiplier draws (Callaway, Sant'Anna 2021, theorem 3)
    gives the level that one interval needs; each has its own t at that level. So far out the t of
    Welch would trust the smaller side too much, so its degrees of freedom are that side's. None: no
    error, or fewer than `LEAST` markets on a side.
    """
    from scipy.special import ndtr

    able = [
        i for i, e in enumerate(errors) if e.std_error is not None and _smaller(found[i]) >= LEAST
    ]
    out: list[float | None] = [None] * len(found)
    if not able:
        return out
    psi = np.array([found[i].influence for i in able])
    spread = np.sqrt((psi**2).sum(axis=1))
    some = psi.any(axis=0)
    t = psi[:, some] / spread[:, None]
    most = np.concatenate([
        np.abs(v @ t.T).max(axis=1) for v in webb_weights(int(some.sum()), seed=seed)
    ])  # fmt: skip
    limit = float(np.quantile(most, 1.0 - alpha))
    own = min(alpha, 2.0 * float(ndtr(-limit)))
    for i in able:
        df = min(errors[i].df, _smaller(found[i]) - 1.0)
        out[i] = dataclasses.replace(errors[i], df=df).half(own)
    return out


def _smaller(found: Average) -> float:
    """Markets on the smaller side, as many as they count for."""
    return min(n for n in sides_of(found) if n)
