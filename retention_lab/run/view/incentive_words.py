"""The run of an incentive in; what was found and how sure that is, in sentences, out."""

from __future__ import annotations

from retention_lab.figures.incentive_rows import headline_rows
from retention_lab.figures.ledger import ledger_of
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import kind_of, level_of
from retention_lab.texts.incentive import (
    because,
    headline,
    money_measure,
    ratio_measure,
    round_number,
    told_reason,
)
from retention_lab.texts.numbers import chance, measure, number, p_text, share


def told_money(source: Source, tongue: Tongue) -> str:
    """What each dollar brought, and what that means for the decision."""
    wanted = (source.verdict, source.spec, tongue.language)
    return tongue.joined([said for said in (headline(*wanted), because(*wanted)) if said])


def told_sure(source: Source, tongue: Tongue) -> tuple[str, ...]:
    """The interval of what was found, its chance and its profit, or of the effect."""
    spec, language = source.spec, tongue.language
    told = told_reason(source.verdict)
    n = dict(told.numbers) if told is not None else {}
    said = []
    if n.get("ratio_low") is not None:
        shown = ratio_measure(n["ratio_low"], n["ratio_high"])
        low, high = shown.ends(n["ratio_low"], n["ratio_high"], language)
        words = {"low": low, "high": high, "level": level_of(spec)}
        said.append(tongue.say("incentive.sure.between", **words))
    rows = ledger_of(source.results, n.get("arm")) if n.get("profit") is not None else {}
    likely = rows.get("probability_above_min_roi")
    if likely is not None and likely.estimate is not None:
        words = {"least": round_number(n.get("min_roi")), "chance": percent(likely.estimate)}
        said.append(tongue.say("incentive.sure.chance", **words))
    if n.get("profit") is not None:
        shown = money_measure(n.get("profit_low"), n.get("profit_high"))
        words = {
            "profit": shown.text(n["profit"], language),
            "interval": tongue.say("to").join(
                shown.ends(n.get("profit_low"), n.get("profit_high"), language)
            ),
        }
        said.append(tongue.say("incentive.sure.profit", **words))
        said.append(tongue.say("incentive.sure.assumed"))
    if n.get("estimate") is not None and n.get("ci_low") is not None:
        kind = str(n.get("kind") or kind_of(spec, n.get("metric")))
        shown = measure("difference", kind, n["ci_low"], n["ci_high"])
        low, high = shown.ends(n["ci_low"], n["ci_high"], language)
        words = {"low": low, "high": high, "level": level_of(spec)}
        said.append(tongue.say("incentive.sure.effect", **words))
        said += _luck(source, tongue, n)
    if spec.incentive is not None and spec.incentive.strategy == "observational":
        said.append(tongue.say("incentive.sure.not_by_chance"))
    return tuple(said) or (tongue.say("incentive.sure.none"),)


def percent(value: float) -> str:
    """A probability as a share, never 0 or 100%."""
    if value > 0.999:
        return f">{number(99.9, 1)}%"
    return f"<{number(0.1, 1)}%" if value < 0.001 else share(value)


def _luck(source: Source, tongue: Tongue, n: dict[str, object]) -> list[str]:
    rows = headline_rows(source.results, str(n.get("metric")))
    row = next((r for r in rows if r.arm == n.get("arm") and r.p_value is not None), None)
    if row is None or row.p_value is None:
        return []
    words = {"chance": chance(row.p_value, tongue.language), "p": p_text(row.p_value)}
    return [tongue.say("incentive.sure.luck", **words)]
