"""Switchbacks: size where blocks are drawn and shocks last, and schedules that are not draws.

28 days, a daily wave of traffic (1 to 19) and of the outcome, shocks that correlate by 0.8 from
block to block. A share of S simulations may differ by `SIGMAS` Monte-Carlo errors and `SMALL`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from table import record

from retention_lab.ab.margin import Margin
from retention_lab.data.moments import Moments
from retention_lab.experiment.needs import Column, Needs
from retention_lab.experiment.schedule import by_hour, rarely_switched

SIGMAS = 3.5
SMALL = 0.01
DAYS, LASTS, SHOCK = 28, 0.8, 0.5
SLOW = [pytest.mark.slow, pytest.mark.timeout(7200)]
NEED = Needs("y", Column(name="y", how="value"))


@pytest.fixture(params=[200, pytest.param(2000, marks=SLOW)])
def count(request):
    return request.param


def compared(rng, arm, every):
    """p-value of a schedule without any effect."""
    blocks = len(arm)
    hour = np.arange(blocks) * every % 24 + every / 2
    wave = np.sin(2 * np.pi * (hour - 8) / 24)
    n = (every * (100 + 90 * wave)).astype(int)
    shock = np.empty(blocks)
    shock[0] = rng.normal(0, SHOCK)
    for t in range(1, blocks):
        shock[t] = LASTS * shock[t - 1] + rng.normal(0, SHOCK * math.sqrt(1 - LASTS**2))
    mean = (10 + 0.5 * wave + shock + rng.normal(size=blocks) / np.sqrt(n))[:, None]
    cells = tuple((str(a), str(i)) for i, a in enumerate(arm))
    ones = np.ones((blocks, 1))
    m = Moments(("arm", "block"), NEED.pairs, cells, n, n[:, None], mean, mean, ones)
    return Margin(m, NEED, "block", ("arm",), 0.05).compare(("b",), ("a",)).difference.p_value


def drawn(rng, every, length):
    """Arms drawn every `length` hours, by block."""
    return np.repeat(rng.choice(list("ab"), DAYS * 24 // length), length // every)


def turns(rng, every, length):
    return np.array(list("ab"))[(np.arange(DAYS * 24 // every) + rng.integers(2)) % 2]


@pytest.mark.parametrize(
    ("name", "schedule", "every", "length"),
    [
        ("drawn", drawn, 1, 1),
        ("drawn", drawn, 6, 6),
        ("drawn", drawn, 24, 24),
        ("drawn by day", drawn, 1, 24),
        ("taking turns", turns, 12, 12),
    ],
)
def test_blocks_that_were_drawn_have_their_size_and_others_are_told(
    name, schedule, every, length, count
):
    rng, found, told = np.random.default_rng(1), [], []
    for _ in range(count):
        arm = schedule(rng, every, length)
        p = compared(rng, arm, every)
        found += [] if p is None else [p < 0.05]
        blocks = {"": dict(enumerate(arm.tolist()))}
        tied = 6 <= every < 24 and by_hour(blocks, every)
        told.append(rarely_switched(blocks) is not None or tied)
    scenario, right = f"28 days, blocks of {every} h, {name}", name == "drawn"
    nominal = 0.05 if right else None
    error = record("switchback", scenario, "size", nominal, np.mean(found), len(found))
    limit = "at most 0.001" if right else "at least 0.99"
    chance = record("switchback", scenario, "told as no draw", limit, np.mean(told), count)
    if right:
        assert abs(np.mean(found) - 0.05) <= SIGMAS * error + SMALL
        assert np.mean(told) <= 0.001 + SIGMAS * chance
    else:
        assert np.mean(found) > 0.2
        assert np.mean(told) >= 0.99 - SIGMAS * chance
