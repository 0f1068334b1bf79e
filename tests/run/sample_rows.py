"""Means and counts of arms in; rows of the result table, and a run made of them, for tests out.

Intervals are normal, not Welch's: the report only shows numbers, it does not make them.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from retention_lab.results import Reason, Results, Row, Verdict

Z = 1.959963984540054


@dataclasses.dataclass(frozen=True)
class Cell:
    """Mean, standard deviation and number of units of one arm."""

    mean: float
    sd: float
    n: int


@dataclasses.dataclass(frozen=True)
class Case:
    """One run: the file's text, its results, its verdict and what run.json adds."""

    name: str
    spec: str
    results: Results
    verdict: Verdict
    run: dict[str, Any] = dataclasses.field(default_factory=dict)


def yes(rate: float, n: int) -> Cell:
    return Cell(rate, math.sqrt(rate * (1 - rate) * n / (n - 1)), n)


def compare(
    metric: str,
    arms: dict[str, Cell],
    segment: str | None = None,
    level: str | None = None,
    ratio: bool = False,
) -> list[Row]:
    """Levels, differences and lifts of every arm; the first is the control."""
    place: dict[str, Any] = {
        "analysis": "ab",
        "metric": metric,
        "segment": segment,
        "level": level,
    }
    method = "delta method, Welch t" if ratio else "Welch t"
    mean, difference = ("ratio", "ratio_difference") if ratio else ("mean", "mean_difference")
    rows = []
    for arm, cell in arms.items():
        half = Z * cell.sd / math.sqrt(cell.n)
        rows.append(
            Row(
                **place,
                estimand=mean,
                arm=arm,
                estimate=cell.mean,
                std_error=half / Z,
                ci_low=cell.mean - half,
                ci_high=cell.mean + half,
                n=cell.n,
                method=method,
            )
        )
    control, base = next(iter(arms.items()))
    for arm, cell in list(arms.items())[1:]:
        d = cell.mean - base.mean
        va, vb = cell.sd**2 / cell.n, base.sd**2 / base.n
        se = math.sqrt(va + vb)
        p = math.erfc(abs(d) / se / math.sqrt(2))
        pair: dict[str, Any] = {
            **place,
            "arm": arm,
            "baseline": control,
            "p_value": p,
            "p_adjusted": min(1.0, p * (len(arms) - 1)) if segment is None else None,
            "n": cell.n,
            "n_baseline": base.n,
            "method": method,
        }
        rows.append(
            Row(
                **pair,
                estimand=difference,
                estimate=d,
                std_error=se,
                ci_low=d - Z * se,
                ci_high=d + Z * se,
            )
        )
        lift: dict[str, Any] = {"note": "unbounded: the control's mean is not clearly above zero"}
        if base.mean > Z * math.sqrt(vb):
            low, high = fieller(cell.mean, base.mean, va, vb)
            lift = {"estimate": d / base.mean, "ci_low": low - 1, "ci_high": high - 1}
        rows.append(Row(**pair, estimand="relative_lift", **lift))
    return rows


def fieller(a: float, b: float, va: float, vb: float) -> tuple[float, float]:
    g = Z * Z * vb / (b * b)
    root = Z / b * math.sqrt(va + (a / b) ** 2 * vb - g * va)
    return ((a / b - root) / (1 - g), (a / b + root) / (1 - g))


def suppressed(metric: str, segment: str, level: str, arms: list[str]) -> list[Row]:
    note = "suppressed: fewer than 20 units in an arm"
    return [
        Row(
            analysis="ab",
            metric=metric,
            estimand=estimand,
            arm=arm,
            baseline=arms[0],
            segment=segment,
            level=level,
            note=note,
        )
        for arm in arms[1:]
        for estimand in ("mean_difference", "relative_lift")
    ]


def quality(units: dict[str, int], expected: dict[str, float], chi2: float, p: float) -> list[Row]:
    total, weight = sum(units.values()), sum(expected.values())
    rows = [
        Row(analysis="ab", estimand="sample_ratio", estimate=chi2, p_value=p, n=total),
    ]
    for arm, n in units.items():
        rows.append(Row(analysis="quality", estimand="units", arm=arm, estimate=n, n=n))
        rows.append(
            Row(
                analysis="quality",
                estimand="share",
                arm=arm,
                estimate=n / total,
                n=n,
                term=f"expected {expected[arm] / weight:.4f}",
            )
        )
    return rows


def reason(code: str, results: Results, metric: str, arm: str, kind: str, **more: Any) -> Reason:
    """A reason with the numbers of the comparison that it rests on."""
    wanted = {"metric": metric, "arm": arm, "segment": None}
    d = results.one(**wanted, estimand=("mean_difference", "ratio_difference"))
    lift = results.one(**wanted, estimand="relative_lift")
    numbers = {
        "metric": metric,
        "arm": arm,
        "estimate": d.estimate,
        "ci_low": d.ci_low,
        "ci_high": d.ci_high,
        "p_adjusted": d.p_adjusted,
        "lift": lift.estimate,
        "lift_low": lift.ci_low,
        "lift_high": lift.ci_high,
        "kind": kind,
        **more,
    }
    return Reason(code, numbers)
