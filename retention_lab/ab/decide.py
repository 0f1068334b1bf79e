"""Rows of an A/B test and its pre-registered rules in; the verdict and its reasons out."""

from __future__ import annotations

from typing import Any

from retention_lab.ab.split import MISMATCH
from retention_lab.errors import PlanError
from retention_lab.experiment.plan import Plan
from retention_lab.experiment.spec import Metric
from retention_lab.results import ENDED, Reason, Results, Row, Verdict

EARLY = ("too_early", "nothing_to_spend", "no_new_units")  # looks without bounds: no fault
NOTHING = (
    "the file has no metrics of arms that were drawn, so there is nothing to decide: "
    "rl.describe(plan, results) says what a cohort study found"
)
DIFFERENCES = ("mean_difference", "ratio_difference", "quantile_difference")


def decide(plan: Plan, results: Results) -> Verdict:
    """The verdict, by rules that stand in the file before any result is seen.

    invalid       the split between the arms is not the planned one (sample ratio, p < 0.001),
                  a covariate is not the same in them (p < 0.001 of all comparisons together),
                  units have no arm, or a primary metric has no result
    ship          an arm is better in a primary metric (adjusted p below alpha), worse in none,
                  and harms no guardrail; where several are, the one with the largest effect
    stop          no arm can ship, and every arm is worse in a primary metric, harms a guardrail,
                  or reaches in no primary metric the least effect worth having (`margin`)
    keep_running  otherwise: the data do not decide yet, or, with the reason `ended_unclear`, never
                  will: every window of a test planned for one look is over

    Raises PlanError where the file has no arms or no metrics: there is nothing to decide.
    """
    if plan.spec.design is None or not plan.spec.metrics:
        raise PlanError(NOTHING)
    checks = _validity(plan, results)
    arms = {arm: _Arm(plan, results, arm) for arm in plan.arms[1:]}
    if checks:
        return Verdict("invalid", None, (*checks, *_all_reasons(arms)))
    able = [a for a in arms.values() if a.can_ship]
    if able:
        best = max(able, key=lambda a: a.size)
        others = tuple(r for a in arms.values() if a is not best for r in a.reasons)
        return Verdict("ship", best.name, (*best.reasons, *others, *_waiting(plan, results)))
    if all(a.must_stop for a in arms.values()):
        return Verdict("stop", None, (*_all_reasons(arms), *_waiting(plan, results)))
    after = [Reason(ENDED)] if _ended(plan, results) else _waiting(plan, results)
    return Verdict("keep_running", None, (*_all_reasons(arms), *after))


def _all_reasons(arms: dict[str, _Arm]) -> list[Reason]:
    return [r for a in arms.values() for r in a.reasons]


def _validity(plan: Plan, results: Results) -> list[Reason]:
    """Why no effect may be believed; empty where nothing speaks against it."""
    reasons = []
    split = results.where(estimand="sample_ratio").rows
    for row in split:
        if row.p_value is not None and row.p_value < MISMATCH:
            reasons.append(
                Reason("sample_ratio_mismatch", {"chi2": row.estimate, "p": row.p_value})
            )
    reasons += _moved(plan, results)
    reasons += [Reason("no_arm", {"text": c.text}) for c in plan.checks if c.code == "no_arm"]
    for metric in plan.spec.primary:
        rows = _overall(plan, results, metric)
        rows = tuple(r for r in rows if not (r.note or "").startswith(EARLY))
        if rows and all(r.p_value is None for r in rows):
            numbers = {"metric": metric, "arm": rows[0].arm, "note": rows[0].note}
            reasons.append(Reason("primary_no_result", numbers))
    return reasons


def _moved(plan: Plan, results: Results) -> list[Reason]:
    """A covariate that differs between arms beyond chance: measured afterwards, or a broken split.

    Either way the adjusted effect is not that of the arm. Metrics may share covariates, which count
    once where the units are the same. A metric that leaves units out has those of the rest, and who
    is left may be an effect of the arm: that speaks against this metric, so only a primary counts.
    """
    rows = results.where(estimand="covariate_difference", baseline=plan.arms[0]).rows
    rows = tuple(r for r in rows if r.metric in plan.spec.primary or not _leaves_out(plan, r))
    once = {(r.term, r.arm, r.estimate, r.p_value): r for r in rows if r.p_value is not None}
    worst = min(once.values(), key=lambda r: r.p_value or 0.0, default=None)
    if worst is None or (worst.p_value or 0.0) >= MISMATCH / len(once):
        return []
    numbers = {"covariate": worst.term, "arm": worst.arm, "p": worst.p_value}
    return [Reason("covariate_differs", numbers)]


def _leaves_out(plan: Plan, row: Row) -> bool:
    need = plan.needed.get(str(row.metric))
    return need is not None and any(c.missing == "drop" for c in need.columns)


def _waiting(plan: Plan, results: Results) -> list[Reason]:
    """Primary metrics whose window has not elapsed for every unit."""
    rows = results.where(estimand="immature", metric=list(plan.spec.primary)).rows
    as_of = str(plan.spec.data.as_of)
    return [
        Reason("immature", {"metric": r.metric, "immature": r.estimate, "n": r.n, "as_of": as_of})
        for r in rows
    ]


def _ended(plan: Plan, results: Results) -> bool:
    """Whether no more can come: one look was planned, and nobody's window is still open.

    To go on after such a look until the answer is clear would be to look more than once.
    """
    deciding = [m.name for m in plan.spec.metrics if m.name in plan.spec.primary]
    deciding += [m.name for m in plan.spec.metrics if m.role == "guardrail"]
    waiting = results.where(estimand="immature", metric=deciding).rows
    coming = results.where(estimand="later").rows
    return not plan.spec.inference.sequential and all(r.estimate == 0 for r in (*waiting, *coming))


def _overall(plan: Plan, results: Results, metric: str, **where: Any) -> tuple[Row, ...]:
    rows = results.where(metric=metric, estimand=DIFFERENCES, segment=None, **where).rows
    return tuple(r for r in rows if r.baseline == plan.arms[0])


class _Arm:
    """What the primary metrics and guardrails say of one arm."""

    def __init__(self, plan: Plan, results: Results, name: str) -> None:
        self.name, self.base = name, plan.arms[0]
        self.alpha = plan.spec.inference.alpha
        self.results = results
        self.better = self.worse = self.harmed = self.unsure = False
        self.hopeless: list[bool] = []  # by primary metric
        self.size = 0.0
        reasons = []
        for metric in sorted(plan.spec.metrics, key=lambda m: m.name not in plan.spec.primary):
            row = next(iter(_overall(plan, results, metric.name, arm=name)), None)
            if row is None:
                continue
            if metric.name in plan.spec.primary:
                reasons.append(self._primary(metric, row))
            elif metric.role == "guardrail":
                reasons.append(self._guardrail(metric, row))
        self.reasons = tuple(reasons)

    @property
    def can_ship(self) -> bool:
        return self.better and not (self.worse or self.harmed or self.unsure)

    @property
    def must_stop(self) -> bool:
        return self.worse or self.harmed or (bool(self.hopeless) and all(self.hopeless))

    def _primary(self, metric: Metric, row: Row) -> Reason:
        if row.p_value is None or row.estimate is None:
            note = {"metric": metric.name, "arm": self.name, "note": row.note}
            return Reason("primary_no_result", note)
        sign = 1.0 if metric.direction == "increase" else -1.0
        lift = self._lift(metric)
        adjusted = row.p_adjusted if row.p_adjusted is not None else row.p_value
        p = {"p_value": row.p_value, "p_adjusted": adjusted}
        numbers = {**_interval(metric, row), **p, **_lift_numbers(lift)}
        good = sign * row.estimate > 0
        ends = [sign * x for x in (row.ci_low, row.ci_high) if x is not None]
        too_little = metric.margin is not None and max(ends) < metric.margin
        self.hopeless.append(too_little)
        if too_little and (good or adjusted >= self.alpha):
            return Reason("no_worthwhile_effect", {**numbers, "margin": metric.margin})
        if adjusted < self.alpha:
            self.better, self.worse = self.better or good, self.worse or not good
            gain = lift.estimate if lift is not None and lift.estimate is not None else row.estimate
            self.size = max(self.size, sign * gain)
            return Reason("primary_better" if good else "primary_worse", numbers)
        return Reason("primary_unclear", numbers)

    def _guardrail(self, metric: Metric, row: Row) -> Reason:
        """Harm: the whole interval on the bad side. Kept: no harm beyond the margin is in it."""
        numbers = {**_interval(metric, row), "margin": self._margin(metric)}
        if row.estimate == 0.0 and (row.note or "").startswith("zero_variance"):
            return Reason("guardrail_kept", {**numbers, "ci_low": 0.0, "ci_high": 0.0})
        if row.ci_low is None or row.ci_high is None:
            self.unsure = True
            return Reason("guardrail_unclear", {**numbers, "note": row.note})
        worst, best = row.ci_low, row.ci_high
        if metric.direction == "decrease":
            worst, best = -row.ci_high, -row.ci_low
        beyond = self._beyond(metric, worst)
        if best < 0 and beyond is not False:
            self.harmed = True
            return Reason("guardrail_harmed", numbers)
        if beyond:
            self.unsure = True
            return Reason("guardrail_unclear", numbers)
        return Reason("guardrail_kept", numbers)

    def _margin(self, metric: Metric) -> float | None:
        """The margin of harm in the metric's own unit."""
        if metric.relative_margin is None:
            return metric.margin
        wanted = {"metric": metric.name, "arm": self.base, "segment": None}
        rows = self.results.where(estimand=("mean", "ratio", "quantile"), **wanted).rows
        base = rows[0].estimate if rows else None
        return None if base is None else metric.relative_margin * abs(base)

    def _beyond(self, metric: Metric, worst: float) -> bool | None:
        """Whether harm beyond the margin is in the interval; None where there is no margin."""
        if metric.relative_margin is None and metric.margin is None:
            return None
        wanted = {"metric": metric.name, "arm": self.name, "estimand": "non_inferiority"}
        rows = self.results.where(**wanted).rows
        if metric.margin is not None:  # few events make the interval at the margin the wider one
            lows = [r.ci_low for r in rows if r.ci_low is not None]
            return worst < -metric.margin or any(low < 0 for low in lows)
        return not rows or rows[0].ci_low is None or rows[0].ci_low < 0

    def _lift(self, metric: Metric) -> Row | None:
        wanted = {"metric": metric.name, "arm": self.name, "segment": None}
        rows = self.results.where(estimand="relative_lift", baseline=self.base, **wanted).rows
        return next(iter(rows), None)


def _interval(metric: Metric, row: Row) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "arm": row.arm,
        "estimate": row.estimate,
        "ci_low": row.ci_low,
        "ci_high": row.ci_high,
        "kind": metric.kind,
    }


def _lift_numbers(lift: Row | None) -> dict[str, Any]:
    return {
        "lift": lift.estimate if lift else None,
        "lift_low": lift.ci_low if lift else None,
        "lift_high": lift.ci_high if lift else None,
    }
