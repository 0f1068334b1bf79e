"""The words of incentives: every code that the house can give has a sentence in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from run.incentive_sample import CASES, alike, doses, limit, markets, redeemed
from run.sample_rows import Case

from retention_lab.experiment.load import parse, validate
from retention_lab.experiment.spec import Spec
from retention_lab.results import Reason, Verdict
from retention_lab.texts import reason_text, texts
from retention_lab.texts.incentive import (
    DOUBTS,
    because,
    covariate_label,
    deciding,
    headline,
    is_offer,
    round_number,
    told_reason,
)

PACKAGE = Path(__file__).parents[2] / "retention_lab"
HOUSE = PACKAGE / "incentives"
GIVEN = r'"([a-z][a-z_]+): [a-z{]'
NO_NOTES = {"incentive", "columns"}  # ``incentive: name what ...`` is a fault of the file


def spec_of(case: Case) -> Spec:
    return validate(*parse(case.spec))


def source(folder: Path) -> str:
    return "\n".join(p.read_text(encoding="utf-8") for p in sorted(folder.rglob("*.py")))


def notes() -> set[str]:
    return set(re.findall(GIVEN, source(HOUSE))) - NO_NOTES


def estimands() -> set[str]:
    text = source(HOUSE)
    found = re.findall(r'estimand="(\w+)"|_row\(\s*self\.metric, "(\w+)"', text)
    found += re.findall(r'_effect\("(\w+)"|_with\("(\w+)"', text)
    found += re.findall(r'asked\.row\(\s*"(\w+)"', text)
    found += re.findall(r'linear\("(\w+)"|_line\("(\w+)"|Line\("(\w+)"', text)
    return {name for pair in found for name in ([pair] if isinstance(pair, str) else pair) if name}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_note_has_a_sentence_and_a_few_words(language: str) -> None:
    known, given = texts(language), notes()
    assert {"no_overlap", "few_markets", "at_least", "ar_unbounded"} <= given
    assert [n for n in sorted(given) if f"note.{n}" not in known] == []
    assert [n for n in sorted(given) if f"figure.short.{n}" not in known] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_estimand_has_a_name(language: str) -> None:
    given = estimands()
    assert {"average_effect", "late", "incremental_profit", "event_time_effect"} <= given
    assert [e for e in sorted(given) if f"estimand.{e}" not in texts(language)] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_reason_of_the_rules_has_a_sentence_and_a_because(language: str) -> None:
    text = (HOUSE / "decide.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'"(incentive_\w+)"', text))
    assert len(codes) >= 17
    known = texts(language)
    assert [c for c in sorted(codes) if f"reason.{c}" not in known] == []
    told = {c.removeprefix("incentive_") for c in codes}
    assert [c for c in sorted(told) if f"incentive.because.{c}" not in known] == []
    assert set(DOUBTS) <= codes


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_every_reason_of_every_case_is_a_sentence(make: object, language: str) -> None:
    case: Case = make()  # type: ignore[operator]
    end = "." if language == "en" else "。"
    said = [reason_text(r, spec_of(case), language) for r in case.verdict.reasons]
    said += [f(case.verdict, spec_of(case), language) for f in (headline, because)]
    for text in said:
        assert text.endswith(end)
        assert "None" not in text
        assert "{" not in text


def test_the_first_sentence_says_what_a_dollar_brought() -> None:
    case = doses()
    spec = spec_of(case)
    assert headline(case.verdict, spec, "en") == (
        "Each dollar spent on “$5 coupon” brought 1.57 dollars of margin "
        "(95% interval 1.24 to 1.91)."
    )
    assert because(case.verdict, spec, "en") == (
        "Keep it: that is clearly more than the 1.2 dollars that a dollar should bring."
    )
    assert headline(case.verdict, spec, "zh") == (
        "“5 美元券”每投入 1 单位成本，带来 1.57 单位毛利（95% 置信区间 1.24 至 1.91）。"
    )


def test_without_a_ledger_it_says_what_changed() -> None:
    case = markets()
    assert headline(case.verdict, spec_of(case), "en").startswith(
        "Repurchase within 30 days rose by 2.1 points (95% interval +0.9 to +3.3"
    )
    assert because(case.verdict, spec_of(case), "en").startswith("Keep it:")


def test_a_doubt_that_turned_the_decision_is_told_first() -> None:
    for make, code in (
        (redeemed, "incentive_pulled_forward"),
        (alike, "incentive_fragile"),
        (limit, "incentive_density"),
    ):
        case = make()
        reason = deciding(case.verdict)
        assert reason is not None
        assert reason.code == code
    assert "it only moved orders forward" in because(redeemed().verdict, spec_of(redeemed()), "en")


def test_of_several_arms_the_best_is_told_unless_one_is_kept() -> None:
    case = doses()
    stopped = Verdict("stop", None, case.verdict.reasons[1:])
    told = told_reason(stopped)
    assert told is not None
    assert told.numbers["arm"] == "ten"
    kept = told_reason(Verdict("ship", "twenty", case.verdict.reasons))
    assert kept is not None
    assert kept.numbers["arm"] == "twenty"


def test_a_harmed_guardrail_stops_what_pays() -> None:
    case = doses()
    harm = Reason("guardrail_harmed", {"metric": "orders_30d", "arm": "five"})
    verdict = Verdict("stop", None, (case.verdict.reasons[0], harm))
    assert because(verdict, spec_of(case), "en") == (
        "“$5 coupon” does harm: Repurchase within 30 days gets worse."
    )


def test_a_verdict_without_any_result_has_words() -> None:
    verdict = Verdict("invalid", None, (Reason("incentive_no_result", {}),))
    assert headline(verdict, spec_of(doses()), "en").startswith("The comparison is not valid")
    assert because(verdict, spec_of(doses()), "en") == "Nothing here can be decided on."
    none = {"arm": "five", "metric": "revenue_30d", "min_roi": 1.2, "note": "no_cost: it was free"}
    verdict = Verdict("keep_running", None, (Reason("incentive_no_ratio", none),))
    assert headline(verdict, spec_of(doses()), "en") == (
        "What a dollar spent on “$5 coupon” brings cannot be told."
    )
    assert because(verdict, spec_of(doses()), "en") == "Look closer: It was free."


def test_an_ab_test_with_a_ledger_keeps_its_own_page() -> None:
    spec = spec_of(doses())
    assert is_offer(spec)
    assert not is_offer(spec.model_copy(update={"notebook": "ab_test"}))
    assert is_offer(spec_of(alike()).model_copy(update={"notebook": "ab_test"}))


def test_numbers_of_the_file_stand_as_they_were_written() -> None:
    assert [round_number(x) for x in (2.0, 1.25, 0.05, 1000.0)] == ["2", "1.25", "0.05", "1,000"]
    assert covariate_label(spec_of(alike()), "channel=Web", "zh") == "渠道：Web"
