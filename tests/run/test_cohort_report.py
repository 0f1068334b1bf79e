"""The report of a cohort study, and the section on time of an experiment: what they say."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from run.cohort_rows import row
from run.cohort_sample import bare, cohorts, lively, rivals
from run.pages import Page, PageOf, only, pages, section, tongue
from run.sample import email, write

from retention_lab.learning import log
from retention_lab.results import Results
from retention_lab.run.compare import compare
from retention_lab.run.index import write_index
from retention_lab.run.report import comparison_html, write_reports
from retention_lab.run.view.findings import state_of
from retention_lab.run.view.groups import difference_text, share_by
from retention_lab.texts import texts
from retention_lab.texts.lives import bounds, days_text, level_label, term_label

HAN = re.compile(r"[\u4e00-\u9fff]")


# Sections


def test_only_what_has_rows_has_a_section(tmp_path: Path, page_of: PageOf) -> None:
    heads = {
        "hazard": "When is a customer hard to win back?",
        "retention": "How many stay active?",
        "cumulative_incidence": "What came first?",
        "mean_cumulative": "How often do they come back?",
        "log_hazard_ratio": "All covariates together",
        "returning_revenue_share": "What do returning customers bring?",
    }
    whole = page_of(rivals)["en"].text
    assert [h for h in heads.values() if h not in whole] == []
    for i, (estimand, head) in enumerate(heads.items()):
        en = pages(only(rivals(), "customers", estimand), tmp_path / str(i), "en")["en"].text
        assert head in en
        assert [h for h in heads.values() if h != head and h in en] == []


def test_groups_are_told_in_shares_first_then_in_days_then_by_a_test(page_of: PageOf) -> None:
    text = section(page_of(cohorts)["en"], "How do groups differ?", "When is a customer")
    market = text[text.index("Market") :]
    fewer = "Customers in “Germany” spent 2.4 fewer of the first 90 days without coming back"
    assert f"{fewer} than those in “United Kingdom”, on average (95% interval 0.7 to" in market
    shares = "By day 90, 49.4% of customers in “Germany” and 47.1% of those in “United Kingdom”"
    assert f"{shares} came back: +2.3 points" in market
    assert "Market: the groups differ beyond chance (log-rank test, p < 0.001)." in market
    order = [market.index(w) for w in ("By day 90, 49.4%", "2.4 fewer of the first", "log-rank")]
    assert order == sorted(order)


def test_a_difference_that_may_be_chance_is_not_called_earlier() -> None:
    place = {"segment": "market", "level": "Spain", "baseline": "Germany", "at": "90"}
    said = difference_text(
        tongue(cohorts()), row("rmst_difference", -1.0, ci_low=-3.0, ci_high=1.0, **place)
    )
    assert said == (
        "“Spain” and “Germany”: no clear difference in the days spent without coming back; −1.0 "
        "of the first 90 days on average (95% interval −3.0 to +1.0)."
    )
    clear = {"ci_low": -3.0, "ci_high": -0.5}
    held = row("rmst_difference", -1.0, p_adjusted=0.2, **clear, **place)
    assert "no clear difference" in difference_text(tongue(cohorts()), held)
    shown = difference_text(tongue(cohorts()), row("rmst_difference", -1.0, **clear, **place))
    assert "spent 1.0 fewer of the first 90 days without coming back" in shown
    assert "(95% interval 0.5 to 3.0)" in shown
    assert "尚未复购的天数平均比“德国”少 1.0 天" in difference_text(
        tongue(cohorts(), "zh"), row("rmst_difference", -1.0, **clear, **place)
    )


def test_without_means_the_first_screen_tells_shares(tmp_path: Path) -> None:
    case = cohorts()
    rows = [r for r in case.results.rows if not r.estimand.startswith("rmst")]
    en = pages(dataclasses.replace(case, results=Results.of(rows)), tmp_path, "en")["en"].text
    assert "within 90 days. By day 90," in en
    assert "26.9% of customers in “Autumn sale” and 50.8% of those in “All others” came back" in en


def test_what_was_left_out_is_named_with_its_number(tmp_path: Path, page_of: PageOf) -> None:
    assert "1,412 rows without a customer." in page_of(cohorts)["en"].text
    rows = [
        row("customers", 50, n=50),
        row("left_out", 1, n=1, term="missing_level/market"),
        row("left_out", 7, n=7, term="a_new_code/orders", note="a_new_code: they were odd"),
    ]
    found = pages(dataclasses.replace(bare(), results=Results.of(rows)), tmp_path)
    said = "Market: 1 customer without a value; they are a group of their own, or count with"
    assert said in found["en"].text
    assert "7: They were odd." in found["en"].text
    assert "市场：1 位客户没有取值" in found["zh"].text


def test_the_cliff_is_told_in_one_sentence(page_of: PageOf) -> None:
    text = section(page_of(cohorts)["en"], "When is a customer hard to win back?", "How many stay")
    assert re.search(r"4\d\.\d% of those who came back within 180 days had done so by day 30", text)
    assert "The chance is highest on days 1–7" in text


def test_retention_names_its_age_and_its_extremes(page_of: PageOf) -> None:
    en, zh = page_of(cohorts)["en"].text, page_of(cohorts)["zh"].text
    assert "Of customers observed for so long, 17.0% were active on days 30–59 after" in en
    assert "between 11.5% (Oct 2025) and" in en
    assert "在起点之后第 30–59 天活跃" in zh


def test_outcomes_add_up(page_of: PageOf) -> None:
    text = section(page_of(rivals)["en"], "What came first?", "How often")
    found = re.search(
        r"“Orders” first for ([\d.]+)%, “Refunds” first for ([\d.]+)%; for ([\d.]+)%", text
    )
    assert found is not None
    assert sum(map(float, found.groups())) == pytest.approx(100, abs=0.11)
    assert "How customers were won Refunds 1.1 0.29" in text


def test_a_hazard_ratio_says_whether_it_holds_on_all_days(page_of: PageOf) -> None:
    text = section(
        page_of(cohorts)["en"], "All covariates together", "What do returning customers bring?"
    )
    assert "How customers were won: Autumn sale: on average over the days 0.54 times" in text
    assert "Autumn sale: the ratio is not the same on all days (p < 0.001)" in text
    assert "Market: Spain: the ratio is not" not in text
    assert "Clear of no difference: 3 of the 3 comparisons in the model." in text


def test_ratios_that_hold_may_stand_for_all_days(tmp_path: Path) -> None:
    rows = [
        row("log_hazard_ratio", 0.2, term="market=Spain", ci_low=-0.1, ci_high=0.5),
        row("proportionality", 0.3, term="market=Spain", p_value=0.58),
        row("proportionality", 0.3, term="global", p_value=0.58),
    ]
    en = pages(dataclasses.replace(cohorts(), results=Results.of(rows)), tmp_path, "en")["en"].text
    assert "No sign that these ratios change with time (p = 0.58)" in en
    assert "Clear of no difference: 0 of the 1 comparison in the model." not in en


def test_one_test_may_hold_for_all_levels_of_a_covariate(tmp_path: Path) -> None:
    levels = [
        row("log_hazard_ratio", x, term=f"market={name}", ci_low=x - 0.1, ci_high=x + 0.1)
        for name, x in (("Spain", -0.4), ("Germany", 0.3))
    ]
    rows = [
        *levels,
        row("proportionality", 9.9, term="market", p_value=0.007),
        row("proportionality", 9.9, term="global", p_value=0.007),
    ]
    case = dataclasses.replace(cohorts(), results=Results.of(rows))
    text = section(
        pages(case, tmp_path, "en")["en"], "All covariates together", "How it was calculated"
    )
    assert text.count("Market: the ratio is not the same on all days (p = 0.007)") == 1
    assert text.count("0.007") == 3  # in words once, and beside both levels


def test_a_model_that_could_not_be_made_says_why(tmp_path: Path) -> None:
    rows = [row("log_hazard_ratio", note="not_fitted: too few events for 3 covariates")]
    case = dataclasses.replace(cohorts(), results=Results.of(rows))
    assert (
        "All covariates together Too few events for 3 covariates."
        in pages(case, tmp_path, "en")["en"].text
    )


def test_methods_are_those_that_were_used(tmp_path: Path, page_of: PageOf) -> None:
    assert "E. L. Kaplan, P. Meier (1958)" in page_of(cohorts)["en"].text
    en = pages(only(cohorts(), "customers", "retention"), tmp_path, "en")["en"].text
    assert "Kaplan" not in en
    assert "never a zero" in en
    assert "Welch" not in page_of(cohorts)["en"].text


def test_user_text_is_escaped_everywhere(tmp_path: Path) -> None:
    case, bad = cohorts(), "<img src=x onerror=alert(1)>"
    spec = case.spec.replace('en: "Autumn sale"', f"en: '{bad}'").replace(
        'en: "Orders"', f"en: '{bad}'"
    )
    rows = [
        dataclasses.replace(r, level=bad) if r.level == "Spain" else r for r in case.results.rows
    ]
    found = pages(dataclasses.replace(case, spec=spec, results=Results.of(rows)), tmp_path)
    for page in found.values():
        assert page.named("img") == []
        assert page.named("script") == []
        assert bad in page.text


def test_hidden_groups_are_hidden(tmp_path: Path) -> None:
    note = "suppressed: fewer than 20 customers"
    rows = [
        *cohorts().results.where(segment=None).rows,
        row("customers", segment="market", level="Malta", note=note),
        row("retention", segment="market", level="Malta", at="0-29", term="bracket", note=note),
    ]
    found = pages(dataclasses.replace(cohorts(), results=Results.of(rows)), tmp_path, "en")
    assert "Hatched: hidden, fewer than 20" in found["en"].text


def test_figures_are_kept_as_files_with_names_of_their_own(tmp_path: Path) -> None:
    folder = write(cohorts(), tmp_path)
    write_reports(folder)
    names = {p.name for p in (folder / "figures").iterdir()}
    assert {"lives.en.svg", "hazard.zh.svg", "retention-bracket-1.en.svg"} <= names
    assert all(re.fullmatch(r"[a-z_0-9-]+\.(en|zh)\.svg", name) for name in names)


# The experiment's section


def test_an_experiment_tells_days_before_the_hazard_ratio(page_of: PageOf) -> None:
    en = page_of(lively)["en"].text
    text = section(page_of(lively)["en"], "When do they come back?", "By segment")
    days = "Customers in “$10 coupon” spent 2.2 fewer of the first 90 days without coming back"
    ratio = "on any day, customers with “$10 coupon” came back 1.15 times"
    assert text.index(days) < text.index(ratio) < text.index("atio is not the same on all days")
    assert "Keep the test running." in en
    assert "E. L. Kaplan, P. Meier (1958)" in en
    zh = page_of(lively)["zh"].text
    assert "客户何时复购？ 到第 90 天，“10 美元优惠券”有" in zh
    assert "在最初 90 天中，“10 美元优惠券”尚未复购的天数平均比“无优惠券”少" in zh


def test_terms_are_named_by_the_column_of_the_arm(tmp_path: Path) -> None:
    case = lively()
    spec = case.spec.replace("arm: arm", "arm: variant")
    rows = [
        dataclasses.replace(r, arm=None, baseline=None, term=r.term.replace("arm=", "variant="))
        if r.term and r.term.startswith("arm=")
        else r
        for r in case.results.rows
    ]
    found = pages(dataclasses.replace(case, spec=spec, results=Results.of(rows)), tmp_path, "en")
    assert (
        "customers with “$10 coupon” came back 1.15 times as often as those with “No coupon”"
        in found["en"].text
    )


def test_an_experiment_without_survival_rows_has_no_such_section(page_of: PageOf) -> None:
    assert "When do they come back?" not in page_of(email)["en"].text
    assert "Kaplan" not in page_of(email)["en"].text


# Start page, comparison, learning log


def test_the_start_page_shows_findings_and_the_learning_log_leaves_them_out(tmp_path: Path) -> None:
    for make in (cohorts, email):
        write_reports(write(make(), tmp_path))
    en = write_index(tmp_path).read_text(encoding="utf-8").replace("\u00a0", " ")
    zh = (tmp_path / "index.zh.html").read_text(encoding="utf-8").replace("\u00a0", " ")
    assert 'class="badge findings">Findings</span>' in en
    assert "46.5% came back within 90 days (95% interval 45.4% to 47.6%)" in en
    assert 'class="badge findings">发现</span>' in zh
    assert "Keep running" not in en
    assert [lesson.experiment for lesson in log(tmp_path).lessons] == ["hillstrom-email"]


def test_two_runs_of_a_study_can_be_compared(tmp_path: Path) -> None:
    folders = []
    for i, factor in enumerate((1.0, 0.98)):
        rows = [
            dataclasses.replace(r, estimate=r.estimate * factor)
            if r.estimate is not None and (r.segment, r.estimand) in CHANGED
            else r
            for r in cohorts().results.rows
        ]
        case = dataclasses.replace(cohorts(), results=Results.of(rows))
        folder = write(case, tmp_path, run_id=f"2026011{i}-081500-a1b2")
        run = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**run, "run_id": folder.name}))
        folders.append(folder)
    found = compare(*folders)
    en, zh = (Page(comparison_html(found, language)).text for language in ("en", "zh"))
    assert "Verdict Findings Findings" in en
    assert "Difference in mean days without the event" in en
    assert "How customers were won: Autumn sale, day 90" in en
    assert "Market: Spain" in en
    assert "结论 发现 发现" in zh
    assert "获客来源：秋季大促" in zh.replace(": ", "：")


CHANGED = (("promotion", "rmst_difference"), (None, "log_hazard_ratio"), (None, "survival"))


# Words


def test_days_months_and_terms_in_words() -> None:
    spec = tongue(cohorts()).spec
    assert days_text("30", "en") == "day 30"
    assert days_text("1-7", "en") == "days 1–7"
    assert days_text("1-1", "en") == "day 1"
    assert days_text("90-inf", "zh") == "第 90 天及以后"
    assert days_text("2011-03", "en") == "Mar\u00a02011"
    assert (bounds("1-7"), bounds("30"), bounds("90-inf"), bounds(None)) == (
        (1, 7),
        (30, 30),
        (90, 90),
        (0, 0),
    )
    assert level_label(spec, "(other)", "zh") == "其余各组"
    assert level_label(spec, "2011-W05", "en") == "2011-W05"
    assert term_label(spec, "market=Germany", "zh") == "市场：德国"
    assert term_label(spec, "age", "en") == "age"


def test_a_curve_says_nothing_after_its_end() -> None:
    rows = [row("survival", s, at=str(d)) for d, s in ((10, 0.9), (40, 0.7))]
    found = share_by(rows, 30)
    assert found is not None
    assert found.estimate == 0.9
    assert share_by(rows, 41) is None
    assert share_by(rows, 5) is None


def test_the_state_of_a_verdict() -> None:
    assert state_of(cohorts().verdict) == "findings"
    assert state_of(bare().verdict) == "invalid"
    assert state_of(email().verdict) == "ship"


PACKAGE = Path(__file__).parents[2] / "retention_lab" / "survival"
RESULTS = PACKAGE.parents[1] / "docs" / "results.md"


def test_every_estimand_and_note_of_survival_stands_in_the_docs_and_has_words() -> None:
    code = "\n".join(p.read_text(encoding="utf-8") for p in sorted(PACKAGE.rglob("*.py")))
    named = re.findall(r'(?:\.row|_points|_ratios|_test)\(\s*(?:asked, )?"(\w+)"', code)
    estimands = {*named, "rmst_difference", "rmst_ratio", "survival", "retention"}
    page = RESULTS.read_text(encoding="utf-8")
    written = set(re.findall(r"`(\w+)`", page))
    assert sorted(estimands - written) == []
    assert [e for e in sorted(estimands) if f"estimand.{e}" not in texts("en")] == []
    notes = set(re.findall(r'"([a-z_]+): [a-z{]', code)) - {"code", "missing"}
    assert {"immature", "monotone", "not_reached"} <= notes
    assert sorted(notes - written) == []
    assert [n for n in sorted(notes) if f"note.{n}" not in texts("zh")] == []
