from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from runs import leave_run

from retention_lab.learning import SCRIPT_SOURCE, Log, log, table
from retention_lab.learning.words import WORDS

NASTY = "<script>alert(1)</script> & <b>'bold'"


class Rows(HTMLParser):
    """The rows of the log, with their attributes, and every tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(str(text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    @property
    def searched(self) -> list[str]:
        return [str(a["data-search"]) for _, a in self.tags if "data-search" in a]


@pytest.fixture
def learnt(tmp_path):
    leave_run(tmp_path, "coupon", {"c10": (0.12, 0.03)}, "ship", "c10")
    leave_run(tmp_path, "dear", {"c20": (-0.05, 0.03)}, "stop", title="a dear coupon")
    return log(tmp_path)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_lesson_has_a_row(learnt, language):
    page = Rows(table(learnt, language))
    assert len(page.searched) == 2
    assert "+12.0%" in page.words
    links = [a["href"] for tag, a in page.tags if tag == "a"]
    assert f"coupon/20260101-000000-aaaa/report.{language}.html" in links


def test_the_words_of_the_language(learnt):
    assert "$10 coupon" in table(learnt, "en")
    assert "10 美元券" in table(learnt, "zh")
    assert "Price incentive" in table(learnt, "en")
    assert "价格优惠" in table(learnt, "zh")


def test_one_finds_by_either_language_and_by_name(learnt):
    for language in ("en", "zh"):
        found = next(s for s in Rows(table(learnt, language)).searched if "c10" in s)
        for wanted in ("coupon", "price incentive", "价格优惠", "spend", "ship", "上线"):
            assert wanted in found
        assert found == found.lower()


def test_the_script_is_the_one_that_the_policy_allows(learnt):
    for language in ("en", "zh"):
        (script,) = re.findall("<script>(.*?)</script>", table(learnt, language), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" == SCRIPT_SOURCE


def test_what_a_file_says_stays_text(tmp_path):
    title = NASTY.replace('"', "'")
    leave_run(tmp_path, "x", {"c10": (0.1, 0.02)}, arm="c10", title=title, family="<i>f</i>")
    page = Rows(table(log(tmp_path), "en"))
    assert NASTY in page.words
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not {"b", "i"} & {tag for tag, _ in page.tags}


def test_a_lesson_without_an_effect(tmp_path):
    leave_run(tmp_path, "x", {}, "invalid", family=None)
    for language in ("en", "zh"):
        assert "\N{EN DASH}" in table(log(tmp_path), language)


def test_a_prediction_from_three_experiments_on(tmp_path):
    for i in range(4):
        leave_run(tmp_path, f"e{i}", {"c10": (0.1 + i / 50, 0.03)}, arm="c10")
    found = log(tmp_path)
    text = table(found, "en")
    assert WORDS["en"]["few"] not in text
    assert " to +" in text
    assert found.worth(found.lessons[0]) is not None


def test_nothing_learnt_is_nothing_shown():
    assert table(Log(), "en") == ""


def test_every_word_has_both_languages():
    assert set(WORDS["en"]) == set(WORDS["zh"])
    for key, text in WORDS["zh"].items():
        assert re.search("[\u4e00-\u9fff]", text), key
