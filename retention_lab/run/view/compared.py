"""A comparison of two runs in; what its page says, in words, out."""

from __future__ import annotations

import dataclasses

from retention_lab.errors import LabError
from retention_lab.results import Row
from retention_lab.run.compare import Comparison, ResultDifference, Side
from retention_lab.run.folder import spec_of
from retention_lab.run.view.record import moment
from retention_lab.run.view.source import Tongue
from retention_lab.texts import kind_of, say, texts
from retention_lab.texts.numbers import DASH, Measure, measure, number, p_text

MOST_ROWS = 500


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
    )


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
    decision = side.verdict or ""
    return SideView(
        side.run_id,
        side.experiment,
        moment(side.started),
        _named(f"index.{side.status}", side.status, language),
        decision,
        _named(f"decision.{decision}", DASH, language),
        (tongue.arm(side.arm) if tongue else side.arm) if side.arm else DASH,
    )


def _result(found: ResultDifference, tongue: Tongue | None, language: str) -> ResultView:
    row = found.row
    shown = _measure(row, tongue)
    signed = dataclasses.replace(shown, signed=True, digits=None)
    group = say(language, "compare.everyone")
    if row.segment is not None:
        column = tongue.metric(row.segment) if tongue else row.segment
        group = f"{column}: {tongue.arm(row.level) if tongue else row.level}"
    return ResultView(
        (tongue.metric(row.metric) if tongue else row.metric) if row.metric else "",
        _named(f"estimand.{row.estimand}", row.estimand, language),
        (tongue.arm(row.arm) if tongue else row.arm) if row.arm else "",
        group,
        _estimate(found.a, shown, language),
        _estimate(found.b, shown, language),
        signed.text(found.difference, language),
    )


def _measure(row: Row, tongue: Tongue | None) -> Measure:
    kind = kind_of(tongue.spec, row.metric) if tongue else "mean"
    if row.estimand == "relative_lift":
        return measure("lift", kind, row.ci_low, row.ci_high)
    if row.estimand in ("mean", "ratio"):
        return measure("level", kind, row.ci_low, row.ci_high)
    if row.estimand.endswith("difference"):
        return measure("difference", kind, row.ci_low, row.ci_high)
    return measure("level", "proportion" if row.estimand == "share" else "mean")


def _estimate(row: Row | None, shown: Measure, language: str) -> tuple[str, str]:
    if row is None:
        return _absent(language), ""
    ends = []
    if row.ci_low is not None or row.ci_high is not None:
        ends.append(say(language, "to").join((shown.bare(row.ci_low), shown.bare(row.ci_high))))
    if row.p_value is not None:
        ends.append(p_text(row.p_value))
    return shown.text(row.estimate, language), "; ".join(ends)
