"""A plan and its Moments in; the rows that say whether the comparison can be trusted out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from retention_lab.ab.estimate import constants_apart, equal_variances_too
from retention_lab.ab.gate import Measure, rerandomise
from retention_lab.ab.metric import MetricRows, by_segment, pairs, row, size, too_small
from retention_lab.ab.rolled import Rolled
from retention_lab.ab.split import MISMATCH, same_levels, sample_ratio
from retention_lab.data.units import BUCKET, DAY
from retention_lab.experiment.plan import Plan
from retention_lab.experiment.spec import CROSS
from retention_lab.results import Row

DRAWS = 1000
SEED = 0
BEFORE = " before"  # a metric's pre-period


def split_rows(plan: Plan, moments: Rolled) -> Iterator[Row]:
    """Units and share by arm, the joint test of the split, and whether it was the same all over."""
    assert plan.spec.design is not None
    design, least = plan.spec.design, plan.spec.privacy.min_cell
    by_arm = moments.roll_up(design.arm)
    counts = {arm: size(by_arm, arm) for arm in plan.arms}
    weights = design.expected_split or dict.fromkeys(plan.arms, 1.0)
    total, whole = sum(counts.values()), sum(weights.values())
    hide = any(0 < n < least for n in counts.values())
    for arm in plan.arms:
        hidden = 0 < counts[arm] < least
        shown: dict[str, Any] = {"arm": arm, "note": too_small(least) if hidden else None}
        units = None if hidden else counts[arm]
        share = None if hide or not total else counts[arm] / total
        expected = f"expected {weights[arm] / whole:.6g}"
        yield Row(analysis="quality", estimand="units", estimate=units, n=units, **shown)
        if share is None:
            shown["note"] = too_small(least)
        yield Row(analysis="quality", estimand="share", estimate=share, term=expected, **shown)
    if plan.look is not None and plan.look.later:
        yield Row(analysis="quality", estimand="later", estimate=plan.look.later)
    if not total:
        return
    if design.randomised:
        m = moments.roll_up(design.arm, design.randomised)
        counts = {arm: sum(c[0] == arm for c in m.cells) for arm in plan.arms}
    test = sample_ratio(counts, weights)
    yield Row(
        analysis="ab",
        estimand="sample_ratio",
        term=f"chi-square, {test.df} df" + (", of clusters" if design.randomised else ""),
        estimate=None if hide else test.chi2,
        p_value=_side(test.p_value) if hide else test.p_value,
        n=None if hide else sum(counts.values()),
        note=too_small(least) if hide else None,
        method="Pearson chi-square of goodness of fit, all arms",
    )
    if not hide and not design.randomised:
        yield from _same_everywhere(plan, moments)


def _side(p: float) -> float | None:
    """Only that a p-value is below `MISMATCH`: two digits of it give a hidden arm's size away."""
    return MISMATCH / 2 if p < MISMATCH else None


def _same_everywhere(plan: Plan, moments: Rolled) -> Iterator[Row]:
    """Whether the arms' shares are the same in every segment level, and on every day of entry."""
    assert plan.spec.design is not None
    arm = plan.spec.design.arm
    days = [(DAY,)] if DAY in moments.keys else []
    for keys in [*by_segment(plan), *days]:
        m = moments.roll_up(arm, *keys)
        levels = sorted({c[1:] for c in m.cells})
        test = same_levels([[size(m, a, *lv) for lv in levels] for a in plan.arms])
        if test is None:
            continue
        off = f"sample_ratio_within: p is below {MISMATCH}: the split is not the same everywhere"
        yield Row(
            analysis="quality",
            estimand="split_homogeneity",
            segment=None if keys == (DAY,) else CROSS.join(keys),
            term=f"{'by day of entry, ' if keys == (DAY,) else ''}chi-square, {test.df} df",
            estimate=test.chi2,
            p_value=test.p_value,
            n=m.units,
            note=off if test.p_value < MISMATCH else None,
            method="Pearson chi-square of independence, all arms",
        )


def gate_rows(plan: Plan, moments: Rolled, metrics: list[MetricRows]) -> Iterator[Row]:
    """The A/A gate: how often this test rejects where there is nothing to find."""
    assert plan.spec.design is not None
    buckets, total = moments.buckets, moments.moments.units
    if buckets is None:
        return
    part = f", a sample of {buckets.units:,} units" if buckets.units < 0.9 * total else ""
    weights = plan.spec.design.expected_split or dict.fromkeys(plan.arms, 1.0)
    shares = [weights[a] / sum(weights.values()) for a in plan.arms]
    for metric in metrics:
        if metric.fault is not None or metric.quantile:
            continue
        need = metric.need
        last = need.denominator.name if need.denominator is not None else None
        measure = Measure(need.numerator.name, last, tuple(c.name for c in need.covariates))
        found = rerandomise(
            buckets, measure, shares, DRAWS, SEED, plan.spec.inference.alpha, BUCKET
        )
        yield Row(
            analysis="quality",
            metric=metric.metric.name,
            estimand="aa_rejections",
            estimate=found.rate,
            std_error=found.error,
            ci_low=found.low,
            ci_high=found.high,
            term=f"{found.draws:,} re-randomisations of {found.buckets} buckets{part}",
            note=found.note,
            method="the metric's own test between arms dealt anew",
        )


def balance_rows(plan: Plan, metric: MetricRows) -> Iterator[Row]:
    """Whether the arms had the same covariates: what is known before exposure cannot differ.

    Units of arms that were drawn have one distribution. Where it is skewed and the arms are not
    equal, Welch's p-value is too small where the smaller arm missed the large values (and so the
    error), Student's where it got them: the larger of both keeps its level in either case. Where
    each arm has one value (known of one arm only, say) there is no error, but Fisher's p-value.
    Where clusters were drawn, they are what counts.
    """
    if metric.fault is not None or metric.everyone.units.units == 0:
        return
    by = "sums by cluster, " if metric.cluster else ""
    for c in metric.need.covariates:
        m, detail = metric.column(c), f": {c.level}" if c.level else ""
        detail = detail or (" missing" if c.how == "missing" else BEFORE if c.before else "")
        for arm, base in pairs(plan):
            if any(0 < m.n(a) < metric.least for a in (arm, base)):
                continue
            found = m.compare((arm,), (base,)).difference
            levels = m.level(arm), m.level(base)
            found = constants_apart(equal_variances_too(found, *levels), *levels)
            yield row(
                found,
                analysis="quality",
                metric=metric.metric.name,
                estimand="covariate_difference",
                term=f"{c.of}{detail}",
                arm=arm,
                baseline=base,
                method=f"{by}Welch t and Student t, the larger p-value",
            )
