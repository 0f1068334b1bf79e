"""Words of an A/B report that a newcomer stumbled over: each says what its number is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from run.pages import pages
from run.sample import email
from run.sample_rows import Case
from run.viewing import NBSP, en, source

from retention_lab.learning import log, table
from retention_lab.results import Results, Row
from retention_lab.run.view.arms import _leader
from retention_lab.run.view.source import Tongue
from retention_lab.run.view.tables import arm_lines
from retention_lab.terminal import _group


def of(rows: list[Row]) -> Case:
    return dataclasses.replace(email(), results=Results.of(rows))


def adjusted(r: Row) -> Row:
    """A row of spend, whose difference is adjusted to be a little smaller than the levels' gap."""
    if (r.metric, r.estimand) != ("spend", "mean_difference") or r.estimate is None:
        return r
    return dataclasses.replace(r, estimate=r.estimate - 0.1, method="Welch's t; Lin's adjustment")


def test_levels_that_do_not_subtract_say_why(tmp_path: Path) -> None:
    found = source(of([adjusted(r) for r in email().results.rows]), tmp_path)
    plain = {line.arm: line for line in arm_lines(found, en(found), "spend")}
    notes = plain["Men's e-mail"].notes
    assert len(notes) == 1
    assert notes[0].startswith("Adjusted; the plain difference of the levels is")
    assert "0.77" in notes[0].replace(NBSP, " ")
    (zh,) = next(
        line.notes for line in arm_lines(found, Tongue(found.spec, "zh"), "spend") if line.notes
    )
    assert zh.startswith("已调整；")


def test_levels_that_subtract_say_nothing(tmp_path: Path) -> None:
    found = source(email(), tmp_path)
    assert [line.notes for line in arm_lines(found, en(found), "spend")] == [(), (), ()]


def test_no_empty_card_below_what_was_found_wrong(tmp_path: Path) -> None:
    rows = []
    for r in email().results.rows:
        if r.estimand in ("split_homogeneity", "aa_rejections", "covariate_difference"):
            continue
        rows.append(r)
    wrong = Row(analysis="quality", metric="spend", estimand="covariate_difference", term="age",
                arm="Mens E-Mail", baseline="No E-Mail", estimate=3.0, std_error=0.1,
                p_value=1e-9)  # fmt: skip
    page = pages(of([*rows, wrong]), tmp_path)["en"]
    assert "The arms were not alike before the test" in page.text
    html = next(tmp_path.rglob("report.en.html")).read_text(encoding="utf-8")
    assert '<div class="card checks">' not in html


def test_pulling_is_promised_only_where_something_was_pulled(tmp_path: Path) -> None:
    rows = [r for r in email().results.rows if r.estimand != "shrunken_difference"]
    page = pages(of(rows), tmp_path)["en"]
    assert "treat what you see as a hint" in page.text
    assert "pulled towards the mean of all" not in page.text


def test_the_best_arm_is_told_guardrails_aside(tmp_path: Path) -> None:
    found = source(email(), tmp_path)
    row = Row(analysis="ab", metric="visit", estimand="probability_best", arm="Mens E-Mail",
              estimate=0.9)  # fmt: skip
    assert "guardrails aside: “Men's e-mail” is the best arm" in _leader(en(found), [row])
    assert "不计护栏指标" in _leader(Tongue(found.spec, "zh"), [row])


def test_rows_of_a_comparison_say_their_time_and_term() -> None:
    at = {"analysis": "survival", "metric": "orders", "estimand": "survival"}
    rows = [Row(**at, at="30"), Row(**at, at="60"), Row(**at, term="refund", at="30")]
    rows.append(Row(**at, segment="country", level="FR", at="30"))
    assert [_group(r) for r in rows] == [
        "at 30", "at 60", "refund, at 30", "country = FR, at 30"
    ]  # fmt: skip


def test_a_mean_over_several_arms_says_so(tmp_path: Path) -> None:
    from learning.runs import leave_run

    leave_run(tmp_path, "coupon", {"c10": (0.12, 0.02), "c20": (0.16, 0.02)}, arm="c10")
    assert "1 over 2 arms" in table(log(tmp_path), "en")
    assert "1（共 2 个组）" in table(log(tmp_path), "zh")
