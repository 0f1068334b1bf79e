"""Reasons, notes and labels in words."""

from __future__ import annotations

import pytest
from run.sample import CASES, coupon, email
from run.sample_rows import Case

from retention_lab.experiment.load import parse, validate
from retention_lab.experiment.spec import Spec
from retention_lab.results import Reason
from retention_lab.texts import (
    as_markdown,
    label,
    metric_label,
    note_text,
    plain,
    reason_text,
    short_note,
    window_text,
)

HIDDEN = (
    "Hidden, because an arm has too few customers here, "
    "or because such a group could be worked out from it."
)


def spec_of(case: Case) -> Spec:
    return validate(*parse(case.spec))


def said(reason: Reason, language: str = "en", case: Case | None = None) -> str:
    return reason_text(reason, spec_of(case or email()), language).replace("\u00a0", " ")


def test_a_win_in_both_languages() -> None:
    case = email()
    reason = case.verdict.reasons[0]
    assert said(reason) == (
        "Visit rate (two weeks) is better with “Men's e-mail” than with “No e-mail”: "
        "+72.1% (95% interval +64.1% to +80.7%; p < 0.001)."
    )
    assert said(reason, "zh") == (
        "“男装邮件”的两周回访率优于“不发邮件”：+72.1%（95% 置信区间 +64.1% 至 +80.7%；p < 0.001）。"
    )


def test_an_adjusted_p_value_is_called_so() -> None:
    reason = email().verdict.reasons[0]
    plain = {**reason.numbers, "p_value": 0.03, "p_adjusted": 0.03}
    corrected = {**plain, "p_adjusted": 0.06}
    assert said(Reason(reason.code, plain)).endswith("; p = 0.030).")
    assert said(Reason(reason.code, corrected)).endswith("; adjusted p = 0.060).")
    assert said(Reason(reason.code, corrected), "zh").endswith("；校正后 p = 0.060）。")


def test_a_guardrail_names_its_margin() -> None:
    reason = email().verdict.reasons[2]
    assert "stays within the allowed 0.5 points" in said(reason)
    assert "护栏指标" in said(reason, "zh")
    without = Reason("guardrail_kept", {**reason.numbers, "margin": None})
    assert "no sign of harm" in said(without)


def test_a_guardrail_without_a_result_says_why() -> None:
    numbers = {"metric": "unsubscribed", "arm": "Mens E-Mail", "estimate": None, "ci_low": None}
    note = "suppressed: fewer than 20 units"
    text = said(Reason("guardrail_unclear", {**numbers, "ci_high": None, "note": note}))
    assert text == "Guardrail Unsubscribe rate, “Men's e-mail”: no result. " + HIDDEN


def test_a_difference_stands_where_there_is_no_lift() -> None:
    reason = email().verdict.reasons[0]
    none = dict.fromkeys(("lift", "lift_low", "lift_high"))
    assert "+7.66 points" in said(Reason(reason.code, {**reason.numbers, **none}))


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_every_reason_of_every_case_is_a_sentence(make: object, language: str) -> None:
    case: Case = make()  # type: ignore[operator]
    for reason in case.verdict.reasons:
        text = said(reason, language, case)
        assert text.endswith("." if language == "en" else "。")
        assert "None" not in text
        assert "{" not in text


def test_immature_names_day_and_number() -> None:
    text = said(coupon().verdict.reasons[-1], "en", coupon())
    assert "1,809 customers" in text
    assert "15 January 2026" in text


def test_an_unknown_reason_is_shown_as_it_is() -> None:
    assert said(Reason("a_new_rule", {})) == "a_new_rule"


def test_notes() -> None:
    note = "few_events: an arm has fewer than 5 with or without the event"
    assert note_text(note, "en") == "An arm has fewer than 5 with or without the event."
    assert note_text(note, "zh") == "发生或未发生该事件的客户过少，区间不可靠。"
    assert note_text("something else", "zh") == "Something else."
    assert note_text("zero_variance:", "zh") == "所有客户的取值相同，无从比较。"
    assert note_text(None, "en") == ""
    assert note_text("suppressed: fewer than 20 units", "en") == HIDDEN


def test_a_note_on_missing_values_keeps_their_number_and_the_remedy() -> None:
    note = "missing_values: 1,205 of 64,000 values of 'x' are missing: say missing: drop or zero"
    remedy = "有 1,205 个取值缺失。请在实验文件中用 missing: drop 或 missing: zero 说明如何处理。"
    assert note_text(note, "zh") == remedy
    assert note_text(note, "en").startswith("1,205 of 64,000 values of 'x' are missing")


def test_notes_in_a_few_words() -> None:
    assert short_note("unbounded: the control is near 0", "en") == "no finite interval"
    assert short_note("unbounded: the control is near 0", "zh") == "区间无界"
    assert short_note("new_code: something", "en") == short_note(None, "en") == ""


def test_reasons_side_by_side_have_as_many_digits() -> None:
    first = email().verdict.reasons[0]
    wide = {**first.numbers, "arm": "Womens E-Mail", "lift_low": 0.1, "lift_high": 1.4}
    reasons = (first, Reason(first.code, {**wide, "lift": 0.426}))
    texts = [reason_text(r, spec_of(email()), "en", reasons) for r in reasons]
    assert "+72%" in texts[0]
    assert "+43%" in texts[1]


def test_labels_fall_back_to_names() -> None:
    spec = spec_of(email())
    assert metric_label(spec, "not_labelled_30d", "en") == "not labelled 30d"
    assert label(spec, "some_arm", "zh") == "some_arm"
    assert label(spec, "Mens E-Mail", "zh") == "男装邮件"


def test_control_characters_never_reach_a_page() -> None:
    assert plain("a\x00b\u202ec\n d") == "a b c d"


def test_windows() -> None:
    assert window_text("30d", "en") == "30 days"
    assert window_text("72h", "zh") == "72 小时"
    assert window_text("2w", "en") == "2 weeks"


def test_units_without_an_arm_are_counted_in_both_languages() -> None:
    reason = Reason("no_arm", {"text": "1,205 of 64,000 units have no arm and are left out"})
    assert said(reason) == "1,205 customers have no arm and are left out."
    assert said(reason, "zh") == "有 1,205 位客户没有分组，未计入结果。"
    assert said(Reason("no_arm", {})) == "Some customers have no arm and are left out."


def test_markdown_shows_text_as_it_is() -> None:
    assert as_markdown("a <b> $x$ *y* [z](u)") == r"a &lt;b&gt; \$x\$ \*y\* \[z\]\(u\)"
    assert as_markdown("优惠券 5%") == "优惠券 5%"


def test_crossed_segments_are_named_part_by_part() -> None:
    assert (
        metric_label(spec_of(email()), "zip_code \u00d7 some_thing", "en")
        == "Area \u00d7 some thing"
    )
