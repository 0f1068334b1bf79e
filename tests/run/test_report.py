"""Reports: what they say, that they need nothing else, and that user text stays text."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run.pages import Make, Page, PageOf, pages
from run.sample import CASES, coupon, email, harm, mismatch, write
from run.sample_rows import Case, Cell, quality, reason
from run.sample_rows import compare as compare_arms
from run.viewing import NBSP

from retention_lab.errors import RunError
from retention_lab.experiment.load import parse, validate
from retention_lab.results import Reason, Results, Row, Verdict
from retention_lab.run.compare import compare
from retention_lab.run.report import comparison_html, write_reports
from retention_lab.run.view.decisive import WEIGHT, because
from retention_lab.run.view.source import Source, Tongue
from retention_lab.run.view.tables import arm_lines
from retention_lab.texts import LANGUAGES


def test_one_page_a_language_and_every_figure_is_kept(tmp_path: Path) -> None:
    folder = write(email(), tmp_path)
    written = write_reports(folder)
    assert [p.name for p in written] == ["report.en.html", "report.zh.html"]
    figures = {p.name for p in (folder / "figures").iterdir()}
    assert {"effects.en.svg", "effects.zh.svg", "split.en.svg", "levels.zh.svg"} <= figures
    assert {"segment-1.en.svg", "segment-2.en.svg", "metric-unsubscribed.en.svg"} <= figures


def test_languages_of_the_file_are_honoured(tmp_path: Path) -> None:
    case = email()
    only = case.spec.replace("report:\n", "report:\n  languages: [zh]\n")
    folder = write(Case(case.name, only, case.results, case.verdict), tmp_path)
    assert [p.name for p in write_reports(folder)] == ["report.zh.html"]
    assert "report.en.html" not in (folder / "report.zh.html").read_text(encoding="utf-8")


def test_ship_says_what_how_sure_and_on_what(page_of: PageOf) -> None:
    en, zh = page_of(email).values()
    assert "Ship Ship “Men's e-mail”." in en.text
    assert "goes up by 72.1% in relative terms, from 10.62% with “No e-mail” to 18.28%" in en.text
    assert "true relative change is most likely between +64.1% and +80.7% (95% interval)" in en.text
    assert "less than 1 in 1,000 tests (p < 0.001)" in en.text
    assert "64,000 in 3 arms" in en.text
    assert "changed for this run" not in en.text
    assert "The lab cannot show that the file was written before" in en.text
    assert "before the numbers were looked at" not in en.text
    assert "Run of 16 January 2026, 08:15 UTC" in en.text
    assert "As planned (p = 0.90)" in en.text
    assert "dataset hillstrom" in en.text
    assert "上线 上线“男装邮件”。" in zh.text
    assert "真实的相对变化很可能介于 +64.1% 与 +80.7% 之间（95% 置信区间）" in zh.text


def test_keep_running_says_why_and_does_not_claim_an_effect(page_of: PageOf) -> None:
    en = page_of(coupon)["en"]
    assert "Keep the test running." in en.text
    assert "It is too early to tell whether Repurchase within 30 days changes." in en.text
    assert "1,809 customers whose window had not ended" in en.text
    counts = "9,050 in 3 arms; 7,241 of them count for “Repurchase within 30 days”"
    assert counts in en.text
    assert "measured in the 90 days before exposure" in en.text
    assert "在进入实验之前 90 天内测量" in page_of(coupon)["zh"].text
    assert "data up to the end of 15 January 2026" in en.text
    assert "37 customers without a value" in en.text
    assert "The arms did not differ before the test beyond chance." in en.text


def test_an_unclear_effect_may_be_luck(tmp_path: Path) -> None:
    case = coupon()
    reasons = tuple(r for r in case.verdict.reasons if r.code == "primary_unclear")
    verdict = type(case.verdict)("keep_running", None, reasons)
    en = pages(Case(case.name, case.spec, case.results, verdict), tmp_path)["en"]
    assert "that may be luck" in en.text
    assert "The interval includes no change at all." in en.text


def test_invalid_shows_the_split_first_and_warns_before_every_number(page_of: PageOf) -> None:
    en = page_of(mismatch)["en"]
    assert "Do not use this result." in en.text
    assert "Not at all." in en.text
    assert "Not as planned (p < 0.001)" in en.text
    assert en.text.count("do not act on them") == 2
    assert en.text.index("Customers by arm") < en.text.index("Why this verdict")


def test_stop_names_the_harm(page_of: PageOf) -> None:
    en = page_of(harm)["en"]
    assert "“One mail a day” does harm: Unsubscribe rate gets worse." in en.text
    assert "goes up by 1.30 points" in en.text
    assert "between +1.00 and +1.60 points" in en.text


def test_a_primary_metric_without_a_result_is_invalid_and_says_why(tmp_path: Path) -> None:
    case = harm()
    note = "zero_variance: every unit has the same value"
    numbers = {"metric": "big_spender", "arm": "daily", "note": note}
    verdict = Verdict("invalid", None, (Reason("primary_no_result", numbers),))
    spec = case.spec.replace("role: primary", "role: secondary").replace(
        "big_spender, kind: proportion", "big_spender, kind: proportion, role: primary"
    )
    en = pages(Case(case.name, spec, case.results, verdict), tmp_path)["en"]
    assert "Spent over $500 has no result that can be judged." in en.text
    assert "no result. Every unit has the same value" in en.text


def test_a_run_from_saved_reductions_says_so(tmp_path: Path) -> None:
    case = harm()
    spec = case.spec.replace('units: "mails.parquet"', 'moments: "east.parquet"')
    en = pages(Case(case.name, spec, case.results, case.verdict), tmp_path)["en"]
    assert "Saved summaries of the data" in en.text


def test_the_arm_not_chosen_is_explained(tmp_path: Path) -> None:
    case = email()
    numbers = {**case.verdict.reasons[2].numbers, "arm": "Womens E-Mail"}
    harmed = type(case.verdict.reasons[2])("guardrail_harmed", numbers)
    verdict = type(case.verdict)("ship", "Mens E-Mail", (*case.verdict.reasons, harmed))
    en = pages(Case(case.name, case.spec, case.results, verdict), tmp_path)["en"]
    assert "“Women's e-mail” should not be chosen: with it, Unsubscribe rate gets worse." in en.text


def test_every_null_has_its_reason(page_of: PageOf) -> None:
    en, zh = page_of(harm).values()
    assert "Every unit has the same value" in en.text
    assert "所有客户的取值相同，无从比较。" in zh.text


def test_suppressed_groups_are_said(page_of: PageOf) -> None:
    en = page_of(email)["en"]
    assert "Hidden, because an arm has fewer than 20 customers there, or because" in en.text
    assert "could be worked out from it: 7) $1,000 +." in en.text
    assert "Groups in which an arm has fewer than 20 customers are hidden" in en.text
    assert "hidden, too small or next to a small one" in en.text
    assert "或可由它推算出这样的分群：7) $1,000 +。" in page_of(email)["zh"].text


def test_a_blocked_segment_has_words_instead_of_a_figure(tmp_path: Path) -> None:
    case = email()
    note = "post_treatment: the arms differ in 'zip_code' beyond chance"
    rows = [
        dataclasses.replace(
            r, estimate=None, std_error=None, ci_low=None, ci_high=None, p_value=None, note=note
        )
        if r.segment == "zip_code"
        else r
        for r in case.results.rows
    ]
    found = pages(Case(case.name, case.spec, Results.of(rows), case.verdict), tmp_path)
    assert "The arms differ in 'zip_code' beyond chance" in found["en"].text
    assert "分群可能已受实验影响" in found["zh"].text


def test_only_methods_that_were_used(page_of: PageOf) -> None:
    en = page_of(email)["en"]
    assert all(name in en.text for name in ("Welch", "Fieller", "Holm", "delta method", "Fabijan"))
    assert "Lin (2013)" not in en.text
    assert "A window counts from" not in en.text
    assert "A window counts from" in page_of(coupon)["en"].text


def test_provenance(tmp_path: Path) -> None:
    more = {"overrides": {"inference.alpha": 0.1}, "mlflow": {"run_id": "f00ba4"}}
    en = pages(email(), tmp_path, **more)["en"]
    assert "inference.alpha = 0.1" in en.text
    assert "90% intervals" in en.text
    assert "were changed for this run: inference.alpha = 0.1. It is not the result" in en.text
    assert en.text.index("were changed for this run") < en.text.index("How sure are we?")
    assert "that were changed for this run: inference.alpha = 0.1. The file as it was" in en.text
    assert "commit ab8d12b000" in en.text
    assert "run f00ba4 in experiment hillstrom-email" in en.text
    assert "573789db" in en.text


@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_pages_need_nothing_else(make: Make, page_of: PageOf) -> None:
    for page in page_of(make).values():
        assert not page.named("script")
        assert not page.named("iframe")
        for _, attrs in page.tags:
            links = [attrs.get(k) or "" for k in ("src", "href", "xlink:href")]
            assert not any(re.match(r"(https?:)?//", link) for link in links)
        policy = [m for m in page.named("meta") if m.get("http-equiv")]
        assert "default-src 'none'" in str(policy[0]["content"])


@pytest.mark.parametrize("make", CASES, ids=lambda c: c.__name__)
def test_pages_are_sound(make: Make, page_of: PageOf) -> None:
    for language, page in page_of(make).items():
        assert page.named("html")[0]["lang"] == {"en": "en", "zh": "zh-CN"}[language]
        ids = [a["id"] for _, a in page.tags if a.get("id")]
        assert len(ids) == len(set(ids))
        wanted = {a["aria-labelledby"] for _, a in page.tags if a.get("aria-labelledby")}
        assert wanted <= set(ids)
        assert len(page.named("h1")) == 1
        assert len(page.named("caption")) == len(page.named("table"))
        assert len(page.named("svg")) >= 4
        assert not re.search(r"\bNone\b|\bnan\b|\{\w+\}", page.text)


def test_markup_of_a_user_is_text_everywhere(tmp_path: Path) -> None:
    folder = write(mismatch(), tmp_path)
    written = write_reports(folder)
    for path in [*written, *(folder / "figures").iterdir()]:
        text = path.read_text(encoding="utf-8")
        assert "<script" not in text
        assert "<img" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in written[0].read_text(encoding="utf-8")


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = write(coupon(), tmp_path)
    first = [p.read_bytes() for p in write_reports(folder)]
    assert [p.read_bytes() for p in write_reports(folder)] == first


def test_a_folder_without_a_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a run folder"):
        write_reports(tmp_path)


def test_the_kernel_stays_light() -> None:
    code = (
        "import sys, retention_lab.run.report, retention_lab.run.index\n"
        "print([m for m in ('mlflow', 'papermill', 'nbformat', 'seaborn', 'scipy')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reports_are_quick(tmp_path: Path) -> None:
    """Two languages of a run with ten figures, in processor time, imports excluded."""
    folder = write(email(), tmp_path)
    write_reports(folder)
    start = time.process_time()
    write_reports(folder)
    assert time.process_time() - start < 3.0  # 1.2 s on a quiet machine of 2026


def _with_id(folder: Path) -> Path:
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**run, "run_id": folder.name}))
    return folder


def test_a_comparison_says_what_differs(tmp_path: Path) -> None:
    a = _with_id(write(mismatch(), tmp_path / "a"))
    case = mismatch()
    rows = [r for r in case.results.rows if r.segment is None]
    spec = case.spec.replace("role: primary}", "role: primary, direction: decrease}")
    changed = Case(case.name, spec, type(case.results).of(rows), case.verdict)
    b = _with_id(write(changed, tmp_path / "b"))
    for language, said in (("en", "experiment file"), ("zh", "实验文件")):
        html = comparison_html(compare(a, b), language)
        assert "<script" not in html
        assert "<img" not in html
        page = Page(html)
        assert said in page.text
        assert "metrics.repurchased.direction" in page.text
        assert "30 days <script>alert(2)</script>" in page.text
    same = Page(comparison_html(compare(a, a)))
    assert "The two runs read the same data in the same way." in same.text
    assert "No estimate differs" in same.text


def test_an_invalid_test_tells_each_reason_once_and_no_effect(tmp_path: Path) -> None:
    case = mismatch()
    effect = reason("primary_better", case.results, "repurchased", "days_30", "proportion")
    note = {"metric": "repurchased", "arm": "days_30", "note": "empty_arm: nobody"}
    twice = (Reason("primary_no_result", note),) * 2
    verdict = Verdict("invalid", None, (*case.verdict.reasons, *twice, effect))
    en = pages(Case(case.name, case.spec, case.results, verdict), tmp_path)["en"]
    assert "is better with" not in en.text
    assert en.text.count("no result. Nobody.") == 1


def test_a_covariate_that_differs_is_named_in_the_readers_words(tmp_path: Path) -> None:
    case = harm()
    moved = {"covariate": "big_spender missing", "arm": "daily", "p": 1e-7}
    verdict = Verdict("invalid", None, (Reason("covariate_differs", moved),))
    found = pages(Case(case.name, case.spec, case.results, verdict), tmp_path)
    assert "“Spent over $500, missing” is not the same in the arms" in found["en"].text
    assert "“Spent over $500, missing” differs with “One mail a day” beyond" in found["en"].text
    said = found["zh"].text.replace(NBSP, " ")
    assert "各组的“消费超过 500 美元" in said
    assert "（缺失）”不一致" in said
    html = next(tmp_path.rglob("report.en.html")).read_text(encoding="utf-8")
    first = html[: html.index('<section aria-labelledby="why">')]
    assert "Customers by arm" in first
    assert "relative change" not in first


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("decision", [d for d in WEIGHT if d != "ship"])
def test_every_reason_that_can_decide_has_its_sentence(decision: str, language: str) -> None:
    spec = validate(parse(harm().spec)[0])
    numbers = {"metric": "repurchased", "arm": "days_30", "covariate": "history missing"}
    for code in WEIGHT[decision]:
        said = because(Verdict(decision, None, (Reason(code, numbers),)), spec, language)
        assert said
        assert "{" not in said


def test_all_arms_of_a_metric_have_as_many_digits(tmp_path: Path) -> None:
    arms = {"a": Cell(10.0, 5.0, 400), "b": Cell(10.5, 50.0, 90_000), "c": Cell(11.0, 5.0, 90)}
    case = harm()
    spec = case.spec.replace("control: weekly", "control: a")
    rows = [*quality({k: c.n for k, c in arms.items()}, dict.fromkeys(arms, 1.0), 0.1, 0.9)]
    results = Results.of([*rows, *compare_arms("orders_30d", arms)])
    verdict = Verdict("keep_running", None, ())
    source = Source.load(write(Case(case.name, spec, results, verdict), tmp_path))
    lines = arm_lines(source, Tongue(source.spec, "en"), "orders_30d")
    for columns in (("level", "difference"), ("lift",)):
        values = [getattr(line, column).text.strip("%") for line in lines for column in columns]
        assert len({len(v.partition(".")[2]) for v in values if v}) == 1, values


def test_a_note_of_all_arms_stands_once(tmp_path: Path) -> None:
    case = harm()
    note = "missing_values: 12 of 900 values of 'x' are missing: say missing: drop"
    rows = [r for r in case.results.rows if r.metric != "big_spender"]
    at = {"analysis": "ab", "metric": "big_spender", "note": note}
    rows += [Row(**at, estimand="mean", arm=arm) for arm in ("weekly", "daily")]
    rows += [Row(**at, estimand="mean_difference", arm="daily", baseline="weekly")]
    found = pages(Case(case.name, case.spec, Results.of(rows), case.verdict), tmp_path)
    en = "12 of 900 values of 'x' are missing: say missing: drop."
    assert found["en"].text.count(en) == 1
    assert found["zh"].text.count("有 12 个取值缺失。请在实验文件中用 missing: drop") == 1
    figure = next(tmp_path.rglob("metric-big_spender.en.svg")).read_text(encoding="utf-8")
    assert ">values are missing<" in figure


def test_two_arms_fill_the_first_screen(page_of: PageOf) -> None:
    en = page_of(harm)["en"]
    assert en.text.index("Orders in 30 days: level by arm") < en.text.index("Why this verdict")
    three = page_of(email)["en"]
    assert three.text.index("level by arm") > three.text.index("Why this verdict")
