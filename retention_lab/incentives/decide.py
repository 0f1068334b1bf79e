"""Rows of an incentive and its pre-registered rules in; the verdict and its reasons out."""

from __future__ import annotations

from typing import Any

from retention_lab.experiment.plan import Plan
from retention_lab.experiment.sections import RANDOMISED
from retention_lab.results import HEADLINES, Decision, Reason, Results, Row, Verdict

WEEK = 168  # hours
MOST = 0.5  # of the peak, given back: from here on an incentive may have moved orders forward only


def decide_incentive(plan: Plan, results: Results, before: Verdict | None = None) -> Verdict:
    """The verdict on an incentive, by rules that stand in the file before any result is seen.

    `before` is the verdict of the A/B test (`rl.decide`) where arms were dealt by chance.

    invalid       the A/B test is invalid, or what should decide has no result
    stop          a dollar of incentive brings less than `min_roi` dollars of margin, its whole
                  interval; or the incentive only moved orders forward (`pull_forward`: half or more
                  of the peak is given back, and what is left is not clearly above 0); or the A/B
                  test harms a guardrail
    ship          the interval lies above `min_roi`, and what is given back, if anything, was
                  counted: the revenue's window reaches the horizon of `pull_forward`;
                  where several arms are so, the one with the greatest profit a customer
    keep_running  otherwise: the data do not decide yet, the window is shorter than the pull-forward
                  seen, a hidden cause no stronger than those known could explain the effect, or
                  nobody redeemed what costs something only when it is redeemed

    Without a ledger (`margin`) the effect on the first primary metric takes its place, against 0.
    """
    if before is not None and before.decision == "invalid":
        return before
    arms = _arms(plan, results)
    if not arms:
        return Verdict("invalid", None, (Reason("incentive_no_result", {}),))
    found = {arm: _Arm(plan, results, arm) for arm in arms}
    reasons = tuple(r for a in found.values() for r in a.reasons)
    if all(a.decision is None for a in found.values()):
        return Verdict("invalid", None, reasons)
    harmed = tuple(r for r in (before.reasons if before else ()) if r.code == "guardrail_harmed")
    hurt = {r.numbers.get("arm") for r in harmed}
    able = [a for a in found.values() if a.decision == "ship" and a.arm not in hurt]
    if able:
        best = max(able, key=lambda a: a.size)
        others = tuple(r for a in found.values() if a is not best for r in a.reasons)
        return Verdict("ship", best.arm, (*best.reasons, *others, *harmed))
    over = all(a.decision == "stop" or a.arm in hurt for a in found.values())
    decision: Decision = "stop" if over else "keep_running"
    return Verdict(decision, None, (*reasons, *harmed))


def _arms(plan: Plan, results: Results) -> tuple[str | None, ...]:
    """The arms that are decided on; a rollout and a threshold have one without a name."""
    if plan.arms:
        return plan.arms[1:]
    return (None,) if results.where(analysis="incentive").rows else ()


class _Arm:
    """What ledger, effect and the weeks after say of one arm."""

    def __init__(self, plan: Plan, results: Results, arm: str | None) -> None:
        self.plan, self.results, self.arm = plan, results, arm
        self.size = 0.0
        self.decision: Decision | None = None
        reasons = self._ledger() or self._effect()
        reasons += self._redeemed(reasons) if plan.spec.incentive is not None else []
        if self.decision == "ship" and plan.spec.incentive is not None:
            reasons += self._doubts()
        self.reasons: tuple[Reason, ...] = tuple(reasons + self._weeks())

    def _row(self, estimand: str | tuple[str, ...], **where: Any) -> Row | None:
        wanted = {"analysis": "incentive", "estimand": estimand, "term": None, "segment": None}
        rows = self.results.where(**{**wanted, "arm": self.arm, **where}).rows
        return next(iter(rows), None)

    def _ledger(self) -> list[Reason]:
        """Margin per dollar against the least that is wanted."""
        said = self.plan.spec.incentive
        assert said is not None
        row, profit = self._row("margin_per_dollar"), self._row("incremental_profit")
        if profit is None:
            return []
        self.size = profit.estimate or 0.0
        numbers = {
            "arm": self.arm,
            "metric": profit.metric,
            "min_roi": said.min_roi,
            "profit": profit.estimate,
            "profit_low": profit.ci_low,
            "profit_high": profit.ci_high,
        }
        if row is None or row.estimate is None or row.ci_low is None or row.ci_high is None:
            if profit.ci_high is not None and profit.ci_high < 0:
                self.decision = "stop"
                return [Reason("incentive_loses", numbers)]
            note = None if row is None else row.note
            if profit.estimate is not None:
                self.decision = "keep_running"
            return [Reason("incentive_no_ratio", {**numbers, "note": note or profit.note})]
        ratio = {"ratio": row.estimate, "ratio_low": row.ci_low, "ratio_high": row.ci_high}
        if row.ci_low > said.min_roi:
            self.decision = "ship"
            return [Reason("incentive_pays", numbers | ratio)]
        if row.ci_high < said.min_roi:
            self.decision = "stop"
            code = "incentive_loses" if row.ci_high < 1.0 else "incentive_pays_too_little"
            return [Reason(code, numbers | ratio)]
        self.decision = "keep_running"
        return [Reason("incentive_unclear", numbers | ratio)]

    def _effect(self) -> list[Reason]:
        """The headline effect on the first primary metric, where there is no ledger."""
        spec = self.plan.spec
        metric = spec.primary[0]
        row = self._row(HEADLINES, metric=metric)
        numbers: dict[str, Any] = {"arm": self.arm, "metric": metric}
        if row is None and spec.incentive is not None and spec.incentive.strategy in RANDOMISED:
            wanted = ("mean_difference", "ratio_difference")
            row = self._row(wanted, analysis="ab", metric=metric)
        if row is None or row.estimate is None or row.ci_low is None or row.ci_high is None:
            numbers["note"] = None if row is None else row.note
            self.decision = None if row is None else "keep_running"
            return [Reason("incentive_no_effect_known", numbers)]
        falls = next(m.direction for m in spec.metrics if m.name == metric) == "decrease"
        low, high = (-row.ci_high, -row.ci_low) if falls else (row.ci_low, row.ci_high)
        self.size = -row.estimate if falls else row.estimate
        kind = next(m.kind for m in spec.metrics if m.name == metric)
        numbers |= {
            "estimate": row.estimate,
            "ci_low": row.ci_low,
            "ci_high": row.ci_high,
            "kind": kind,
        }
        # A placebo test among few markets may not reach alpha where the interval leaves 0 out.
        clear = row.p_value is None or row.p_value < spec.inference.alpha
        if low > 0 and clear:
            self.decision = "ship"
            return [Reason("incentive_works", numbers)]
        if high < 0 and clear:
            self.decision = "stop"
            return [Reason("incentive_harms", numbers)]
        self.decision = "keep_running"
        if (low > 0 or high < 0) and not clear:
            return [Reason("incentive_few_placebos", {**numbers, "p_value": row.p_value})]
        return [Reason("incentive_effect_unclear", numbers)]

    def _redeemed(self, told: list[Reason]) -> list[Reason]:
        """Whether the arm redeemed at all, and the control as well.

        Without redemptions their cost is 0, and a return is one on the contacts alone: the offer
        did not reach anybody, or its redemptions are missing from the data.
        """
        reasons = []
        if self._nobody():
            if self.decision == "ship":
                self.decision = "keep_running"
            elif any(r.code == "incentive_no_effect_known" for r in told):
                self.decision = None
            reasons.append(Reason("incentive_nobody_redeemed", {"arm": self.arm}))
        leak = self._row("control_redemption_rate")
        if leak is not None and leak.estimate:
            numbers = {"arm": self.arm, "rate": leak.estimate}
            reasons.append(Reason("incentive_control_redeemed", numbers))
        return reasons

    def _nobody(self) -> bool:
        """Whether nobody redeemed what counts only when it is redeemed."""
        said = self.plan.spec.incentive
        assert said is not None
        offered = said.strategy == "encouragement"
        rate = self._row("redemption_rate")
        if rate is not None and rate.estimate == 0.0:
            return offered or (self.arm is not None and said.redemption(self.arm) != 0.0)
        if not offered:
            return False
        by = {"analysis": "incentive", "arm": self.arm}
        first = self.results.where(estimand="first_stage", **by).rows
        late = self.results.where(estimand="late", **by).rows
        none = all(r.estimate is not None and r.estimate <= 0.0 for r in first)
        return bool(first) and none and all(r.estimate is None for r in late)

    def _doubts(self) -> list[Reason]:
        """Why an effect that nobody randomised may be somebody else's."""
        metric = self.plan.spec.primary[0]
        reasons = []
        rows = self.results.where(estimand="placebo_outcome", arm=self.arm).rows
        failed = next((r for r in rows if r.p_value is not None and r.p_value < 0.05), None)
        if failed is not None:
            self.decision = "keep_running"
            reasons.append(
                Reason(
                    "incentive_placebo_moved",
                    {
                        "arm": self.arm,
                        "metric": failed.metric,
                        "estimate": failed.estimate,
                        "p_value": failed.p_value,
                    },
                )
            )
        bounds = self.results.where(estimand="benchmark_bias", arm=self.arm, metric=metric).rows
        own = [r for r in bounds if r.at in (None, "1")]
        falls = next(m.direction for m in self.plan.spec.metrics if m.name == metric) == "decrease"
        gone = [r for r in own if _reaches_none(r, falls)]
        if gone:
            self.decision = "keep_running"
            reasons.append(
                Reason(
                    "incentive_fragile",
                    {"arm": self.arm, "metric": metric, "covariate": gone[0].term},
                )
            )
        trend = self._row("pretrend_test", metric=metric)
        if trend is not None and trend.p_value is not None and trend.p_value < 0.05:
            self.decision = "keep_running"
            numbers = {"arm": self.arm, "metric": metric, "p_value": trend.p_value}
            reasons.append(Reason("incentive_pretrend", numbers))
        sorted_in = self._row("density_test", metric=None)
        if sorted_in is not None and sorted_in.p_value is not None and sorted_in.p_value < 0.05:
            self.decision = "keep_running"
            numbers = {"arm": self.arm, "metric": metric, "p_value": sorted_in.p_value}
            reasons.append(Reason("incentive_density", numbers))
        return reasons

    def _weeks(self) -> list[Reason]:
        """Whether what came first was taken from later, and whether the decision has seen it.

        Given back (p < 0.05): all that was seen of it must lie in the window that the decision
        rests on. Where half or more is gone by the horizon and what is left is not clearly above 0,
        the incentive only moved orders forward.
        """
        back, net = self._row("pull_forward"), self._row("net_effect")
        if back is None or net is None:
            return []
        numbers = {
            "arm": self.arm,
            "share": back.estimate,
            "weeks": net.at,
            "peak_week": back.at,
            "estimate": net.estimate,
            "ci_low": net.ci_low,
            "ci_high": net.ci_high,
            "metric": net.metric,
        }
        if net.ci_low is None or net.ci_high is None:
            # Asked for and not known yet: nobody has been followed for so long, or too few.
            if self.decision != "ship" or (net.note or "").startswith(("no_events", "clusters")):
                return []
            self.decision = "keep_running"
            numbers = {k: numbers[k] for k in ("arm", "weeks", "metric")}
            return [Reason("incentive_weeks_unknown", {**numbers, "note": net.note})]
        if back.estimate is None:
            return []
        given_back = back.p_value is not None and back.p_value < 0.05
        falling = (back.note or "").startswith("still_falling")
        moved = given_back and back.estimate >= MOST and net.ci_low <= 0
        if moved and self._sees(net.at) and self.decision == "ship":
            # Orders did move, but the money was counted over the same weeks, dip and all.
            return [Reason("incentive_partly_pulled", numbers)]
        if moved and (not falling or net.ci_high <= 0):
            if self.decision is not None:
                self.decision = "stop"
            return [Reason("incentive_pulled_forward", numbers)]
        if not falling and not given_back:
            return []
        if falling:
            code = "incentive_window_too_short"
        elif self._sees(net.at) or self.decision != "ship":
            return [Reason("incentive_partly_pulled", numbers)]
        else:
            code = "incentive_ledger_too_short"
        if self.decision == "ship":
            self.decision = "keep_running"
        return [Reason(code, numbers)]

    def _sees(self, weeks: str | None) -> bool:
        """Whether the window of what decides reaches the horizon of the weekly effects."""
        said, plan = self.plan.spec.incentive, self.plan
        assert said is not None
        metric = said.revenue if said.keeps_a_ledger else plan.spec.primary[0]
        need = plan.needed.get(str(metric))
        window = need.numerator.window if need is not None else None
        return window is not None and weeks is not None and window >= int(weeks) * WEEK


def _reaches_none(row: Row, falls: bool) -> bool:
    """Whether nothing may be left of an effect that is wanted above 0 (below, if it `falls`)."""
    end = row.ci_high if falls else row.ci_low
    if end is None:
        return (row.note or "").startswith("explains_all")
    return end >= 0.0 if falls else end <= 0.0
