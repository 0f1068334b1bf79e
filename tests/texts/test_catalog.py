"""The two languages say the same things, and every sentence is used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from retention_lab.texts import placeholders, say, texts

PACKAGE = Path(__file__).parents[2] / "retention_lab"
HAN = r"[\u4e00-\u9fff]"


def test_both_languages_have_the_same_keys() -> None:
    assert texts("en").keys() == texts("zh").keys()


def test_both_languages_wait_for_the_same_values() -> None:
    en, zh = texts("en"), texts("zh")
    assert {k: placeholders(en[k]) for k in en} == {k: placeholders(zh[k]) for k in en}


def test_every_sentence_is_said_somewhere() -> None:
    files = [p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".j2")]
    code = "\n".join(p.read_text(encoding="utf-8") for p in files)

    def said(key: str) -> bool:
        group = key.rpartition(".")[0]
        whole = any(f"{q}{key}{q}" in code for q in "\"'")
        return whole or (bool(group) and (f"{group}.{{" in code or f"'{group}.' ~" in code))

    assert [k for k in texts("en") if not said(k)] == []


def test_chinese_uses_full_width_marks() -> None:
    half = re.compile(rf"{HAN}[,;:!?()]|[,;:!?()]{HAN}")
    assert [t for t in texts("zh").values() if half.search(t)] == []


def test_sentences_are_translated() -> None:
    latin = re.compile(r"[A-Za-z]{3,}")
    same = ("_command", ".mlflow", "_source", "language.other", "other_code")
    left = [
        k
        for k, text in texts("en").items()
        if latin.search(re.sub(r"\{[^}]*\}", "", text))
        and not re.search(HAN, texts("zh")[k])
        and not k.endswith(same)
        and not k.startswith("month.")
    ]
    assert left == []


def test_a_missing_value_or_key_or_language_is_an_error() -> None:
    with pytest.raises(KeyError):
        say("en", "units")
    with pytest.raises(KeyError):
        say("zh", "units")
    with pytest.raises(KeyError):
        say("en", "no.such.key")
    with pytest.raises(KeyError, match="no texts in 'fr'"):
        say("fr", "units", n=1)


def test_braces_of_a_user_are_text() -> None:
    assert say("en", "units", n="{n} {0.__class__}") == "{n} {0.__class__} customers"
    assert say("zh", "units", n="{n}") == "{n} 位客户"


def test_chinese_and_latin_meet_with_a_space() -> None:
    said = say("zh", "because.primary_unclear", metric="30 天复购率")
    assert "判断 30 天复购率是否" in said
    between = say("zh", "sure.between", low="+0.43", high="+1.21 个百分点", level=95)
    assert "介于 +0.43 与 +1.21 个百分点之间（95% 置信区间）" in between
    assert "判断 iPhone手机是否" in say("zh", "because.primary_unclear", metric="iPhone手机")


RESULTS = (PACKAGE.parent / "docs" / "results.md").read_text(encoding="utf-8")


def first_column(heading: str) -> set[str]:
    """Every code that the first column of a table under `heading` names."""
    part = RESULTS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", part, flags=re.MULTILINE)
    return {code for cell in cells for code in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_documented_note_and_estimand_has_words(language: str) -> None:
    known = texts(language)
    notes, estimands = first_column("Notes"), first_column("Estimands")
    assert {"few_events", "above_limit"} <= notes
    assert {"mean", "interaction", "expected_loss"} <= estimands
    assert [n for n in sorted(notes) if f"note.{n}" not in known] == []
    assert [n for n in sorted(notes) if f"figure.short.{n}" not in known] == []
    assert [e for e in sorted(estimands) if f"estimand.{e}" not in known] == []


def test_one_is_singular() -> None:
    assert say("en", "units", n="1") == "1 customer"
    assert say("en", "units", n="21") == "21 customers"
    assert say("en", "window.d", n=1) == "1 day"
    assert say("en", "rests.immature_value", n="1") == "1 customer whose window had not ended"
    assert say("zh", "units", n="1") == "1 位客户"
