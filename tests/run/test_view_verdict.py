"""What the report says of its verdict: the first screen, and what would change it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from run.sample import coupon, email, harm, mismatch, write
from run.sample_rows import Case, Cell, quality, yes
from run.sample_rows import compare as compare_arms
from run.viewing import NBSP, en, source

from retention_lab.results import Reason, Results, Verdict
from retention_lab.run.report import write_reports
from retention_lab.run.view.change import changes
from retention_lab.run.view.hero import hero
from retention_lab.run.view.source import Source, Tongue

# What would change it


def test_shipping_hangs_on_the_effect_and_its_guardrails(at: Source) -> None:
    found = [s.replace(NBSP, " ") for s in changes(at, en(at))]
    assert found[0].startswith("Repurchase rate: new data that bring the interval")
    assert "Guardrail Margin (USD): harm beyond 0.25 inside its interval" in found[1]


def test_an_unclear_effect_says_how_many_customers_would_tell(tmp_path: Path) -> None:
    arms = {"weekly": Cell(1.0, 1.0, 10_000), "daily": Cell(1.02, 1.0, 10_000)}
    rows = quality(dict.fromkeys(arms, 10_000), dict.fromkeys(arms, 1.0), 0.1, 0.9)
    results = Results.of([*rows, *compare_arms("orders_30d", arms)])
    numbers = {"metric": "orders_30d", "arm": "daily"}
    verdict = Verdict("keep_running", None, (Reason("primary_unclear", numbers),))
    found = source(Case("daily-mail", harm().spec, results, verdict), tmp_path)
    # 1.96 standard errors are 0.0277, and (0.0277 / 0.02)² − 1 of 20,000 are 18,415.
    assert "about 19,000 customers more, in all arms together" in changes(found, en(found))[0]


def test_an_effect_next_to_nothing_is_not_promised_to_clear_up(tmp_path: Path) -> None:
    arms = {"weekly": Cell(1.0, 1.0, 10_000), "daily": Cell(1.0001, 1.0, 10_000)}
    results = Results.of(compare_arms("orders_30d", arms))
    numbers = {"metric": "orders_30d", "arm": "daily"}
    verdict = Verdict("keep_running", None, (Reason("primary_unclear", numbers),))
    found = source(Case("daily-mail", harm().spec, results, verdict), tmp_path)
    assert "more customers will hardly settle it" in changes(found, en(found))[0]


def test_harm_and_faults_say_what_would_have_to_turn(tmp_path: Path) -> None:
    found = source(harm(), tmp_path)
    assert "would have to come back within the allowed 0.5 points" in changes(found, en(found))[0]
    bad = source(mismatch(), tmp_path)
    assert changes(bad, en(bad))[0].startswith("The cause must be found and mended")
    open_ = source(coupon(), tmp_path)
    text = " ".join(changes(open_, en(open_)))
    assert "would show that the harm stays within what is allowed" in text or "hardly" in text


# The first screen


def test_simulated_customers_are_called_simulated(tmp_path: Path) -> None:
    inputs = [{"name": "assignments", "ref": "dataset:twin/assignments"}]
    case = dataclasses.replace(coupon(), run={"inputs": inputs})
    found = source(case, tmp_path)
    facts = dict(hero(found, en(found)).facts)
    assert facts["Data"] == "dataset twin, a simulated shop: no real customers"
    facts = dict(hero(found, Tongue(found.spec, "zh")).facts)
    assert facts["数据"] == "数据集 twin（模拟商店，并非真实客户）"


def test_correction_that_changes_the_conclusion_is_said(tmp_path: Path) -> None:
    rates = {"weekly": yes(0.10, 5000), "daily": yes(0.1125, 5000), "hourly": yes(0.102, 5000)}
    results = Results.of(compare_arms("orders_30d", rates))
    numbers = {"metric": "orders_30d", "arm": "daily"}
    verdict = Verdict("keep_running", None, (Reason("primary_unclear", numbers),))
    found = source(Case("daily-mail", harm().spec, results, verdict), tmp_path)
    text = " ".join(hero(found, en(found)).sure).replace(NBSP, " ")
    assert "may be luck. The true" in text
    assert "about 1 in 24 tests (p = 0.043)" in text
    assert "adjusted p = 0.085, where less than 0.05 is needed" in text
    assert "p-value (p = 0.085) would have to fall below 0.05" in changes(found, en(found))[
        0
    ].replace(NBSP, " ")


def test_an_unclear_effect_is_told_as_a_difference_not_as_a_lift(tmp_path: Path) -> None:
    case = coupon()
    reasons = tuple(r for r in case.verdict.reasons if r.code == "primary_unclear")
    verdict = Verdict("keep_running", None, reasons)
    found = source(dataclasses.replace(case, verdict=verdict), tmp_path)
    assert "a difference of 1.8 points that may be luck" in hero(found, en(found)).sure[0]


def test_a_test_with_looks_says_so(at: Source) -> None:
    assert any("at some look in" in s for s in hero(at, en(at)).sure)


def test_the_margin_that_decides_is_drawn(tmp_path: Path) -> None:
    case = email()
    spec = case.spec.replace(
        "proportion, role: primary}", "proportion, role: primary, margin: 0.2}"
    )
    numbers = {**case.verdict.reasons[0].numbers, "margin": 0.2}
    verdict = Verdict("stop", None, (Reason("no_worthwhile_effect", numbers),))
    folder = write(Case(case.name, spec, case.results, verdict), tmp_path)
    write_reports(folder)
    drawn = (folder / "figures" / "effects.en.svg").read_text(encoding="utf-8")
    assert "worth having: +20" in drawn
    assert "visit: difference" in drawn.lower() or "(two weeks): difference" in drawn
