"""A run with an incentive in; what it brought and cost, as blocks of the report, out."""

from __future__ import annotations

import dataclasses

from retention_lab.figures import ledger_plot
from retention_lab.figures.incentive_rows import incentive_rows, ledger_arms, many
from retention_lab.figures.ledger import ledger_of, waterfall
from retention_lab.results import Row
from retention_lab.run.view.blocks import Block, Table, Value
from retention_lab.run.view.incentive_words import percent
from retention_lab.run.view.model import Draw
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import interval_text, level_of, note_code, note_text
from retention_lab.texts.incentive import (
    capital,
    money_measure,
    quoted,
    ratio_measure,
    unsigned,
)
from retention_lab.texts.numbers import DASH, Measure, measure, number

SHARES = ("redemption_rate", "control_redemption_rate", "redeemed_anyway")
RATIOS = ("margin_per_dollar", "roi", "revenue_ratio")
AGAIN = "adjusted"
MOST_DRAWN = 3  # waterfalls that are open


def ledger_blocks(
    source: Source, tongue: Tongue, draw: Draw, drawn: bool = False
) -> tuple[Block, ...]:
    """A block an arm: the sentence, the waterfall, and all lines folded.

    The arm that is kept comes first. A waterfall that is `drawn` already, above, is not
    drawn again.
    """
    arms = sorted(ledger_arms(source.results), key=lambda a: a != source.verdict.arm)
    found = []
    for i, arm in enumerate(arms):
        rows = ledger_of(source.results, arm)
        shown = bool(waterfall(rows, source.spec)) and i < MOST_DRAWN and not drawn
        figures = (draw(f"ledger-{i + 1}", ledger_plot, arm=arm),) if shown else ()
        title = tongue.arm(arm) if many(arms) else ""
        found.append(
            Block(
                title,
                _told(source, tongue, rows, arm),
                (table(source, tongue, arm),),
                figures=figures,
            )
        )
    return tuple(found)


def _told(source: Source, tongue: Tongue, rows: dict[str, Row], arm: str | None) -> tuple[str, ...]:
    """The ledger in sentences; why there is none where the profit is not known."""
    spec, language = source.spec, tongue.language
    profit = rows.get("incremental_profit")
    names = ("incremental_revenue", "incremental_margin", "incremental_cost")
    parts = [rows[n] for n in names if n in rows]
    if profit is None or profit.estimate is None or len(parts) < 3:
        note = note_text(profit.note, language) if profit is not None else ""
        return tuple(x for x in (tongue.say("incentive.ledger.none"), note) if x)
    signed = money_measure(profit.ci_low, profit.ci_high)
    digits = dataclasses.replace(signed, signed=False)
    amounts = [digits.text(r.estimate, language) for r in parts]
    words = {
        "arm": quoted(spec, arm, language),
        "revenue": amounts[0],
        "margin": amounts[1],
        "cost": unsigned(amounts[2]),
        "profit": digits.text(profit.estimate, language),
        "interval": interval_text(spec, digits, profit.ci_low, profit.ci_high, language),
        "returns": tongue.say("incentive.ledger.after_returns")
        if "incremental_returns" in rows
        else "",
    }
    on_treated = spec.incentive is not None and spec.incentive.strategy == "observational"
    key = "brought_treated" if on_treated else "brought"
    said = [capital(tongue.say(f"incentive.ledger.{key}", **words))]
    if on_treated and profit.n is not None and profit.n_baseline is not None:
        words |= {"n": number(profit.n, 0), "n_baseline": number(profit.n_baseline, 0)}
        said.append(tongue.say("incentive.ledger.treated", **words))
    if spec.incentive is not None and spec.incentive.strategy == "threshold":
        said += [tongue.say("incentive.ledger.limit")] if "incremental_returns" in rows else []
    even = rows.get("break_even_cost")
    if even is not None and even.estimate is not None and even.estimate > 0 and _sent(source):
        cost = unsigned(digits.text(even.estimate, language))
        said.append(tongue.say("incentive.ledger.break_even", cost=cost))
    rate, anyway = rows.get("redemption_rate"), rows.get("redeemed_anyway")
    if rate is not None and rate.estimate is not None:
        shown = measure("level", "proportion", rate.ci_low, rate.ci_high)
        said.append(
            tongue.say("incentive.ledger.redeemed", rate=shown.text(rate.estimate, language))
        )
    if anyway is not None and anyway.estimate is not None and anyway.ci_low is not None:
        shown = measure("level", "proportion", anyway.ci_low, anyway.ci_high)
        words = {
            "share": shown.text(anyway.estimate, language),
            "interval": interval_text(spec, shown, anyway.ci_low, anyway.ci_high, language),
        }
        said.append(tongue.say("incentive.ledger.anyway", **words))
    return tuple(said)


def table(source: Source, tongue: Tongue, arm: str | None) -> Table:
    """Every line of an arm's ledger with its interval, folded."""
    free = () if _sent(source) else ("cost_contact", "break_even_cost")
    rows = [r for r in ledger_of(source.results, arm).values() if r.estimand not in free]
    again = incentive_rows(source.results, ("incremental_profit", "margin_per_dollar"),
                           arm=arm, term=AGAIN)  # fmt: skip
    observed = source.spec.design is not None and source.spec.incentive is not None
    observed = observed and source.spec.incentive.strategy == "observational"  # type: ignore[union-attr]
    key = "caption" if observed else "caption_contact"
    words = {"arm": quoted(source.spec, arm, tongue.language), "level": level_of(source.spec)}
    say = tongue.say
    heads = (
        say("incentive.ledger.line"), say("incentive.ledger.amount"), say("incentive.ledger.note")
    )  # fmt: skip
    lines = [_line(r, tongue) for r in (*rows, *again)]
    return Table(
        capital(say(f"incentive.ledger.{key}", **words)), heads, tuple(lines),
        say("incentive.ledger.show"),
    )  # fmt: skip


def _sent(source: Source) -> bool:
    """Whether the file says what it costs to give it to one customer."""
    return source.spec.incentive is not None and bool(source.spec.incentive.cost.contact)


def _line(row: Row, tongue: Tongue) -> tuple[Value, Value, Value]:
    name = tongue.say(f"estimand.{row.estimand}")
    if row.term == AGAIN:
        name = tongue.say("incentive.ledger.adjusted", name=name)
    return (
        Value(name),
        _amount(row, tongue),
        Value(note_text(row.note, tongue.language)),
    )


def _amount(row: Row, tongue: Tongue) -> Value:
    if row.estimand == "probability_above_min_roi" and row.estimate is not None:
        return Value(percent(row.estimate))
    return amount(row, _measure(row), tongue)


def _measure(row: Row) -> Measure:
    if row.estimand in SHARES:
        return measure("level", "proportion", row.ci_low, row.ci_high)
    if row.estimand in RATIOS:
        return ratio_measure(row.ci_low, row.ci_high)
    if row.estimand.startswith("cost") or row.estimand in ("break_even_cost", "incremental_cost"):
        return dataclasses.replace(money_measure(row.ci_low, row.ci_high), signed=False)
    return money_measure(row.ci_low, row.ci_high)


def amount(row: Row, shown: Measure, tongue: Tongue) -> Value:
    """An estimate with the ends of its interval; a dash without an estimate."""
    if row.estimate is None:
        return Value(DASH)
    ends = ""
    if row.ci_low is not None and row.ci_high is not None:
        ends = tongue.say("to").join(shown.ends(row.ci_low, row.ci_high, tongue.language))
    return Value(shown.text(row.estimate, tongue.language), ends)


def noted(row: Row | None, *codes: str) -> bool:
    """Whether a row's note begins with one of `codes`."""
    return row is not None and note_code(row.note) in codes
