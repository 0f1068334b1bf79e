"""Numbers as readers see them."""

from __future__ import annotations

import pytest

from retention_lab.texts.numbers import (
    chance,
    date_text,
    day_text,
    digits_of_spread,
    digits_of_value,
    measure,
    moment_text,
    number,
    ordinal,
    p_cell,
    p_text,
    share,
    shared_measure,
)


@pytest.mark.parametrize(
    ("what", "kind", "value", "low", "high", "en", "zh"),
    [
        ("lift", "mean", 0.121, 0.083, 0.160, "+12.1%", "+12.1%"),
        ("lift", "mean", -0.5, -0.9, 0.1, "−50%", "−50%"),
        ("difference", "proportion", 0.07659, 0.06995, 0.08323, "+7.66 points", "+7.66 个百分点"),
        ("difference", "retention", -0.001, -0.002, 0.0, "−0.10 points", "−0.10 个百分点"),
        ("difference", "sum", 0.769827, 0.485, 1.055, "+0.77", "+0.77"),
        ("level", "proportion", 0.106167, 0.102, 0.1103, "10.62%", "10.62%"),
        ("level", "mean", 1234567.0, 1234000.0, 1235000.0, "1,234,567", "1,234,567"),
        ("size", "retention", 0.005, None, None, "0.5 points", "0.5 个百分点"),
        ("size", "mean", 0.05, None, None, "0.05", "0.05"),
        ("lift", "mean", None, None, None, "–", "–"),
    ],
)
def test_a_measure_in_both_languages(
    what: str,
    kind: str,
    value: float | None,
    low: float | None,
    high: float | None,
    en: str,
    zh: str,
) -> None:
    shown = measure(what, kind, low, high)  # type: ignore[arg-type]
    assert shown.text(value, "en") == en
    assert shown.text(value, "zh") == zh


def test_the_ends_of_an_interval_name_points_once() -> None:
    shown = measure("difference", "proportion", -0.0006, 0.0016)
    assert shown.ends(-0.0006, 0.0016, "en") == ("−0.06", "+0.16 points")
    lift = measure("lift", "mean", 0.08, 0.16)
    assert lift.ends(0.08, 0.16, "en") == ("+8.0%", "+16.0%")


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.0, 2, "0.00"),
        (-0.0001, 2, "0.00"),
        (-1234.5, 1, "−1,234.5"),
        (3.2e15, 2, "3.200e+15"),
        (None, 2, "–"),
        (5.04e-9, 10, "5.0e-9"),
        (-5.04e-9, 12, "−5.040e-9"),
        (1e-12, 10, "0"),
        (0.0, 10, "0.000000"),
        (0.5, 10, "0.500000"),
    ],
)
def test_number(value: float | None, digits: int, text: str) -> None:
    assert number(value, digits) == text


def test_digits() -> None:
    assert [digits_of_spread(x) for x in (0.0, 7.7, 16.0, 0.66, 0.0003, 1e-9)] == [
        2,
        1,
        0,
        2,
        5,
        10,
    ]
    assert [digits_of_value(x) for x in (0.0, 0.5, 12.34, 100.4, 0.00525)] == [0, 1, 1, 0, 5]


@pytest.mark.parametrize(
    ("p", "text"),
    [(1e-9, "< 0.001"), (0.032, "= 0.032"), (0.0996, "= 0.10"), (0.9, "= 0.90"), (1.0, "> 0.99")],
)
def test_p(p: float, text: str) -> None:
    assert p_text(p).replace("\u00a0", " ") == f"p {text}"
    assert p_cell(p).replace("\u00a0", " ") == text.removeprefix("= ")


def test_what_is_not_there_is_a_dash() -> None:
    assert (p_text(None), p_cell(None), share(None)) == ("–", "–", "–")


def test_chance_in_plain_words() -> None:
    assert chance(1e-5, "en") == "less than 1 in 1,000"
    assert chance(0.032, "en") == "about 1 in 31"
    assert chance(0.00329, "en") == "about 1 in 300"
    assert chance(0.71, "en") == "about 71 in 100"
    assert chance(1.0, "en") == "about 99 in 100"
    assert chance(0.032, "zh") == "约为 1/31"


def test_dates_in_words() -> None:
    assert date_text("2026-01-15", "en").replace("\u00a0", " ") == "15 January 2026"
    assert date_text("2026-01-15T08:00", "zh").replace("\u00a0", " ") == "2026 年 1 月 15 日"
    assert date_text("some day", "en") == "some day"


def test_moments_in_words() -> None:
    at = "2026-01-15T08:05:00+00:00"
    assert moment_text(at, "en").replace("\u00a0", " ") == "15 January 2026, 08:05 UTC"
    assert moment_text(at, "zh").replace("\u00a0", " ") == "2026 年 1 月 15 日 08:05 UTC"
    assert moment_text("2026-01-15", "en") == date_text("2026-01-15", "en")
    assert moment_text("some day", "en") == "some day"


def test_values_side_by_side_have_the_digits_of_the_median_interval() -> None:
    ends = [(0.0, 10.0), (0.0, 0.02), (None, None), (0.0, 1.0)]
    assert shared_measure("difference", "mean", ends).digits == 2
    assert shared_measure("difference", "mean", []).digits is None


def test_one_point_is_singular() -> None:
    assert measure("size", "retention").text(0.01, "en") == "1 point"
    assert measure("size", "retention").text(0.02, "en") == "2 points"
    assert measure("size", "retention").text(0.01, "zh") == "1 个百分点"


def test_small_values_keep_their_figures() -> None:
    shown = measure("difference", "mean", -1.0e-10, 1.2e-9)
    assert shown.text(5.5e-10, "en") == "+5.5e-10"
    assert measure("level").text(5.04e-9, "en") == "5.04e-9"


def test_percentiles_in_words() -> None:
    words = ["50th", "1st", "22nd", "93rd", "11th", "99.9th"]
    assert [ordinal(q, "en") for q in (0.5, 0.01, 0.22, 0.93, 0.11, 0.999)] == words
    assert ordinal(0.9, "zh") == "90"


def test_days_without_their_year() -> None:
    assert day_text("2026-01-15", "en").replace("\u00a0", " ") == "15 Jan"
    assert day_text("2026-01-15", "zh").replace("\u00a0", " ") == "1 月 15 日"
    assert day_text("some day", "en") == "some day"


@pytest.mark.parametrize(
    ("low", "high", "ends"),
    [
        (0.0024, 0.33, ("+0.2%", "+33.0%")),
        (-0.0024, 0.33, ("−0.2%", "+33.0%")),
        (0.0003, 0.33, ("+0.03%", "+33.00%")),
        (0.02, 0.33, ("+2%", "+33%")),
        (0.0, 0.33, ("0%", "+33%")),
        (1e-9, 0.33, ("0.00%", "+33.00%")),
    ],
)
def test_an_end_that_is_not_nothing_does_not_look_like_it(
    low: float, high: float, ends: tuple[str, str]
) -> None:
    assert measure("lift", "mean", low, high).ends(low, high, "en") == ends
