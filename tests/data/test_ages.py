"""Days since exposure: the engine's sums are those of the rows, and merge, save and load."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import retention_lab as rl
from retention_lab.data.ages import Bins, day, reduce_ages, slope, some, through
from retention_lab.data.moments import Moments, merge

START = dt.datetime(2026, 1, 1)
AS_OF = dt.date(2026, 1, 20)
END = dt.datetime(2026, 1, 21)
DESIGN = {"unit": "unit", "arm": "arm", "control": "a"}
KINDS = {
    "back": {"kind": "retention", "event": "orders"},
    "orders": {"kind": "count", "event": "orders"},
    "spent": {"kind": "sum", "event": "orders", "value": "value", "cap": {"value": 20}},
}


def shop(n=300, seed=0, days=18, events=900, value=None):
    """Units that enter over `days` days, and events from five days before to the end and after."""
    rng = np.random.default_rng(seed)
    at = START + rng.integers(0, days * 86_400, n) * dt.timedelta(seconds=1)
    who = rng.integers(0, n, events)
    when = at[who] + rng.integers(-5 * 86_400, 20 * 86_400, events) * dt.timedelta(seconds=1)
    # Some on the very edge of a day since exposure: it belongs to the day that ends there.
    edges = rng.integers(0, 5, events) * dt.timedelta(days=1)
    when = np.where(rng.random(events) < 0.1, at[who] + edges, when)
    worth = rng.gamma(2.0, 10.0, events).round(2) if value is None else value(rng, events)
    units = {"unit": [f"u{i}" for i in range(n)], "arm": rng.choice(["a", "b"], n), "at": at}
    return units, {"unit": [f"u{i}" for i in who], "at": when, "value": worth}


def plan_of(write, units, orders, within="5d", more=None, design=DESIGN, names=KINDS, **spec):
    metrics = [{"name": k, **KINDS[k], "within": within, "role": "primary"} for k in names]
    metrics = [m | (more or {}) if m["kind"] == "sum" else m for m in metrics]
    data = {"assignments": {"table": "who.parquet", "at": "at"},
            "events": {"orders": {"table": "orders.parquet", "at": "at"}},
            "as_of": AS_OF}  # fmt: skip
    tables = {"who": units, "orders": orders}
    return rl.plan(write(tables, data=data, design=design, metrics=metrics, **spec))


def by_hand(units, orders, kind, bins, drop=False):
    """By arm and column: the numbers of its units, by the definition of each column."""
    mine = defaultdict(list)
    for u, t, v in zip(orders["unit"], orders["at"], orders["value"], strict=True):
        mine[u].append((t, v))
    found = defaultdict(list)
    ends = [dt.timedelta(hours=h) for h in (0, *bins.ends)]
    for u, arm, at in zip(units["unit"], units["arm"], units["at"], strict=True):
        inside = [(t - at, v) for t, v in mine[u] if dt.timedelta(0) < t - at <= ends[-1]]
        if drop and any(v is None for _, v in inside):
            continue
        total, seen, score, wholly = 0.0, False, 0.0, True
        for k, (a, b) in enumerate(itertools.pairwise(ends), 1):
            wholly = wholly and at + b <= END
            if not wholly:
                break
            values = [v for t, v in inside if a < t <= b]
            number = {"count": len(values), "sum": sum(v or 0.0 for v in values),
                      "retention": float(bool(values) and not seen)}[kind]  # fmt: skip
            happened = number if kind == "retention" else float(bool(values))
            seen = seen or bool(values)
            total += number
            active = float(bool(values)) if kind == "retention" else number
            score += (bins.offsets * bins.scale)[k - 1] * active
            found[arm, day("m", k)].append(number)
            found[arm, some("m", k)].append(happened)
            found[arm, through("m", k)].append(total)
        if wholly:
            found[arm, slope("m")].append(score)
    return found


def assert_is(ages, metric, want, rel=1e-9):
    """Counts, means and co-moments of a metric are those of the numbers in `want`."""
    columns = {c for _, c in want}
    assert {
        c.replace(metric, "m", 1) for c in ages.columns if c.startswith(f"{metric} ")
    } >= columns
    for (arm, column), numbers in want.items():
        name, cell = column.replace("m", metric, 1), ages.cell(arm)
        x = np.array(numbers)
        i = ages.pair(name)
        assert ages.n[cell, i] == len(x), name
        assert ages.mean(cell, name) == pytest.approx(x.mean(), rel=rel, abs=1e-12), name
        spread = ((x - x.mean()) ** 2).sum()
        assert ages.comoment[cell, i] == pytest.approx(spread, rel=rel, abs=1e-9), name


@pytest.mark.parametrize("within", ["2d", "60h", "5d", "14d"])
@pytest.mark.parametrize("metric", KINDS)
def test_every_column_is_that_of_the_rows(write, metric, within):
    units, orders = shop()
    plan = plan_of(write, units, orders, within)
    ages = rl.reduce(plan).ages
    hours = int(within[:-1]) * (24 if within.endswith("d") else 1)
    bins = Bins.of(hours)
    assert_is(ages, metric, by_hand(units, orders, KINDS[metric]["kind"], bins))


def test_long_windows_are_cut_into_weeks(write, monkeypatch):
    assert Bins.of(35 * 24).labels[-1] == "35"
    assert Bins.of(36 * 24).labels == ("1-7", "8-14", "15-21", "22-28", "29-35", "36")
    assert Bins.of(60).labels == ("1", "2", "3")
    units, orders = shop()
    monkeypatch.setattr("retention_lab.data.ages.LONGEST", 3 * 24)
    plan = plan_of(write, units, orders, "10d")
    want = by_hand(units, orders, "sum", Bins(240, 168))
    assert_is(reduce_ages(plan), "spent", want)
    assert reduce_ages(plan).n[0, -1] > 0


@pytest.mark.parametrize("hours", [48, 60, 72, 240, 35 * 24, 36 * 24, 100 * 24])
def test_the_weights_are_the_slope_of_least_squares(hours):
    bins = Bins.of(hours)
    ends = np.array(bins.ends) / 24
    length = np.diff(ends, prepend=0.0)
    totals = np.random.default_rng(1).normal(size=bins.count)
    want = np.polyfit(ends - length / 2, totals / length, 1, w=np.sqrt(length))[0]
    assert (bins.offsets * bins.scale) @ totals == pytest.approx(want, rel=1e-9)
    assert abs((bins.offsets * bins.scale) @ length) < 1e-12  # no trend, no slope


@pytest.mark.parametrize("missing", ["zero", "drop"])
def test_missing_values_are_nothing_or_take_their_unit(write, missing):
    units, orders = shop(seed=3)
    gone = np.random.default_rng(4).random(len(orders["unit"])) < 0.05
    orders["value"] = [None if g else v for g, v in zip(gone, orders["value"], strict=True)]
    plan = plan_of(write, units, orders, more={"missing": missing}, names=["spent"])
    want = by_hand(units, orders, "sum", Bins.of(120), drop=missing == "drop")
    assert_is(rl.reduce(plan).ages, "spent", want)


def test_nearly_constant_large_values_keep_their_digits(write):
    """Every unit spends 1e12 and a little on every day: only shifted sums can tell the little."""
    n, days = 200, 5
    rng = np.random.default_rng(5)
    units = {"unit": [f"u{i}" for i in range(n)], "arm": ["a", "b"] * (n // 2), "at": [START] * n}
    little = rng.integers(-400, 400, (n, days)) / 4
    orders = {"unit": np.repeat(units["unit"], days),
              "at": [START + dt.timedelta(days=k, hours=5) for _ in range(n) for k in range(days)],
              "value": 1e12 + little.ravel()}  # fmt: skip
    ages = rl.reduce(plan_of(write, units, orders, names=["spent"])).ages
    near = {"unit": orders["unit"], "at": orders["at"], "value": little.ravel()}
    want = by_hand(units, near, "sum", Bins.of(120))
    for (arm, column), numbers in want.items():
        name, cell, x = column.replace("m", "spent", 1), ages.cell(arm), np.array(numbers)
        i = ages.pair(name)
        if " some " in name:
            continue
        spread = ((x - x.mean()) ** 2).sum()
        assert ages.comoment[cell, i] == pytest.approx(spread, rel=1e-6), name
        other = np.array(want["b" if arm == "a" else "a", column])
        j = ages.cell("b" if arm == "a" else "a")
        difference = ages.mean_x[cell, i] - ages.mean_x[j, i]
        assert difference == pytest.approx(x.mean() - other.mean(), rel=1e-6, abs=1e-4), name


def test_a_metric_that_cannot_be_had_has_no_days(write):
    units, orders = shop(seed=6)
    first = int(np.argmin(units["at"]))
    more = {"unit": f"u{first}", "at": units["at"][first] + dt.timedelta(hours=30), "value": np.inf}
    orders = {k: np.append(v, more[k]) for k, v in orders.items()}
    plan = plan_of(write, units, orders, names=["orders", "spent"])
    assert list(plan.faults) == ["spent"]
    ages = rl.reduce(plan).ages
    assert all(c.startswith("orders ") for c in ages.columns)


def shards(write, parts, **more):
    return [reduce_ages(plan_of(write, *part, **more)) for part in parts]


@given(seed=st.integers(0, 10_000), pieces=st.integers(2, 3))
@settings(max_examples=4, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
def test_shards_merge_to_the_whole_in_any_order(write, seed, pieces):
    units, orders = shop(n=60, seed=seed, events=150)
    rng = np.random.default_rng(seed)
    part = rng.integers(0, pieces, 60)
    place = dict(zip(units["unit"], part, strict=True))

    def of(p):
        own = part == p
        mine = np.array([place[u] == p for u in orders["unit"]])
        return (
            {k: np.array(v)[own] for k, v in units.items()},
            {k: np.array(v)[mine] for k, v in orders.items()},
        )

    held = [of(p) for p in range(pieces) if (part == p).any()]
    found = [m for m in shards(write, held) if m is not None]
    rng.shuffle(found)
    whole, merged = reduce_ages(plan_of(write, units, orders)), merge(*found)
    assert (merged.cells, merged.pairs) == (whole.cells, whole.pairs)
    np.testing.assert_array_equal(merged.n, whole.n)
    np.testing.assert_allclose(merged.mean_x, whole.mean_x, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(merged.comoment, whole.comoment, rtol=1e-9, atol=1e-9)


def test_they_are_saved_beside_the_reduction_and_merged_with_it(write, tmp_path):
    units, orders = shop()
    whole = rl.reduce(plan_of(write, units, orders))
    whole.save(tmp_path / "moments.parquet")
    back = Moments.load(tmp_path / "moments.parquet")
    for name in ("n", "mean_x", "comoment"):
        assert getattr(back.ages, name).tobytes() == getattr(whole.ages, name).tobytes()
    assert (back.ages.pairs, back.ages.definition) == (whole.ages.pairs, whole.ages.definition)
    twice = merge(whole, back)
    np.testing.assert_array_equal(twice.ages.n, 2 * whole.ages.n)
    assert whole.roll_up("arm").ages is None
    (tmp_path / "moments.ages.parquet").unlink()
    old = Moments.load(tmp_path / "moments.parquet")
    assert old.ages is None
    assert merge(whole, old).ages is None


def test_ages_of_different_primary_metrics_are_left_out_of_a_merge(write):
    units, orders = shop()
    one = rl.reduce(plan_of(write, units, orders))
    fewer = reduce_ages(plan_of(write, units, orders, names=["orders"]))
    later = dataclasses.replace(one.ages, definition="{}")
    for ages in (fewer, later):
        both = merge(one, dataclasses.replace(one, ages=ages))
        assert both.ages is None
        assert both.units == 2 * one.units


def test_nothing_is_made_where_there_are_no_days(write):
    units, orders = shop()
    assert reduce_ages(plan_of(write, units, orders, "1d")) is None
    clusters = units | {"store": [u[:2] for u in units["unit"]], "arm": ["a"] * 300}
    clusters["arm"] = ["a" if s < "u5" else "b" for s in clusters["store"]]
    design = DESIGN | {"cluster": "store"}
    assert reduce_ages(plan_of(write, clusters, orders, design=design)) is None


def test_days_without_events_are_zeros(write):
    units, orders = shop()
    one = int(np.argmin(units["at"]))
    orders = {
        "unit": [f"u{one}"],
        "at": [units["at"][one] + dt.timedelta(hours=30)],
        "value": [7.0],
    }
    ages = rl.reduce(plan_of(write, units, orders)).ages
    assert np.count_nonzero(ages.mean_x[:, ages.pair(day("spent", 2))]) == 1
    assert not ages.mean_x[:, ages.pair(day("spent", 1))].any()
    assert not ages.comoment[:, ages.pair(day("spent", 1))].any()
