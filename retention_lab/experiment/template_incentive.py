"""A name, a strategy and perhaps a table in; the text of a first file about an incentive out."""

from __future__ import annotations

import re
from pathlib import Path

from retention_lab.errors import PlanError, SpecError, did_you_mean
from retention_lab.experiment.spec import Data
from retention_lab.experiment.template import (
    MOST_LEVELS,
    Column,
    check_name,
    is_id,
    look_at,
    template_for,
    yaml_word,
)

SHIPPED = {  # the experiment that comes with the lab, by strategy
    "randomised": "hillstrom-email",
    "encouragement": "redeemed-coupon",
    "observational": "complete-journey-coupons",
    "dose": "coupon-dose",
    "rollout": "warehouse-rollout",
    "threshold": "free-shipping-threshold",
}
WHY = {
    "randomised": "the arms were dealt by chance",
    "encouragement": "the offer was dealt by chance, redeeming it was a choice",
    "observational": "nobody was randomised: customers alike are compared",
    "dose": "the arms were dealt by chance, and differ in the incentive's value",
}
REDEEMED = re.compile(r"redeem|used|claim|coupon|voucher", re.IGNORECASE)
LEDGER = """\
  # With a margin there is a ledger: what each dollar of it brought.
  # revenue: METRIC   # a metric above, of kind mean: what customers spent
  # margin: 0.4   # share of the revenue that is left after the goods
  # cost: {{contact: 0.1, redemption: {price}}}   # of an arm's unit; of a redemption
  # min_roi: 2   # the margin that a dollar of cost should bring
"""


def template_incentive(
    name: str, strategy: str, table: tuple[str | None, str | None, str | None], root: Path
) -> tuple[str, tuple[str, ...]]:
    """A commented file on an incentive, and what to look at first.

    `table` is the table of units, its column of arms, and the control. Without it, the experiment
    of that strategy that comes with the lab. Raises SpecError for an unknown strategy, for a part
    of a table, and for one of a strategy without arms; what `template_for` raises.
    """
    check_name(name)
    if strategy not in SHIPPED:
        hint = did_you_mean(strategy, SHIPPED) or f"; there are {', '.join(SHIPPED)}"
        raise SpecError(f"--incentive: there is no strategy {strategy!r}{hint}")
    units, arm, control = table
    if not any(table):
        return _shipped(name, strategy, root), ()
    if strategy not in WHY:
        raise SpecError(
            f"--incentive {strategy} has no arms: write its file without --units, then put your "
            "table and its columns in place of those of the simulated shop"
        )
    if units is None or arm is None or control is None:
        raise SpecError(f"--incentive {strategy} needs --units, --arm and --control, or none")
    return _own(name, strategy, (units, arm, control), root)


def _shipped(name: str, strategy: str, root: Path) -> str:
    """The experiment that comes with the lab, under another name, without its own history."""
    path = root / "experiments" / f"{SHIPPED[strategy]}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        raise PlanError(
            f"{path} is not there to be copied; give --units, --arm and --control"
        ) from None
    body = text[text.index("schema:") :]
    body = re.sub(r"(?m)^name: .*$", f"name: {name}   # must be the file's name", body, count=1)
    body = re.sub(r"(?m)^family: .*\n", "", body, count=1)
    return f"{_head(name)}# This is {path.stem}: put your own tables, metrics and words in.\n{body}"


def _head(name: str) -> str:
    return (
        f"# Run it:      retention-lab run {name}\n"
        f"# Check it:    retention-lab validate {name}\n"
        "# Every key:   docs/experiment-file.md\n"
    )


def _own(
    name: str, strategy: str, table: tuple[str, str, str], root: Path
) -> tuple[str, tuple[str, ...]]:
    from retention_lab.data.source import Source

    units, arm, control = table
    columns, arms = look_at(Source(Data(units=units), root / "experiments", root), units, arm)
    redeemed = next((c for c in columns if c.kind == "yes_no" and REDEEMED.search(c.name)), None)
    if strategy == "encouragement" and redeemed is None:
        raise PlanError(
            f"{units} has no column of 0 and 1 with a name such as redeemed, used or claimed: an "
            "encouragement needs to know who redeemed the offer"
        )
    besides = (redeemed.name,) if redeemed is not None else ()
    text, doubts = template_for(name, units, arm, control, root, besides)
    section, more = _section(strategy, columns, arms, control, redeemed)
    before, _, after = text.partition("# Groups known before")
    rest = after[after.index("inference:") :]
    text = f"{before}{section}\n{rest}".replace(
        "\n\ndata:", "\nnotebook: incentive_effect\n\ndata:", 1
    )
    if strategy == "observational":
        text = re.sub(r"(?m)^  # expected_split: .*\n", "", text)
    return text, (*doubts, *more)


def _before(columns: list[Column], redeemed: Column | None) -> list[Column]:
    """What may have been known before: numbers, and texts of a few levels."""
    able = [c for c in columns if c is not redeemed and not is_id(c) and not c.nearly]
    return [
        c
        for c in able
        if c.kind in ("number", "whole", "yes_no")
        or (c.kind == "text" and 2 <= c.levels <= MOST_LEVELS)
    ]


def _section(
    strategy: str, columns: list[Column], arms: list[str], control: str, redeemed: Column | None
) -> tuple[str, list[str]]:
    """The incentive section, and what of it was guessed."""
    lines, doubts = ["incentive:", f"  strategy: {strategy}   # {WHY[strategy]}"], []
    if redeemed is not None:
        lines.append(f"  redeemed: {yaml_word(redeemed.name)}   # 0 or 1: who redeemed it")
        doubts.append(f"{redeemed.name!r} is taken for the column of who redeemed it: is it?")
    else:
        lines.append("  # redeemed: COLUMN   # 0 or 1: who redeemed it")
    if strategy == "observational":
        numbers = [c for c in _before(columns, redeemed) if c.kind != "text"]
        known = [c for c in _before(columns, redeemed) if c is not next(iter(numbers), None)]
        if not known:
            raise PlanError("no column is left to compare customers by: covariates are needed")
        listed = ", ".join(yaml_word(c.name) for c in known)
        lines.append(f"  covariates: [{listed}]   # only what was known before: take out the rest")
        doubts.append("incentive.covariates lists every column: keep those known before it")
    price = "2"
    if strategy == "dose":
        values, guessed = _doses(arms, control)
        shown = ", ".join(f"{yaml_word(a)}: {v:g}" for a, v in sorted(values.items(), key=_value))
        lines.append(f"  dose: {{{shown}}}   # the incentive's value, by arm")
        if guessed:
            doubts.append("incentive.dose: the arms do not tell their value; write it")
        price = "dose"
    return "\n".join(lines) + "\n" + LEDGER.format(price=price), doubts


def _value(pair: tuple[str, float]) -> float:
    return pair[1]


def _doses(arms: list[str], control: str) -> tuple[dict[str, float], bool]:
    """The value of each arm by the number in its name; else their order, which is a guess."""
    found = {a: re.findall(r"\d+(?:\.\d+)?", a) for a in arms if a != control}
    values = {a: float(numbers[0]) for a, numbers in found.items() if numbers}
    if len(values) == len(found) and len(set(values.values())) == len(values):
        return {control: 0.0, **values}, False
    return {control: 0.0, **{a: float(i) for i, a in enumerate(found, 1)}}, True
