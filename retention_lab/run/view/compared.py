"""A comparison of two runs in; what its page says, in words, out."""

from __future__ import annotations

import dataclasses

from retention_lab.errors import LabError
from retention_lab.results import Row, Verdict
from retention_lab.run.compare import Comparison, ResultDifference, Side
from retention_lab.run.folder import read_run, spec_of
from retention_lab.run.view.findings import STATE, is_study
from retention_lab.run.view.groups import group_label
from retention_lab.run.view.record import moment
from retention_lab.run.view.source import Tongue
from retention_lab.texts import kind_of, say, texts
from retention_lab.texts.lives import days_text, split_label, term_label
from retention_lab.texts.numbers import DASH, Measure, What, measure, number, p_text

MOST_ROWS = 500
DIFFERING = ("non_inferiority", "main_effect", "interaction")
SHARES = ("share", "probability_best", "variance_reduction", "aa_rejections")
PARTS = (
    "survival",
    "survival_difference",
    "hazard",
    "cumulative_incidence",
    "retention",
    "returning_revenue_share",
    "concordance",
)
OFFER_SHARES = (
    "redemption_rate",
    "control_redemption_rate",
    "redeemed_anyway",
    "probability_above_min_roi",
    "trimmed_share",
    "propensity_share",
    "robustness_value",
    "first_stage",
    "chance_best",
    "pull_forward",
)
OFFER_EFFECTS = (
    "late",
    "naive_difference",
    "average_effect",
    "average_effect_treated",
    "partially_linear_effect",
    "regression_effect",
    "placebo_outcome",
    "random_common_cause",
    "benchmark_bias",
    "event_time_effect",
    "group_effect",
    "group_time_effect",
    "calendar_effect",
    "synthetic_difference",
    "threshold_effect",
    "dose_effect",
)
TERMED = ("covariate_difference", "main_effect", "interaction")


@dataclasses.dataclass(frozen=True, slots=True)
class SideView:
    """One run: its decision as a key, and everything else as text."""

    run_id: str
    experiment: str
    started: str
    status: str
    decision: str
    verdict: str
    arm: str


@dataclasses.dataclass(frozen=True, slots=True)
class InputView:
    kind: str
    name: str
    a: str
    b: str


@dataclasses.dataclass(frozen=True, slots=True)
class ResultView:
    """One estimate in both runs, each with its interval and p-value in `ends`."""

    metric: str
    estimand: str
    arm: str
    group: str
    a: tuple[str, str]
    b: tuple[str, str]
    difference: str


@dataclasses.dataclass(frozen=True, slots=True)
class Compared:
    """The words of the comparison's page."""

    a: SideView
    b: SideView
    same_verdict: bool
    inputs: tuple[InputView, ...]
    results: tuple[ResultView, ...]
    counts: str
    more: str
    same_inputs: str


def compared(comparison: Comparison, language: str) -> Compared:
    tongue = _tongue(comparison, language)
    n = len(comparison.results)
    same = number(comparison.same, 0)
    key = "compare.counts" if n else "compare.same_results"
    hidden = n - MOST_ROWS
    return Compared(
        _side(comparison.a, tongue, language),
        _side(comparison.b, tongue, language),
        comparison.same_verdict,
        tuple(
            InputView(_named(f"compare.kinds.{d.kind}", d.kind, language), d.name, *ends)
            for d in comparison.inputs
            for ends in [tuple(x if x is not None else _absent(language) for x in (d.a, d.b))]
        ),
        tuple(_result(d, tongue, language) for d in comparison.results[:MOST_ROWS]),
        say(language, key, n=number(n, 0), same=same),
        say(language, "compare.more", n=number(hidden, 0)) if hidden > 0 else "",
        say(language, "compare.same_inputs" if _both_read(comparison) else "compare.no_inputs"),
    )


def _both_read(comparison: Comparison) -> bool:
    """Whether both runs got as far as reading data."""
    return all(read_run(side.folder).get("inputs") for side in (comparison.a, comparison.b))


def _tongue(comparison: Comparison, language: str) -> Tongue | None:
    """The labels of the second run's file, or the first's; None where neither can be read."""
    for side in (comparison.b, comparison.a):
        try:
            return Tongue(spec_of(side.folder), language)
        except (LabError, OSError, ValueError, KeyError):
            continue
    return None


def _absent(language: str) -> str:
    return say(language, "compare.absent")


def _named(key: str, fallback: str, language: str) -> str:
    return say(language, key) if key in texts(language) else fallback


def _side(side: Side, tongue: Tongue | None, language: str) -> SideView:
    decision = _decision(side)
    key = "decision.ended" if _ended(side) else f"decision.{decision}"
    offered = f"decision.offer.{decision}"
    key = offered if side.offer and offered in texts(language) else key
    return SideView(
        side.run_id,
        side.experiment,
        moment(side.started),
        _named(f"index.{side.status}", side.status, language),
        decision,
        _named(key, DASH, language),
        (tongue.arm(side.arm) if tongue else side.arm) if side.arm else DASH,
    )


def _decision(side: Side) -> str:
    """The verdict as a key; a cohort study that found something decides nothing."""
    if side.verdict == "keep_running":
        try:
            return STATE if is_study(spec_of(side.folder)) else side.verdict
        except (LabError, OSError, ValueError, KeyError):
            pass
    return side.verdict or ""


def _ended(side: Side) -> bool:
    """Whether the run's test is over without an answer."""
    try:
        return Verdict.load(side.folder).ended
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _result(found: ResultDifference, tongue: Tongue | None, language: str) -> ResultView:
    row = found.row
    shown = _measure(row, tongue)
    apart: Measure = dataclasses.replace(shown, signed=True, digits=None)
    if shown.unit == "percent":
        apart = dataclasses.replace(apart, unit="points")
    return ResultView(
        (tongue.metric(row.metric) if tongue else row.metric) if row.metric else "",
        _named(f"estimand.{row.estimand}", row.estimand, language),
        (tongue.arm(row.arm) if tongue else row.arm) if row.arm else "",
        _group(row, tongue, language),
        _estimate(found.a, shown, language),
        _estimate(found.b, shown, language),
        apart.text(found.difference, language),
    )


def _group(row: Row, tongue: Tongue | None, language: str) -> str:
    """Of whom the estimate is, and what else tells it from others."""
    parts = []
    if row.segment is not None:
        column, level = row.segment, row.level
        if tongue is not None:
            column = split_label(tongue.spec, row.segment, language)
            level = group_label(tongue, row.level, row.segment) if row.level else None
        parts.append(f"{column}: {level}" if level else column)
    if row.at is not None:
        survival = row.analysis == "survival"
        parts.append(days_text(row.at, language) if survival else row.at[:10])
    if row.analysis == "incentive" and row.term is not None:
        parts.append(row.term)
    elif row.term is not None and (row.analysis == "survival" or row.estimand in TERMED):
        parts.append(term_label(tongue.spec, row.term, language) if tongue else row.term)
    return say(language, "comma").join(parts) or say(language, "compare.everyone")


def _measure(row: Row, tongue: Tongue | None) -> Measure:
    if row.analysis == "incentive":
        return _of_incentive(row, tongue)
    if row.analysis == "survival":
        what: What = "difference" if row.estimand.endswith("difference") else "level"
        kind = "proportion" if row.estimand in PARTS else "mean"
        return measure(what, kind, row.ci_low, row.ci_high)
    kind = kind_of(tongue.spec, row.metric) if tongue else "mean"
    if row.estimand == "relative_lift":
        return measure("lift", kind, row.ci_low, row.ci_high)
    if row.estimand in ("mean", "ratio", "quantile"):
        return measure("level", kind, row.ci_low, row.ci_high)
    if row.estimand == "covariate_difference":
        return measure("difference", "mean", row.ci_low, row.ci_high)
    if row.estimand.endswith("difference") or row.estimand in DIFFERING:
        return measure("difference", kind, row.ci_low, row.ci_high)
    if row.estimand in ("heterogeneity", "expected_loss"):
        return measure("size", kind)
    return measure("level", "proportion" if row.estimand in SHARES else "mean")


def _of_incentive(row: Row, tongue: Tongue | None) -> Measure:
    kind = kind_of(tongue.spec, row.metric) if tongue else "mean"
    if row.estimand in OFFER_SHARES:
        return measure("level", "proportion", row.ci_low, row.ci_high)
    if row.estimand in OFFER_EFFECTS:
        return measure("difference", kind, row.ci_low, row.ci_high)
    return measure("level", "mean", row.ci_low, row.ci_high)


def _estimate(row: Row | None, shown: Measure, language: str) -> tuple[str, str]:
    if row is None:
        return _absent(language), ""
    ends = []
    if row.ci_low is not None or row.ci_high is not None:
        ends.append(say(language, "to").join((shown.bare(row.ci_low), shown.bare(row.ci_high))))
    if row.p_value is not None:
        ends.append(p_text(row.p_value))
    return shown.text(row.estimate, language), "; ".join(ends)
