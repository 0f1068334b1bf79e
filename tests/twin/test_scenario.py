from __future__ import annotations

import dataclasses
import datetime as dt
import subprocess
import sys

import pytest

from retention_lab.twin import AA, COMEBACK_COUPON, REGIONS, Arm, Scenario


def test_regions_have_the_levels_of_the_field():
    assert {r.name: r.repurchase_30d for r in REGIONS} == {
        "North America": 0.305,
        "Europe": 0.258,
        "South-East Asia": 0.182,
        "Middle East": 0.150,
        "Latin America": 0.120,
        "Africa": 0.090,
    }
    average = sum(r.share * r.repurchase_30d for r in REGIONS) / sum(r.share for r in REGIONS)
    assert average == pytest.approx(0.223, abs=0.001)


def test_the_tables_end_with_the_last_complete_day():
    assert COMEBACK_COUPON.end == dt.datetime(2026, 1, 16)


def test_an_arm_is_found_by_name():
    assert COMEBACK_COUPON.arm("c20").coupon == 20
    with pytest.raises(KeyError, match="c30"):
        COMEBACK_COUPON.arm("c30")


def test_a_scenario_is_frozen_and_hashable():
    with pytest.raises(dataclasses.FrozenInstanceError):
        AA.customers = 3
    assert hash(AA) == hash(dataclasses.replace(AA))
    assert dataclasses.replace(AA, customers=3) != AA


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"customers": 0}, "customers must be 1 or more"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"arms": ()}, "need one entry or more"),
        ({"arms": (Arm("a"), Arm("a"))}, "arms need different names"),
        ({"regions": REGIONS[:1] * 2}, "regions need different names"),
        ({"arms": (Arm("a", lift=0.1), Arm("b"))}, "the first arm is control"),
        ({"arms": (Arm("a"), Arm("b", share=0))}, "shares must be above 0"),
        ({"arms": (Arm("a"), Arm("b", lift=0.9))}, "a lift must leave a probability"),
        ({"arms": (Arm("a"), Arm("b", unsubscribes=-0.1))}, "unsubscribes must leave"),
        ({"arms": (Arm("a"), Arm("b", basket=0))}, "must be above 0"),
        ({"pace": ((30, 1.0), (20, 1.0))}, "pace goes on from day to day"),
        ({"pace": ((20, 1.0),), "effect_days": 10}, "pace must reach day 30"),
        ({"pace": ((30, 1.0), (90, 0.0))}, "pace needs rates above 0"),
        ({"effect_days": 181}, "effect_days must lie within pace"),
        ({"returned": 1.2}, "shares of customers and orders lie between 0 and 1"),
        ({"enrol_days": 0}, "enrol_days must be 1 or more"),
        ({"as_of": dt.date(2025, 11, 27)}, "as_of must lie"),
        ({"as_of": dt.date(2026, 9, 1)}, "as_of must lie"),
    ],
)
def test_numbers_that_make_no_shop_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(COMEBACK_COUPON, **change)


def test_every_fault_is_named():
    with pytest.raises(ValueError, match=r"customers must be .*; enrol_days must be"):
        Scenario(name="x", arms=(Arm("a"),), customers=0, enrol_days=0)


def test_a_scenario_is_read_without_numpy():
    code = "import sys, retention_lab.twin; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
