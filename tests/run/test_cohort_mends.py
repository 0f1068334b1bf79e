"""The report of a cohort study: sentences that reviewers found untrue, or missing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from run.cohort_rows import row
from run.cohort_sample import cohorts, lively, rivals
from run.pages import PageOf, pages, section, tongue
from run.sample import write

from retention_lab.errors import SpecError
from retention_lab.experiment.load import parse, validate
from retention_lab.results import Results, Row
from retention_lab.run.index import write_index
from retention_lab.texts.lives import deed, waiting

MARKET: dict[str, Any] = {"segment": "market", "baseline": "United Kingdom"}


def said_by(rows: list[Row], root: Path, case: Any = None) -> dict[str, str]:
    case = dataclasses.replace(case or cohorts(), results=Results.of(rows))
    return {language: page.text for language, page in pages(case, root).items()}


def test_a_tau_beyond_all_follow_up_is_told_with_the_largest(tmp_path: Path) -> None:
    note = "tau_beyond_follow_up: nobody was seen for 150 days; the largest tau that can be had is"
    rows = [row("customers", 50, n=50), row("rmst", at="150", n=50, note=f"{note} 119")]
    found = said_by(rows, tmp_path)
    assert (
        "Mean days up to day 150 cannot be given: nobody was followed for so long. The largest "
        "tau that can be had is 119 days." in found["en"]
    )
    assert "无法给出截至第 150 天的平均天数" in found["zh"]
    assert "可用的最大 tau 为 119 天" in found["zh"]


def test_rows_and_customers_of_a_table_are_told_once_and_not_as_left_out(tmp_path: Path) -> None:
    numbers = {"table_rows": 541_909, "table_customers": 4_372, "table_without_unit": 135_080}
    rows = [row("customers", 4_000, n=4_000)]
    rows += [row("left_out", n, n=n, term=f"{code}/orders.csv") for code, n in numbers.items()]
    rows.append(row("left_out", 383, n=383, term="rows_without_unit/refunds"))
    found = said_by(rows, tmp_path)
    text = "541,909 rows, 4,372 customers; 135,080 of the rows are without a customer."
    assert found["en"].count(text) == 1
    assert found["en"].count("135,080") == found["zh"].count("135,080") == 1
    assert "Refunds: 383 rows without a customer." in found["en"]


def test_where_no_group_differs_by_a_day_the_day_is_said(tmp_path: Path) -> None:
    rows = [row("customers", 900, n=900)]
    for i, level in enumerate(("Spain", "Germany", "France")):
        place = {**MARKET, "level": level, "at": "30", "term": "orders"}
        ends = {"ci_low": -0.01, "ci_high": 0.03 + i / 1000}
        rows.append(row("incidence_difference", 0.01, **ends, p_value=0.3, p_adjusted=0.6, **place))
    found = said_by(rows, tmp_path, rivals())
    assert (
        "Up to day 30: none of 3 groups differs clearly from “United Kingdom” in when customers "
        "came back before any “Refunds”." in found["en"]
    )
    assert "截至第 30 天" in found["zh"]


def test_ratios_name_the_events_that_censor_and_the_adjusted_p(tmp_path: Path) -> None:
    ratio = row("log_hazard_ratio", 0.39, term="market=Germany", ci_low=0.12, ci_high=0.66,
                p_value=0.005, p_adjusted=0.027)  # fmt: skip
    rows = [row("customers", 900, n=900), ratio]
    found = said_by(rows, tmp_path / "rivals", rivals())
    assert "Here “Refunds” only end the observation of a customer" in found["en"]
    assert "这里“退款”只是终止对该客户的观察" in found["zh"]
    for text in found.values():
        assert "0.027" in text.replace("\u00a0", " ")
        assert "0.005" not in text
    alone = said_by(rows, tmp_path / "alone")
    assert "only end the observation" not in alone["en"]


def test_each_of_several_ratios_has_its_p_the_largest_too(tmp_path: Path) -> None:
    """Holm leaves the largest as it is; its interval is as wide as those of the others."""
    rows = [row("customers", 900, n=900)]
    method = "Cox, Efron, Lin-Wei errors; simultaneous interval, 2 comparisons"
    for level, p, adjusted in (("Germany", 0.005, 0.01), ("Spain", 0.013, 0.013)):
        ends = {"ci_low": 0.12, "ci_high": 0.66, "method": method}
        place = {"term": f"market={level}", "p_value": p, "p_adjusted": adjusted}
        rows.append(row("log_hazard_ratio", 0.39, **ends, **place))
    text = said_by(rows, tmp_path)["en"].replace("\u00a0", " ")
    assert text.count("adjusted p = 0.01") == 2
    assert "adjusted p = 0.013" in text
    one = [rows[0], dataclasses.replace(rows[2], method="Cox, Efron, Lin-Wei errors")]
    assert "adjusted p" not in said_by(one, tmp_path / "one")["en"]


def test_where_no_group_differs_the_first_screen_says_so_in_one_sentence(tmp_path: Path) -> None:
    rows = [r for r in cohorts().results.rows if r.segment != "promotion"]
    alike = {"ci_low": -2.0, "ci_high": 2.5, "p_value": 0.8, "p_adjusted": 0.9}
    rows = [
        dataclasses.replace(r, estimate=0.2, **alike) if r.estimand == "rmst_difference" else r
        for r in rows
    ]
    case = dataclasses.replace(cohorts(), results=Results.of(rows))
    spec = case.spec.replace("market: {en:", "acquired: {en:")
    spec = spec.replace("[market]", "[acquired]")
    rows = [dataclasses.replace(r, segment="acquired") if r.segment == "market" else r
            for r in rows]  # fmt: skip
    found = pages(dataclasses.replace(case, spec=spec, results=Results.of(rows)), tmp_path)
    start = found["en"].text[: found["en"].text.index("How sure are we?")]
    assert "within 90 days. Market: no clear difference between the groups by day 90." in start
    assert " spent " not in start
    assert "市场：截至第 90 天，各组之间没有明确差异。" in found["zh"].text
    assert "where groups differ, it does not show why" in found["en"].text
    assert "即使各组不同，也不说明原因" in found["zh"].text


def test_titles_and_the_index_say_what_it_came_before(tmp_path: Path, page_of: PageOf) -> None:
    write(rivals(), tmp_path)
    en = write_index(tmp_path).read_text(encoding="utf-8").replace("\u00a0", " ")
    zh = (tmp_path / "index.zh.html").read_text(encoding="utf-8")
    assert "came back before any “Refunds” within 90 days" in en
    assert "先于“退款”复购" in zh
    found = {language: page.text for language, page in page_of(rivals).items()}
    each = found["en"].partition("What was found")[2]
    assert "came back before any “Refunds” within 90 days" in each[:200]
    assert "hare of customers who came back before any “Refunds”" in found["en"]
    assert "先于“退款”复购的客户占比" in found["zh"]


LOSS = ("  event: next orders\n", "  event: next orders\n  event_is: loss\n")


def test_of_a_loss_no_page_says_that_customers_came_back(tmp_path: Path) -> None:
    case = dataclasses.replace(cohorts(), spec=cohorts().spec.replace(*LOSS))
    rows = [r for r in case.results.rows if r.segment != "market"]
    found = said_by(rows, tmp_path, case)
    en, zh = found["en"], found["zh"]
    assert "Of 100 customers, 47 left within 90 days." in en
    assert "without leaving than those in" in en
    assert "When are customers most likely to leave?" in en
    assert "1.75% of those still there left on each of them" in en
    assert "有 47 位在 90 天内流失" in zh
    assert "客户何时最可能流失？" in zh
    question = "When do first-time buyers come back?"
    for word in ("came back", "coming back", "still waiting left", "win back", "stay active",
                 "returning customers bring", "lapsed"):  # fmt: skip
        assert word not in en.replace(question, ""), word
    for word in ("尚未复购", "有多少客户留下来", "回头客", "难以挽回"):
        assert word not in zh, word


def test_an_event_is_a_return_or_a_loss() -> None:
    spec = validate(*parse(cohorts().spec))
    assert (deed(spec, "en"), waiting(spec, "en")) == ("came back", "still waiting")
    lost = validate(*parse(cohorts().spec.replace(*LOSS)))
    assert (deed(lost, "en"), waiting(lost, "en")) == ("left", "still there")
    assert (deed(lost, "zh"), waiting(lost, "zh")) == ("流失", "尚未流失")
    with pytest.raises(SpecError, match="event_is"):
        validate(*parse(cohorts().spec.replace(LOSS[0], LOSS[1].replace("loss", "gone"))))


def test_the_first_screen_leads_with_shares_and_the_page_ends_with_what_to_do(
    page_of: PageOf,
) -> None:
    en, zh = page_of(cohorts)["en"].text, page_of(cohorts)["zh"].text
    start = en[: en.index("How sure are we?")]
    assert "By day 90, 26.9% of customers in “Autumn sale” and 50.8% of those in" in start
    assert "spent 14.8 more of the first 90 days" not in start
    assert "spent 14.8 more of the first 90 days" in en  # below, where there is room for it
    more = en[en.index("Where to look next") : en.index("How it was calculated")]
    assert "“Autumn sale” and “All others” differ beyond chance." in more
    for word in ("retention-lab new", "retention-lab plan", "results.csv", "docs/results.md"):
        assert word in more
        assert word in zh[zh.index("接下来看什么") :]
    assert "MLflow" not in more


def test_the_next_steps_name_the_run_in_mlflow_where_there_is_one(tmp_path: Path) -> None:
    rows = [row("customers", 900, n=900)]
    case = dataclasses.replace(cohorts(), results=Results.of(rows))
    run = {"mlflow": {"run_id": "0123abc"}}
    en = pages(case, tmp_path, "en", **run)["en"].text
    more = en[en.index("Where to look next") : en.index("How it was calculated")]
    assert "run 0123abc in experiment shop-cohorts" in more


def test_a_metric_with_a_window_and_the_curves_are_told_apart(page_of: PageOf) -> None:
    text = section(page_of(lively)["en"], "When do they come back?", "By segment")
    said = "A metric with a window counts spans of 24 hours, of customers whose window is over only"
    assert any(m.within for m in tongue(lively()).spec.metrics)
    assert said in text
    assert "带时间窗口的指标按 24 小时计天" in page_of(lively)["zh"].text
    assert said not in page_of(cohorts)["en"].text


def test_events_of_a_table_and_groups_of_a_split_are_counted(tmp_path: Path) -> None:
    rows = [row("customers", 900, n=900), row("left_out", 25_900, n=25_900,
            term="table_events/orders")]  # fmt: skip
    few = "pooled: 2 groups count as one: Malta; Spain"
    for level, n, note in (("United Kingdom", 700, None), ("(other)", 200, few)):
        rows.append(row("customers", n, n=n, segment="market", level=level, note=note))
    found = said_by(rows, tmp_path)
    assert "Orders: 25,900 events until the last day; rows of one id are one event." in found["en"]
    assert "Market: 3 groups." in found["en"]
    assert found["en"].count("25,900") == 1
    assert "市场：共 3 个分组" in found["zh"]


def test_invoices_and_countries_of_a_table_are_told_with_its_rows(tmp_path: Path) -> None:
    case = cohorts()
    named = case.spec.replace("at: ordered_at}", "at: ordered_at, id: bill}")
    case = dataclasses.replace(case, spec=named)
    numbers = {"table_rows": 541_909, "table_customers": 4_372}
    rows = [row("customers", 4_000, n=4_000)]
    rows += [
        row("left_out", n, n=n, term=f"{code}/dataset:twin/orders") for code, n in numbers.items()
    ]
    for column, n in (("bill", 25_900), ("market", 38)):
        rows.append(row("left_out", n, n=n, term=f"table_values/{column}/dataset:twin/orders"))
    found = said_by(rows, tmp_path, case)
    assert ": 25,900 different values of “bill” in all rows." in found["en"]
    assert ": 38 different values of “Market” in all rows." in found["en"]
    assert "：全部行中，“bill”共有 25,900 个不同的值。" in found["zh"]
    assert [found[language].count("25,900") for language in ("en", "zh")] == [1, 1]
