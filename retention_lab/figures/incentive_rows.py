"""A result table in; the rows of an incentive that figures and reports tell of out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from retention_lab.experiment.spec import Spec
from retention_lab.figures.style import CONTROL, PALETTE, Table, rows_of
from retention_lab.results import HEADLINES, Results, Row
from retention_lab.texts import label, say
from retention_lab.texts.incentive import capital

ANALYSIS = "incentive"
EFFECTS = ("mean_difference", "ratio_difference")  # of an A/B test, where arms were dealt by chance


def incentive_rows(results: Table, estimand: Any, **where: Any) -> tuple[Row, ...]:
    """Rows of the incentive by estimand (one, or a tuple); `where` as in Results.where."""
    found = Results.of(rows_of(results)).where(analysis=ANALYSIS, **where)
    wanted = estimand if isinstance(estimand, tuple) else (estimand,)
    return tuple(r for r in found.rows if r.estimand in wanted)


def numbered(rows: Iterable[Row]) -> list[tuple[float, Row]]:
    """Rows with an estimate by the number that stands in `at`, in its order."""
    found = []
    for r in rows:
        place = as_number(r.at)
        if place is not None and r.estimate is not None:
            found.append((place, r))
    return sorted(found, key=lambda pair: pair[0])


def as_number(text: str | None) -> float | None:
    try:
        return float(str(text))
    except ValueError:
        return None


def ledger_arms(results: Table) -> tuple[str | None, ...]:
    """The arms that have a ledger, in the order of the table."""
    rows = incentive_rows(results, "incremental_profit", term=None)
    return tuple(dict.fromkeys(r.arm for r in rows))


def headline_rows(results: Table, metric: str) -> tuple[Row, ...]:
    """The effects on a metric that a strategy stands for, by arm.

    Of arms dealt by chance those of the A/B test; of an encouragement the effect on those who
    redeem.
    """
    found = incentive_rows(results, HEADLINES, metric=metric, term=None)
    if found:
        return found
    rows = Results.of(rows_of(results)).where(
        analysis="ab", metric=metric, estimand=EFFECTS, segment=None
    )
    first = next((r.baseline for r in rows.rows if r.baseline is not None), None)
    return tuple(r for r in rows.rows if r.baseline == first)


def tints(results: Table, spec: Spec) -> dict[str | None, str]:
    """A colour an arm, the control grey; of a comparison without arms the first colour."""
    control = spec.design.control if spec.design else None
    arms = dict.fromkeys(r.arm for r in rows_of(results) if r.arm is not None and r.arm != control)
    found: dict[str | None, str] = {arm: PALETTE[i % len(PALETTE)] for i, arm in enumerate(arms)}
    return {None: PALETTE[0], **({control: CONTROL} if control else {}), **found}


def arm_name(spec: Spec, arm: str | None, language: str) -> str:
    """The arm's label; the incentive where there are no arms."""
    if arm is None:
        return capital(say(language, "incentive.it"))
    return label(spec, arm, language)


def many(arms: Iterable[str | None]) -> bool:
    """Whether there are several arms, so that each has to be named."""
    return len(set(arms)) > 1
