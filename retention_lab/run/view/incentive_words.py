"""The run of an incentive in; what was found and how sure that is, in sentences, out."""

from __future__ import annotations

from retention_lab.experiment.sections import Incentive
from retention_lab.figures.incentive_rows import headline_rows, incentive_rows
from retention_lab.figures.ledger import ledger_of
from retention_lab.results import Row
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import interval_text, kind_of, level_of
from retention_lab.texts.incentive import (
    because,
    capital,
    headline,
    level_measure,
    money_measure,
    quoted,
    ratio_measure,
    round_number,
    told_reason,
)
from retention_lab.texts.numbers import chance, measure, number, p_text, share

POSSIBLE = 0.05  # a chance to be the best dose from which on it is not ruled out


def told_money(source: Source, tongue: Tongue) -> str:
    """What each dollar brought, and what that means for the decision."""
    wanted = (source.verdict, source.spec, tongue.language)
    why = because(*wanted, likely=likely_enough(source), command=False)
    return tongue.joined([said for said in (headline(*wanted), why) if said])


def likely_enough(source: Source) -> float | None:
    """The chance that the deciding arm's return is what is wanted; None where it is not known."""
    told = told_reason(source.verdict)
    if told is None or told.numbers.get("profit") is None:
        return None
    row = ledger_of(source.results, told.numbers.get("arm")).get("probability_above_min_roi")
    return row.estimate if row is not None else None


def kept_dose(source: Source) -> tuple[Row, float] | None:
    """The profit of the dose that is kept, and its chance to be best; None where not known."""
    chances = {r.at: r.estimate for r in incentive_rows(source.results, "chance_best")}
    rows = incentive_rows(source.results, "profit_at_dose", arm=source.verdict.arm)
    own = next((r for r in rows if r.estimate is not None), None)
    likely = chances.get(own.at) if own is not None else None
    if source.verdict.decision != "ship" or own is None or likely is None:
        return None
    return own, likely


def told_dose(source: Source, tongue: Tongue) -> str:
    """The profit of the dose that is kept; empty where none is, or it is not known."""
    kept = kept_dose(source)
    if kept is None:
        return ""
    own, _ = kept
    rows = incentive_rows(source.results, "profit_at_dose")
    shown = level_measure((r.ci_low, r.ci_high) for r in rows)
    words = {
        "arm": quoted(source.spec, own.arm, tongue.language),
        "profit": shown.text(own.estimate, tongue.language),
        "interval": interval_text(source.spec, shown, own.ci_low, own.ci_high, tongue.language),
    }
    most = own.estimate == max(r.estimate for r in rows if r.estimate is not None)
    return capital(tongue.say(f"incentive.{'best' if most else 'kept'}_dose", **words))


def told_rivals(source: Source, tongue: Tongue) -> str:
    """How likely the dose that is kept is the best, and which others may be; else empty."""
    kept = kept_dose(source)
    if kept is None:
        return ""
    own, likely = kept
    chances = {r.at: r.estimate for r in incentive_rows(source.results, "chance_best")}
    rows = [r for r in incentive_rows(source.results, "profit_at_dose") if r.estimate is not None]
    said = [tongue.say("incentive.best_chance", chance=likelihood(likely, tongue))]
    rivals = [_rival(r, chances[r.at] or 0.0, tongue) for r in rows
              if r is not own and (chances.get(r.at) or 0.0) >= POSSIBLE]  # fmt: skip
    if rivals:
        said.append(tongue.say("incentive.rivals", doses=tongue.say("comma").join(rivals)))
    elif len(rows) > 1:
        said.append(tongue.say("incentive.no_rivals"))
    return tongue.joined(said)


def _rival(row: Row, likely: float, tongue: Tongue) -> str:
    arm = quoted(tongue.spec, row.arm, tongue.language)
    return tongue.say("incentive.rival", arm=arm, chance=percent(likely))


def assumed(said: Incentive, tongue: Tongue) -> tuple[tuple[str, str], ...]:
    """Margin and costs that the file assumes, and the return that it wants; none without margin."""
    if said.margin is None:
        return ()
    wanted = tongue.say("incentive.facts.wanted_value", least=round_number(said.min_roi))
    return (
        (tongue.say("incentive.facts.margin"), _terms(said, tongue)),
        (tongue.say("incentive.facts.wanted"), wanted),
    )


def _terms(said: Incentive, tongue: Tongue) -> str:
    say, cost = tongue.say, said.cost
    share_of = f"{number(100 * (said.margin or 0.0), 1).removesuffix('.0')}%"
    found = [say("incentive.facts.of_revenue", margin=share_of)]
    if cost.contact:
        found.append(say("incentive.facts.contact", cost=round_number(cost.contact)))
    if cost.redemption == "dose":
        found.append(say("incentive.facts.by_dose"))
    elif cost.redemption:
        found.append(say("incentive.facts.redemption", cost=round_number(float(cost.redemption))))
    return say("incentive.facts.exact", terms=say("comma").join(found))


def told_sure(source: Source, tongue: Tongue) -> tuple[str, ...]:
    """The interval of what was found, its chance and its profit, or of the effect."""
    spec, language = source.spec, tongue.language
    told = told_reason(source.verdict)
    n = dict(told.numbers) if told is not None else {}
    said: list[str] = []
    between: list[str] = []
    if n.get("ratio_low") is not None:
        shown = ratio_measure(n["ratio_low"], n["ratio_high"])
        low, high = shown.ends(n["ratio_low"], n["ratio_high"], language)
        words = {"low": low, "high": high, "level": level_of(spec)}
        between.append(tongue.say("incentive.sure.between", **words))
    rows = ledger_of(source.results, n.get("arm")) if n.get("profit") is not None else {}
    likely = rows.get("probability_above_min_roi")
    if likely is not None and likely.estimate is not None:
        words = {
            "least": round_number(n.get("min_roi")),
            "chance": likelihood(likely.estimate, tongue),
        }
        between.append(tongue.say("incentive.sure.chance", **words))
    if between:
        said.append(tongue.joined(between))
    if n.get("profit") is not None:
        shown = money_measure(n.get("profit_low"), n.get("profit_high"))
        words = {
            "profit": shown.text(n["profit"], language),
            "interval": tongue.say("to").join(
                shown.ends(n.get("profit_low"), n.get("profit_high"), language)
            ),
        }
        said.append(tongue.say("incentive.sure.profit", **words))
    if n.get("estimate") is not None and n.get("ci_low") is not None:
        kind = str(n.get("kind") or kind_of(spec, n.get("metric")))
        shown = measure("difference", kind, n["ci_low"], n["ci_high"])
        low, high = shown.ends(n["ci_low"], n["ci_high"], language)
        words = {"low": low, "high": high, "level": level_of(spec)}
        said.append(tongue.say("incentive.sure.effect", **words))
        said += _luck(source, tongue, n)
    if spec.incentive is not None and spec.incentive.strategy == "observational":
        said.append(tongue.say("incentive.sure.not_by_chance"))
    said += [x for x in (told_rivals(source, tongue),) if x]
    return tuple(said) or (tongue.say("incentive.sure.none"),)


def likelihood(value: float, tongue: Tongue) -> str:
    """A probability in a sentence: ``97.0%``, ``less than 0.1%``."""
    if 0.001 <= value <= 0.999:
        return percent(value)
    key, limit = ("more", 99.9) if value > 0.5 else ("less", 0.1)
    return tongue.say(f"incentive.sure.{key}", share=f"{number(limit, 1)}%")


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
