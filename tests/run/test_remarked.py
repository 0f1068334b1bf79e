"""What the check of the data remarked stands on every report, and tells of no small group."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from run.cohort_sample import cohorts
from run.incentive_sample import alike
from run.sample import email, write

from retention_lab.experiment.findings import Check
from retention_lab.experiment.load import parse, validate
from retention_lab.experiment.remarks import REMARKS, remarks
from retention_lab.run.report import write_reports
from retention_lab.run.view.remarked import FOLLOWED
from retention_lab.texts import LANGUAGES, texts
from retention_lab.texts.remarks import remark_text

MISSED = {"code": "missing", "how": "drop", "n": 90, "all": 6000, "name": "spend"}
ALIKE = {"code": "alike", "name": "channel", "levels": ["Web", "web", None]}


def pages(case: Any, folder: Path, *said: dict[str, str]) -> tuple[str, str]:
    """The English and the Chinese page of a run whose check said so."""
    made = [p.read_text(encoding="utf-8") for p in write_reports(write(case, folder, remarks=said))]
    en, zh = (re.sub(r"<[^>]+>", " ", html).replace("\u00a0", " ") for html in made)
    return en, zh


def test_the_page_of_an_incentive_says_how_many_values_are_missing(tmp_path: Path) -> None:
    en, zh = pages(alike(), tmp_path, MISSED)
    assert "What the check of the data remarked" in en
    assert "“spend”: 90 of 6,000 values are missing and left out." in en
    assert "“spend”缺失 90 个值（共 6,000 个），未计入。" in zh
    nothing, _ = pages(alike(), tmp_path / "other")
    assert "What the check of the data remarked" not in nothing


@pytest.mark.parametrize("make", [email, cohorts])
def test_every_report_has_the_remarks(tmp_path: Path, make: Any) -> None:
    en, zh = pages(make(), tmp_path, ALIKE)
    assert "levels that differ in spaces or capitals only count as different ones" in en
    assert "“Web”, “web”, a rare one" in en
    assert "只差空格或大小写" in zh
    assert "某个少见的值" in zh


def test_a_remark_without_a_sentence_breaks_no_report(tmp_path: Path) -> None:
    en, _ = pages(alike(), tmp_path, {"code": "brand_new"})
    assert "brand_new" in en


def test_what_a_page_tells_elsewhere_is_not_told_twice(tmp_path: Path) -> None:
    en, _ = pages(email(), tmp_path, MISSED)
    assert "What the check of the data remarked" not in en
    lost = {"code": "rows_without_time"}
    en, _ = pages(cohorts(), tmp_path, lost)
    assert "What the check of the data remarked" not in en


def test_a_run_without_remarks_in_its_record_has_a_page(tmp_path: Path) -> None:
    folder = write(alike(), tmp_path)
    assert write_reports(folder)


def test_a_remark_is_user_text(tmp_path: Path) -> None:
    said = MISSED | {"name": "<script>x</script>"}
    (en, zh) = (p.read_text() for p in write_reports(write(alike(), tmp_path, remarks=[said])))
    assert "<script>x" not in en + zh


def test_only_remarks_are_kept_and_no_count_of_a_few() -> None:
    said = {"how": "drop", "n": 3, "all": 6000, "name": "x1"}
    checks = [
        Check("missing", True, "3 of 6,000 values of 'x1' are missing and left out", said),
        Check("unique", True, "every 'id' stands in one row and one arm"),
        Check("missing", False, "3 of 6,000 values of 'y' are missing: say missing: drop", said),
    ]
    assert remarks(checks, 20) == [{"code": "missing", **said, "n": "<20"}]


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ({"n": 287}, 287),
        ({"n": 7}, "<20"),
        ({"n": 5995, "all": 6000}, "~"),
        ({"n": 6000, "all": 6000}, 6000),
        ({"n": 0, "all": 15}, 0),
        ({"n": 12, "all": 6000}, "<20"),
    ],
)
def test_counts_below_the_least_are_not_told(numbers: dict[str, int], told: int | str) -> None:
    assert remarks([Check("burn_in", True, "", numbers)], 20) == [
        {"code": "burn_in", **numbers, "n": told}
    ]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("n", "words"), [("<20", ("fewer than 20", "不足 20")), ("~", ("nearly", "几乎"))]
)
def test_hidden_counts_have_words(language: str, n: str, words: tuple[str, str]) -> None:
    spec = validate(parse(email().spec)[0])
    assert words[LANGUAGES.index(language)] in remark_text(MISSED | {"n": n}, spec, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_remark_has_its_sentence(language: str) -> None:
    """The numbers of each are those that the check gives: tests of the checks hold them."""
    known = {key.split(".")[1] for key in texts(language) if key.startswith("remark.")}
    told = REMARKS - set(FOLLOWED)
    variants = {"missing": ("zero", "drop"), "covariate": ("group", "test", "changes")}
    wanted = {f"{c}_{how}" for c, several in variants.items() for how in several}
    wanted |= told - set(variants)
    assert known - {"title", "other", "rare", "fewer", "nearly", "of"} == wanted
