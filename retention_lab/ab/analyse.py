"""A plan and its Moments in; the tidy rows of an A/B test out."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from retention_lab.ab import estimate as est
from retention_lab.ab.multiplicity import holm
from retention_lab.ab.split import MISMATCH, same_levels, sample_ratio
from retention_lab.ab.suppress import suppressed
from retention_lab.data.moments import Moments
from retention_lab.experiment.needs import PRE, Needs
from retention_lab.experiment.plan import Plan
from retention_lab.experiment.spec import Metric
from retention_lab.results import Results, Row

FEW_EVENTS = 5


def analyse(plan: Plan, moments: Moments) -> Results:
    """Every estimate of an A/B test, from the reduction alone.

    Rows, in this order: how the units were split, then for every metric and arm its level, its
    difference from the control and its relative lift, first for everyone, then by segment.
    A number that cannot be had is None, with the reason in `note`; no metric stops another.
    """
    rows = [*_split_rows(plan, moments)]
    metrics = [_Metric(plan, moments, metric) for metric in plan.spec.metrics]
    combinations = moments.roll_up(*plan.spec.segments)
    cells = [dict(zip(combinations.keys, c, strict=True)) for c in combinations.cells]
    hide = suppressed([m.counts() for m in metrics], plan.spec.privacy.min_cell, cells)
    for metric in metrics:
        rows += metric.rows(hide)
    return Results.of(_adjusted(plan, rows))


def _split_rows(plan: Plan, moments: Moments) -> Iterator[Row]:
    """Units and share by arm, and the joint test of the split."""
    assert plan.spec.design is not None
    design, least = plan.spec.design, plan.spec.privacy.min_cell
    by_arm = moments.roll_up(design.arm)
    counts = {arm: _size(by_arm, arm) for arm in plan.arms}
    weights = design.expected_split or dict.fromkeys(plan.arms, 1.0)
    total, whole = sum(counts.values()), sum(weights.values())
    hide = any(0 < n < least for n in counts.values())
    for arm in plan.arms:
        hidden = 0 < counts[arm] < least
        shown: dict[str, Any] = {"arm": arm, "note": _too_small(least) if hidden else None}
        units = None if hidden else counts[arm]
        share = None if hide or not total else counts[arm] / total
        expected = f"expected {weights[arm] / whole:.6g}"
        yield Row(analysis="quality", estimand="units", estimate=units, n=units, **shown)
        if share is None:
            shown["note"] = _too_small(least)
        yield Row(analysis="quality", estimand="share", estimate=share, term=expected, **shown)
    if total:
        test = sample_ratio(counts, weights)
        yield Row(
            analysis="ab",
            estimand="sample_ratio",
            term=f"chi-square, {test.df} df",
            estimate=None if hide else test.chi2,
            p_value=float(f"{test.p_value:.2g}") if hide else test.p_value,
            n=None if hide else total,
            note=_too_small(least) if hide else None,
            method="Pearson chi-square of goodness of fit, all arms",
        )


def _size(by_arm: Moments, arm: str) -> int:
    cell = by_arm.cell(arm)
    return 0 if cell is None else int(by_arm.size[cell])


def _too_small(least: int) -> str:
    return f"suppressed: fewer than {least} units"


class _Metric:
    """The rows of one metric: what it needs, and which estimator that means."""

    def __init__(self, plan: Plan, moments: Moments, metric: Metric) -> None:
        assert plan.spec.design is not None
        self.plan, self.moments, self.metric = plan, moments, metric
        self.needs: Needs = plan.needed[metric.name]
        self.arm_key, self.arms = plan.spec.design.arm, plan.arms
        self.alpha, self.least = plan.spec.inference.alpha, plan.spec.privacy.min_cell
        self.ratio = self.needs.denominator is not None
        by_arm = moments.roll_up(self.arm_key)
        self.hide = any(0 < _size(by_arm, a) < self.least for a in self.arms)
        self.test = "delta method, Welch t" if self.ratio else "Welch t"

    def counts(self) -> dict[str, dict[str, dict[str, int]]]:
        """Units that count for the metric: segment -> level -> arm -> n."""
        by = {s: self.moments.roll_up(self.arm_key, s) for s in self.plan.spec.segments}
        return {
            s: {lv: {a: self._n(m, m.cell(a, lv)) for a in self.arms} for lv in m.levels(s)}
            for s, m in by.items()
        }

    def rows(self, hide: Mapping[str, Collection[str]]) -> Iterator[Row]:
        by_arm = self.moments.roll_up(self.arm_key)
        fault = self.plan.faults.get(self.metric.name) or self._uneven(by_arm)
        yield from self._quality(by_arm)
        cells = {arm: by_arm.cell(arm) for arm in self.arms}
        hidden = {a for a in self.arms if 0 < self._n(by_arm, cells[a]) < self.least}
        yield from self._compare(by_arm, cells, fault, hidden)
        if self.needs.before is not None:
            yield from self._before(by_arm, cells, fault, hidden)
        for segment in self.plan.spec.segments:
            yield from self._segment(segment, fault, hide[segment])

    def _uneven(self, by_arm: Moments) -> str | None:
        """Values missing in one arm more than in another: what is left is not comparable."""
        if not any(c.missing == "drop" for c in self.needs.columns):
            return None
        known = [self._n(by_arm, by_arm.cell(arm)) for arm in self.arms]
        all_units = [_size(by_arm, arm) for arm in self.arms]
        test = same_levels([[n, size - n] for n, size in zip(known, all_units, strict=True)])
        if test is None or test.p_value >= MISMATCH:
            return None
        return (
            "uneven_missing: the arms differ beyond chance in how many values are missing "
            f"(chi-square p = {test.p_value:.2g}), so those that are left cannot be compared"
        )

    def _quality(self, by_arm: Moments) -> Iterator[Row]:
        """Units that do not count: their window has not elapsed, or they have no value."""
        column = self.needs.numerator
        known = int(by_arm.n[:, by_arm.pair(column.name)].sum())
        gone = by_arm.units - known
        immature = gone if column.matures is not None else 0
        look = self.plan.look
        if column.matures is not None and column.missing == "drop" and look is not None:
            immature = min(gone, look.rows - look.later - look.mature[column.matures])
        for estimand, count in (("immature", immature), ("missing", gone - immature)):
            if count == 0:
                continue
            small = estimand == "missing" and count < self.least
            yield Row(
                analysis="quality",
                metric=self.metric.name,
                estimand=estimand,
                estimate=None if small else count,
                n=None if self.hide else known,
                note=_too_small(self.least) if small else None,
            )

    def _n(self, m: Moments, cell: int | None) -> int:
        if cell is None:
            return 0
        last = self.needs.denominator
        first = self.needs.numerator.name
        return int(m.n[cell, m.pair(first, last.name if last else None)])

    def _level(self, m: Moments, cell: int | None) -> est.Level:
        if self.needs.denominator is not None:
            return est.ratio_level(m, cell, self.needs.numerator.name, self.needs.denominator.name)
        return est.mean_level(m, cell, self.needs.numerator.name)

    def _compare(
        self,
        m: Moments,
        cells: dict[str, int | None],
        fault: str | None,
        hidden: set[str],
        segment: str | None = None,
        level: str | None = None,
    ) -> Iterator[Row]:
        """Levels of all arms, then each arm against the control."""
        where: dict[str, Any] = {
            "analysis": "ab",
            "metric": self.metric.name,
            "segment": segment,
            "level": level,
        }
        levels = {arm: self._level(m, cells[arm]) for arm in self.arms}

        def reason(*arms: str) -> str | None:
            if fault is not None:
                return fault
            if not hidden.intersection(arms):
                return None
            beside = ", or hidden with such a level, which it would give away" if segment else ""
            return _too_small(self.least) + beside

        for arm in self.arms:
            found = est.Estimate(note=reason(arm))
            if found.note is None:
                found = est.level_interval(levels[arm], self.alpha)
            estimand = "ratio" if self.ratio else "mean"
            method = "delta method, Student t" if self.ratio else "Student t"
            n = None if arm in hidden else levels[arm].n
            yield _row(found, **where, estimand=estimand, arm=arm, n=n, method=method)
        base = self.arms[0]
        for arm in self.arms[1:]:
            no = reason(arm, base)
            diff = lift = est.Estimate(note=no)
            if no is None:
                few = self._few(m, cells, arm, base)
                diff = est.difference(levels[arm], levels[base], self.alpha)
                lift = est.relative_lift(levels[arm], levels[base], self.alpha)
                diff, lift = _noted(diff, few), _noted(lift, few)
            sizes: dict[str, Any] = {
                "n": None if arm in hidden else levels[arm].n,
                "n_baseline": None if base in hidden else levels[base].n,
            }
            both: dict[str, Any] = {**where, **sizes, "arm": arm, "baseline": base}
            estimand = "ratio_difference" if self.ratio else "mean_difference"
            yield _row(diff, **both, estimand=estimand, method=self.test)
            yield _row(lift, **both, estimand="relative_lift", method=f"Fieller, {self.test}")

    def _few(self, m: Moments, cells: dict[str, int | None], *arms: str) -> str | None:
        """A warning where a share rests on a handful of events or non-events."""
        column = self.needs.numerator
        if self.ratio or not (column.binary or column.how == "any"):
            return None
        i = m.pair(column.name)
        for arm in arms:
            cell = cells[arm]
            if cell is None:
                continue
            n, share = int(m.n[cell, i]), m.mean(cell, column.name)
            if min(share, 1.0 - share) * n < FEW_EVENTS:
                return f"few_events: an arm has fewer than {FEW_EVENTS} with or without the event"
        return None

    def _before(
        self, m: Moments, cells: dict[str, int | None], fault: str | None, hidden: set[str]
    ) -> Iterator[Row]:
        """The same measure before exposure: a randomised arm cannot have changed it."""
        column, base = self.metric.name + PRE, self.arms[0]
        for arm in self.arms[1:]:
            a, b = (est.mean_level(m, cells[x], column) for x in (arm, base))
            no = fault or (_too_small(self.least) if hidden & {arm, base} else None)
            found = est.Estimate(note=no) if no else est.difference(a, b, self.alpha)
            yield _row(
                found,
                analysis="ab",
                metric=self.metric.name,
                estimand="pre_period_difference",
                arm=arm,
                baseline=base,
                n=None if arm in hidden else a.n,
                n_baseline=None if base in hidden else b.n,
                method="Welch t",
            )

    def _segment(self, segment: str, fault: str | None, hide: Collection[str]) -> Iterator[Row]:
        m = self.moments.roll_up(self.arm_key, segment)
        levels = m.levels(segment)
        cells = {lv: {arm: m.cell(arm, lv) for arm in self.arms} for lv in levels}
        test = same_levels([[_at(m.size, cells[lv][a]) for lv in levels] for a in self.arms])
        if test is not None and test.p_value < MISMATCH:
            fault = fault or (
                f"post_treatment: the arms differ in {segment!r} beyond chance "
                f"(chi-square p = {test.p_value:.2g}), so it may be a result of the treatment"
            )
        for level in levels:
            hidden = set(self.arms) if level in hide else set()
            yield from self._compare(m, cells[level], fault, hidden, segment, level)


def _at(values: Any, cell: int | None) -> int:
    return 0 if cell is None else int(values[cell])


def _row(found: est.Estimate, **where: Any) -> Row:
    return Row(
        estimate=found.estimate,
        std_error=found.std_error,
        ci_low=found.low,
        ci_high=found.high,
        p_value=found.p_value,
        note=found.note,
        **where,
    )


def _noted(found: est.Estimate, note: str | None) -> est.Estimate:
    return dataclasses.replace(found, note=found.note or note)


def _adjusted(plan: Plan, rows: list[Row]) -> list[Row]:
    """Fill `p_adjusted` by Holm, family by family; a lift shares its difference's p-value.

    Families: all arms of all primary metrics; the arms of each other metric; and for segments the
    arms and levels of one metric and segment.
    """
    if plan.spec.inference.correction == "none":
        return rows
    primary = set(plan.spec.primary)
    families: dict[Any, list[int]] = defaultdict(list)
    for i, r in enumerate(rows):
        if r.estimand in ("mean_difference", "ratio_difference", "relative_lift"):
            kind = "lift" if r.estimand == "relative_lift" else "difference"
            family = () if r.metric in primary and r.segment is None else (r.metric, r.segment)
            families[kind, family].append(i)
    out = list(rows)
    for (_, family), members in list(families.items()):
        adjusted = holm([rows[i].p_value for i in families["difference", family]])
        for i, p in zip(members, adjusted, strict=True):
            shown = p if rows[i].p_value is not None else None
            out[i] = dataclasses.replace(rows[i], p_adjusted=shown)
    return out
