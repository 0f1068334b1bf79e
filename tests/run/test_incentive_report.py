"""The report of an incentive, and the ledger in an A/B test's: what they say."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from run.incentive_sample import (
    CASES,
    alike,
    changed,
    doses,
    limit,
    markets,
    money_reason,
    redeemed,
    row,
    with_ledger,
)
from run.pages import pages, section
from run.sample import email, write
from run.sample_rows import Case
from run.viewing import en, named, said, source

from retention_lab.learning import log
from retention_lab.results import Results, Verdict
from retention_lab.run.compare import compare
from retention_lab.run.index import write_index
from retention_lab.run.naming import metric_key, metrics
from retention_lab.run.report import comparison_html, report_html
from retention_lab.run.view.incentive_checks import doubts
from retention_lab.run.view.incentive_ledger import ledger_blocks

HAN = re.compile(r"[\u4e00-\u9fff]")


def draw(name: str, plot: object, **wanted: object) -> str:
    return name


def checks(case: Case, tmp_path: Path) -> tuple:
    found = source(case, tmp_path)
    return doubts(found, en(found), draw)


@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_both_pages_are_whole(make: object, tmp_path: Path) -> None:
    case: Case = make()  # type: ignore[operator]
    found = pages(case, tmp_path)
    for language, page in found.items():
        assert "None" not in page.text
        assert "{" not in page.text
        assert len(page.named("svg")) >= 2
        ids = [a["id"] for _, a in page.tags if a.get("id")]
        assert len(ids) == len(set(ids))
        links = {str(a.get("href")) for a in page.named("a")}
        assert f"report.{'zh' if language == 'en' else 'en'}.html" in links
    titles = [f"{t}:" for t in ("What it brought", "What changed")]
    assert all(HAN.search(t) is None for t in titles)
    assert len(HAN.findall(found["en"].text)) <= 4  # the link to the other language


def test_the_first_screen_says_what_a_dollar_brought_and_what_to_do(tmp_path: Path) -> None:
    found = pages(doses(), tmp_path)
    start = found["en"].text[:1200]
    assert "Keep it “$5 coupon” leaves the most profit: 3.40 a customer" in start
    assert "The chance that it is the best of the values tried is 72.0%." in start
    assert "Not ruled out: “$10 coupon” (27.0%)." in start
    assert "Each dollar spent on “$5 coupon” brought 1.57 dollars of margin" in start
    assert "Keep it: that is clearly more than the 1.2 dollars" in start
    assert "The chance that it is above 1.2 is 97.0%." in start
    assert "“5 美元券”每投入 1 单位成本，带来 1.57 单位毛利" in found["zh"].text
    assert " 元" not in found["zh"].text
    stopped = pages(redeemed(), tmp_path)["en"].text
    assert "Stop it" in stopped[:200]
    assert "it only moved orders forward; by week 12 nothing is left." in stopped
    closer = pages(alike(), tmp_path)["en"].text
    assert "Look closer first: a hidden cause no stronger than “Months as a customer”" in closer


def test_one_market_that_chance_can_explain_is_no_reason_to_go_on(tmp_path: Path) -> None:
    case = markets()
    (found,) = case.verdict.reasons
    few = dataclasses.replace(
        found, code="incentive_few_placebos", numbers={**found.numbers, "p_value": 1 / 9}
    )
    found = pages(
        dataclasses.replace(case, verdict=Verdict("keep_running", None, (few,))), tmp_path
    )
    said = {language: page.text[:1200] for language, page in found.items()}
    assert "Look closer: a change as large is seen too often where nothing began." in said["en"]
    assert "with fewer than 20 such markets they cannot be" in found["en"].text
    assert "changes as large are not rare enough (p = 0.11)" in found["en"].text
    assert "进一步分析：没有开始的地方也常见同样大的变化。" in said["zh"]
    assert "这样的市场少于 20 个时，无法排除偶然" in found["zh"].text


def test_every_strategy_says_what_it_rests_on(tmp_path: Path) -> None:
    words = {
        redeemed: "The offer was dealt by chance; who redeemed it, customers chose themselves.",
        doses: "Customers were dealt different values of the incentive by chance",
        alike: "alike in everything recorded before (Months as a customer, Channel, Past orders)",
        markets: "Each is compared with markets that had not begun by then",
        limit: "Whoever lay just above the limit of 49 got it",
    }
    for make, sentence in words.items():
        page = pages(make(), tmp_path, "en")["en"]
        assert sentence in section(page, "What the comparison rests on", "How it was calculated")


def test_the_ledger_is_told_in_a_sentence_and_all_of_it_is_in_a_table(tmp_path: Path) -> None:
    found = source(doses(), tmp_path)
    blocks = ledger_blocks(found, en(found), draw)  # type: ignore[arg-type]
    assert [b.title for b in blocks] == ["$5 coupon", "$10 coupon", "$20 coupon"]
    assert said(blocks[0]).startswith(
        "Per customer, “$5 coupon” brought 2.95 of revenue. After the goods and what was sent "
        "back, 1.10 of margin is left; the incentive cost 0.70. That is 0.40 of profit"
    )
    assert "At least 70% of those who redeemed would have bought anyway" in said(blocks[0])
    names = [line[0].text for line in blocks[0].tables[0].lines]
    assert {"Revenue", "Sent back", "Profit", "Profit, adjusted"} <= set(names)
    assert all(b.figures for b in blocks)


def test_a_ledger_without_numbers_says_why(tmp_path: Path) -> None:
    case = doses()
    note = "missing_values: 3 of 20 values of 'r' are missing"
    none = row("incremental_profit", None, arm="five", baseline="none", metric="revenue_30d",
               note=note)  # fmt: skip
    found = source(dataclasses.replace(case, results=Results.of([none])), tmp_path)
    (block,) = ledger_blocks(found, en(found), draw)  # type: ignore[arg-type]
    assert "There is no ledger" in said(block)
    assert "3 of 20 values of 'r' are missing." in said(block)
    assert block.figures == ()


def test_checks_that_fail_come_first_and_are_marked(tmp_path: Path) -> None:
    blocks = checks(limit(), tmp_path)
    assert [b.good for b in blocks] == [False, True, True]
    assert said(blocks[0]).startswith("Their number jumps at the limit (p = 0.002)")
    assert said(named(blocks, "Limits that do not exist")) == ("At 4 made-up limits nothing jumps.")


def test_customers_alike_are_held_against_every_doubt(tmp_path: Path) -> None:
    blocks = checks(alike(), tmp_path)
    balance = said(named(blocks, "Are the customers alike?"))
    assert "all 5 known characteristics differ by less than 0.1" in balance
    assert "6.2% of customers have nobody alike" in said(
        named(blocks, "Is there somebody to compare with?")
    )
    hidden = said(named(blocks, "How strong would a hidden cause have to be?"))
    assert "explain 5.6% of what is left" in hidden
    strongest = "One as strong as “Months as a customer”, the strongest of those known,"
    assert f"{strongest} would leave +3.8 points" in hidden
    placebo = said(named(blocks, "What should show nothing"))
    assert "which it cannot have moved, shows no change" in placebo
    assert "With the incentive dealt anew by lot, effects lie between" in placebo


def test_a_placebo_that_moved_is_a_cross(tmp_path: Path) -> None:
    case = alike()
    rows = [
        dataclasses.replace(r, p_value=0.001) if r.estimand == "placebo_outcome" else r
        for r in case.results.rows
    ]
    blocks = checks(dataclasses.replace(case, results=Results.of(rows)), tmp_path)
    assert blocks[0].good is False
    assert "changes as well" in said(blocks[0])


def test_a_trend_before_the_start_is_told_with_what_the_test_would_have_seen(
    tmp_path: Path,
) -> None:
    blocks = checks(markets(), tmp_path)
    trend = said(named(blocks, "Did the markets move alike before?"))
    assert "no drift is seen (p = 0.39)" in trend
    assert "would see a drift of 0.2 points a period" in trend
    assert "would account for 1.0 points of the effect" in trend
    few = said(named(blocks, "How few markets are there?"))
    assert "Against a synthetic market, made of others that moved alike before: +1.9" in few


def test_an_invalid_comparison_is_not_to_be_read(tmp_path: Path) -> None:
    case = dataclasses.replace(doses(), verdict=Verdict("invalid", None, ()))
    page = pages(case, tmp_path, "en")["en"]
    assert "This test is invalid." in page.text
    assert "Invalid" in page.text[:300]


def test_an_ab_test_with_a_ledger_shows_it_early_and_rests_on_it(tmp_path: Path) -> None:
    page = pages(with_ledger(email()), tmp_path, "en")["en"]
    assert "Ship “Men's e-mail”. Each dollar spent on “Men's e-mail” brought 4.62" in page.text
    heads = ("Why this verdict", "What it brought and what it cost", "Can this be believed?")
    places = [page.text.index(w) for w in heads]
    assert places == sorted(places)
    assert "All metrics" in page.text
    assert "The ledger What the arm's customers spent" in page.text


def test_an_ab_test_without_one_is_as_it_was(tmp_path: Path) -> None:
    page = pages(email(), tmp_path, "en")["en"]
    assert "What it brought" not in page.text
    assert "Visit rate (two weeks)" in page.text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_index_shows_the_return_beside_what_is_wanted(language: str, tmp_path: Path) -> None:
    for make in (doses, markets, redeemed):
        write(make(), tmp_path)
    write_index(tmp_path)
    name = "index.html" if language == "en" else "index.zh.html"
    text = (tmp_path / name).read_text(encoding="utf-8")
    words = {
        "en": (
            "Keep it",
            "Stop it",
            "1.57 (1.24 to 1.91)",
            "Margin per dollar spent on “$5 coupon”",
        ),
        "zh": ("保留", "停止", "1.57（1.24 至 1.91）", "“5 美元券”每投入 1 单位成本带来的毛利"),
    }[language]
    for word in words:
        assert word in text
    assert "+2.1" in text
    assert log(tmp_path)


def test_runs_compare_and_every_number_has_its_own_name(tmp_path: Path) -> None:
    case = alike()
    a = write(case, tmp_path, "20260116-081500-a1b2")
    changed = [
        dataclasses.replace(r, estimate=0.06) if r.estimand == "average_effect" else r
        for r in case.results.rows
    ]
    b = write(
        dataclasses.replace(case, results=Results.of(changed)), tmp_path, "20260117-081500-a1b2"
    )
    for folder in (a, b):
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**run, "run_id": folder.name}))
    html = comparison_html(compare(a, b))
    assert "+6" in html
    assert "Effect" in html
    for make in CASES:
        rows = [r for r in make().results.rows if r.at is None or r.estimand == "net_effect"]
        control = next((r.baseline for r in rows if r.baseline), None)
        keys = [metric_key(r, control) for r in rows if r.estimate is not None]
        assert len(keys) == len(set(keys)), [k for k in keys if keys.count(k) > 1]
        assert metrics(rows)


def test_a_figure_is_drawn_once_a_page(tmp_path: Path) -> None:
    for make in CASES:
        names: list[str] = []
        report_html(source(make(), tmp_path), "en", lambda name, svg, seen=names: seen.append(name))
        assert len(names) == len(set(names))


def test_effects_on_redeemers_are_not_named_like_effects_on_everyone(tmp_path: Path) -> None:
    found = pages(redeemed(), tmp_path)
    told = section(found["en"], "What changed", "What the comparison rests on")
    assert "On those who redeem “Coupon” because of the offer:" in told
    assert "over everyone offered: +2.1" in told
    assert "按所有获得优惠的客户计：+2.1" in found["zh"].text


def test_the_treated_and_those_alike_are_told_apart(tmp_path: Path) -> None:
    page = pages(alike(), tmp_path, "en")["en"].text
    assert "for all who are alike in both arms (900 and 1,600 customers): +5.0 points" in page
    assert "Per customer who got it, “Coupon” brought" in page
    assert "This ledger is for those who got “Coupon”" in page


def test_without_an_effect_a_hidden_cause_has_nothing_to_explain(tmp_path: Path) -> None:
    case = changed(alike(), "average_effect", ci_low=-0.01, ci_high=0.11, p_value=0.1)
    blocks = checks(case, tmp_path / "a")
    block = named(blocks, "How strong would a hidden cause have to be?")
    assert said(block) == "No effect is shown, so there is nothing for a hidden cause to explain."
    assert block.good is None
    assert "looks like chance" not in said(named(blocks, "What should show nothing"))
    luck = changed(case, "placebo_treatment", ci_low=-0.06, ci_high=0.06)
    block = named(checks(luck, tmp_path / "b"), "What should show nothing")
    assert "looks like chance" in said(block)
    assert block.good is None


def test_a_hidden_cause_is_held_against_the_regression_and_the_strongest_known(
    tmp_path: Path,
) -> None:
    case = alike()
    on = {"metric": "orders_30d", "arm": "coupon", "baseline": "none"}
    plain = row("regression_effect", 0.03, 0.01, **on)
    rows = [r for r in case.results.rows if r.estimand != "benchmark_bias"]
    marks = [("tenure", 0.001), ("past_orders", 0.08), ("channel=Web", 0.028)]
    rows += [row("benchmark_bias", value, 0.01, term=name, at="1", **on) for name, value in marks]
    blocks = checks(dataclasses.replace(case, results=Results.of([*rows, plain])), tmp_path)
    hidden = said(named(blocks, "How strong would a hidden cause have to be?"))
    assert "the effect of a plain regression on the same characteristics: +3.0 points" in hidden
    assert "One as strong as “Past orders”, the strongest of those known" in hidden
    bare = [dataclasses.replace(r, ci_low=None, ci_high=None) if r.estimand == "benchmark_bias"
            else r for r in (*rows, plain)]  # fmt: skip
    blocks = checks(dataclasses.replace(case, results=Results.of(bare)), tmp_path / "bare")
    hidden = said(named(blocks, "How strong would a hidden cause have to be?"))
    assert "the strongest of those known, would leave +8 points." in hidden.replace("8.0", "8")


def unsure(low: float, high: float, likely: float = 0.4) -> Case:
    case = changed(redeemed(), "margin_per_dollar", ci_low=low, ci_high=high)
    case = changed(case, "probability_above_min_roi", estimate=likely)
    reason = money_reason("incentive_unclear", case.results.rows, "coupon", 1.2)
    return dataclasses.replace(case, verdict=Verdict("keep_running", None, (reason,)))


def test_a_return_that_may_be_a_loss_is_told_as_one(tmp_path: Path) -> None:
    page = pages(unsure(-18.0, 14.0), tmp_path / "a")
    start = page["en"].text[:700]
    assert "It cannot be told whether “Coupon” pays: each dollar brought between" in start
    assert "−18.00 and 14.00 dollars of margin (95% interval)." in start
    assert "is not settled." in start
    assert "Look at whom it serves" not in start
    assert "无法判断" in page["zh"].text
    unlikely = pages(unsure(-18.0, 14.0, 0.0004), tmp_path / "b")
    assert "is not settled; probably not." in unlikely["en"].text
    assert "The chance that it is above 1.2 is less than 0.1%." in unlikely["en"].text
    assert "回报高于 1.2 的概率：不到 0.1%。" in unlikely["zh"].text


def test_an_ab_test_gives_one_command_and_what_it_assumes(tmp_path: Path) -> None:
    page = pages(with_ledger(email()), tmp_path, "en")["en"].text
    assert "Keep it:" not in page
    assert "That is clearly more than the 2 dollars" in page
    assert "margin 30%, giving it 0.05; taken as exact" in page
    assert "at least 2 dollars of margin per dollar" in page


def test_the_log_calls_an_incentive_what_the_index_calls_it(tmp_path: Path) -> None:
    write(alike(), tmp_path)
    write_index(tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert html.count("Look closer</span>") == 2
    assert "Keep running</span>" not in html
