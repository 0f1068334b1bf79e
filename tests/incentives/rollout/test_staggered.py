"""Effects by group and period, and their averages: as csdid has them, and as they must behave."""

from __future__ import annotations

import numpy as np
import pytest
from panels import panel, reference
from reference import SHARED, columns

from retention_lab.incentives.rollout.aggregate import Averager
from retention_lab.incentives.rollout.few import error_of
from retention_lab.incentives.rollout.staggered import group_time_effects

AVERAGES = {"simple": "simple", "group": "groups", "dynamic": "dynamic", "calendar": "calendar"}
VARIANTS = [f"{c}|{x}|{w}" for c in ("never", "not_yet") for x in ("none", "x")
            for w in ("none", "w")]  # fmt: skip


def errors(cells):
    return np.sqrt((cells.influence**2).mean(axis=1) / cells.influence.shape[1])


def agree(found, want, part, rel):
    """An aggregation against csdid's; `part` names its keys for the parts."""
    assert found.overall.estimate == pytest.approx(want["overall_att"], rel=rel, abs=1e-9)
    assert found.overall.std_error == pytest.approx(want["overall_se"], rel=rel)
    assert found.overall.null.mean() == pytest.approx(found.overall.estimate)
    if want[part[0]] is not None:
        assert [p.estimate for p in found.parts] == pytest.approx(want[part[0]], rel=rel, abs=1e-9)
        assert [p.std_error for p in found.parts] == pytest.approx(want[part[1]], rel=rel)


@pytest.mark.parametrize("variant", VARIANTS)
def test_as_csdid_has_it(variant):
    controls, covariate, weighted = variant.split("|")
    r, want = reference(), reference()["variants"][variant]
    w = r["w"] if weighted == "w" else None
    x = r["x"][:, None] if covariate == "x" else None
    cells = group_time_effects(r["y"], r["adopted"], w, x, controls)
    assert (cells.group + 1).tolist() == want["of"]
    assert (cells.period + 1).tolist() == want["t"]
    assert cells.att == pytest.approx(want["att"], rel=1e-8, abs=1e-9)
    assert errors(cells) == pytest.approx(want["se"], rel=1e-8)
    averager = Averager(cells, r["adopted"], w)
    for name, how in AVERAGES.items():
        agree(getattr(averager, how)(), want[name], ("att", "se"), 1e-8)


@pytest.mark.parametrize("controls", ["nevertreated", "notyettreated"])
@pytest.mark.parametrize("covariate", ["none", "x=lpop"])
def test_minimum_wages_and_teenagers(golden, controls, covariate):
    """Callaway and Sant'Anna's own data: 500 counties, 5 years, three groups."""
    path = SHARED / "data" / "mpdta.csv"
    if not path.is_file():
        pytest.skip("mpdta.csv of R's did, with the lab's reference numbers, is not in ../shared")
    data = columns(path)
    _, county = np.unique(data["countyreal"], return_inverse=True)
    y = np.empty((county.max() + 1, 5))
    y[county, (data["year"] - 2003).astype(int)] = data["lemp"]
    first, x = np.empty(len(y)), np.empty((len(y), 1))
    first[county], x[county, 0] = data["first.treat"], data["lpop"]
    adopted = np.where(first == 0, np.inf, first - 2003)
    case = golden["mpdta_callaway_santanna"]
    want = case["values"][f"{controls}|{covariate}"]
    how = "never" if controls == "nevertreated" else "not_yet"
    cells = group_time_effects(y, adopted, None, x if "x" in covariate else None, how)
    assert (cells.group + 2003).tolist() == want["group"]
    assert (cells.period + 2003).tolist() == want["t"]
    assert cells.att == pytest.approx(want["att"], rel=1e-8)
    assert errors(cells) == pytest.approx(want["se"], rel=1e-8)
    averager = Averager(cells, adopted)
    for name, method in AVERAGES.items():
        agree(getattr(averager, method)(), want[f"agg_{name}"], ("att_egt", "se_egt"), 1e-8)
    if (controls, covariate) == ("nevertreated", "none"):
        simple = averager.simple().overall
        wanted = case["diff_diff_overall"]
        assert [simple.estimate, simple.std_error] == pytest.approx(wanted, rel=1e-8)
        error = error_of(simple)  # of many markets: nearly the same, and nearly normal
        assert error.std_error == pytest.approx(simple.std_error, rel=0.01)
        assert error.df > 150


def test_one_group_and_one_period_is_a_difference_of_differences():
    y, adopted = panel(starts=(3,), periods=4)
    cells = group_time_effects(y, adopted)
    treated = np.isfinite(adopted)
    change = y[:, 3] - y[:, 2]
    k = int(np.flatnonzero(cells.period == 3)[0])
    assert cells.att[k] == pytest.approx(change[treated].mean() - change[~treated].mean())
    welch = np.sqrt(change[treated].var(ddof=1) / 12 + change[~treated].var(ddof=1) / 10)
    found = error_of(Averager(cells, adopted).cell(k))
    assert found.std_error == pytest.approx(welch)
    a, b = change[treated].var(ddof=1) / 12, change[~treated].var(ddof=1) / 10
    assert found.df == pytest.approx((a + b) ** 2 / (a**2 / 11 + b**2 / 9))


def test_no_noise_gives_the_effects_themselves():
    adopted = np.repeat([2.0, 4.0, np.inf], 5)
    y = np.random.default_rng(1).normal(size=(15, 1)) + np.arange(6) ** 2
    since = np.arange(6) - adopted[:, None]
    y = y + np.where(since >= 0, 1.0 + since, 0.0)
    cells = group_time_effects(y, adopted)
    assert cells.att == pytest.approx(np.where(cells.since >= 0, 1.0 + cells.since, 0.0), abs=1e-9)
    parts = Averager(cells, adopted).dynamic().parts
    assert {p.at: round(p.estimate, 9) for p in parts if p.at >= 0} == {0: 1, 1: 2, 2: 3, 3: 4}


@pytest.mark.parametrize("controls", ["never", "not_yet"])
@pytest.mark.parametrize("covariate", [False, True])
def test_the_order_of_markets_does_not_matter(controls, covariate):
    y, adopted = panel(treated=20, never=30)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(50, 1)) if covariate else None
    w = rng.uniform(0.5, 2, 50)
    order = rng.permutation(50)
    some = Averager(group_time_effects(y, adopted, w, x, controls), adopted, w).dynamic()
    mixed = group_time_effects(
        y[order], adopted[order], w[order], None if x is None else x[order], controls
    )
    again = Averager(mixed, adopted[order], w[order]).dynamic()
    assert again.overall.estimate == pytest.approx(some.overall.estimate, rel=1e-9)
    assert again.overall.influence == pytest.approx(some.overall.influence[order], abs=1e-8)


def test_a_weight_of_two_is_two_markets():
    y, adopted = panel()
    w = np.resize([1.0, 2.0, 3.0], len(y))
    twice = np.repeat(np.arange(len(y)), w.astype(int))
    weighted = Averager(group_time_effects(y, adopted, w), adopted, w)
    repeated = Averager(group_time_effects(y[twice], adopted[twice]), adopted[twice])
    for how in AVERAGES.values():
        a, b = getattr(weighted, how)(), getattr(repeated, how)()
        assert a.overall.estimate == pytest.approx(b.overall.estimate)
        assert [p.estimate for p in a.parts] == pytest.approx([p.estimate for p in b.parts])
    # Markets of weight 0 are not there at all.
    w[:3] = 0.0
    some = group_time_effects(y, adopted, w)
    fewer = group_time_effects(y[3:], adopted[3:], w[3:])
    assert some.att == pytest.approx(fewer.att)


def test_levels_and_shared_shocks_cancel():
    y, adopted = panel()
    moved = y + np.arange(len(y))[:, None] * 10 + np.random.default_rng(2).normal(size=8) * 5
    a, b = (group_time_effects(v, adopted) for v in (y, moved))
    assert a.att == pytest.approx(b.att, abs=1e-9)
    assert a.influence == pytest.approx(b.influence, abs=1e-8)


def test_a_gap_takes_only_the_pairs_that_need_it():
    y, adopted = panel(starts=(3,), periods=6)
    holes = y.copy()
    holes[0, 5] = holes[-1, 1] = np.nan
    a, b = group_time_effects(y, adopted), group_time_effects(holes, adopted)
    for k, t in enumerate(a.period):
        same = t not in (1, 2, 5)
        assert (a.att[k] == b.att[k]) == same
    k = int(np.flatnonzero(b.period == 5)[0])
    change = y[:, 5] - y[:, 2]
    want = change[1:12].mean() - change[12:].mean()
    assert b.att[k] == pytest.approx(want)
    assert b.n[k] == 11
    assert b.influence[k, 0] == 0.0


def test_where_all_begin_the_last_have_nobody_to_compare_with():
    y, adopted = panel(never=0, starts=(3, 5))
    cells = group_time_effects(y, adopted)
    assert set(zip(cells.group[cells.after], cells.period[cells.after], strict=True)) == {
        (3, 3), (3, 4)
    }  # fmt: skip
    lost = {(g, t) for g, t, why in cells.missing if why.startswith("no_control") and t >= g}
    assert lost == {(3, 5), (3, 6), (3, 7), (5, 5), (5, 6), (5, 7)}
    assert not len(group_time_effects(y, adopted, controls="never").att)


def test_covariates_that_tell_the_groups_apart_are_refused():
    y, adopted = panel()
    apart = np.isfinite(adopted)[:, None] + 0.0
    cells = group_time_effects(y, adopted, None, apart)
    assert {why.split(":")[0] for *_, why in cells.missing} == {"no_overlap"}
    many = np.random.default_rng(1).normal(size=(len(y), 12))
    assert not len(group_time_effects(y, adopted, None, many).att)


def test_one_market_has_no_error():
    y, adopted = panel(treated=1, starts=(4,))
    simple = Averager(group_time_effects(y, adopted), adopted).simple().overall
    assert error_of(simple).std_error is None
    assert simple.estimate == pytest.approx(
        (y[0, 4:] - y[0, 3]).mean() - (y[1:, 4:] - y[1:, 3:4]).mean()
    )


def test_covariates_that_say_nothing_new_change_nothing():
    """A constant, a copy in other units, a date in microseconds: as with the covariate alone."""
    y, adopted = panel()
    x = np.random.default_rng(4).normal(size=len(y))
    alone = group_time_effects(y, adopted, None, x[:, None])
    assert len(alone.att)
    for more in (
        np.column_stack([np.full(len(y), 3.0), x]),
        np.column_stack([x, 1.8 * x + 32]),
        (1.6e15 + 1e12 * x)[:, None],
    ):
        found = group_time_effects(y, adopted, None, more)
        assert found.att == pytest.approx(alone.att, rel=1e-9)
        assert found.influence == pytest.approx(alone.influence, rel=1e-7, abs=1e-9)
    nothing = group_time_effects(y, adopted, None, np.ones((len(y), 1)))
    assert nothing.att == pytest.approx(group_time_effects(y, adopted).att, rel=1e-9)


@pytest.mark.parametrize("scale", [1e150, 1e-9])
def test_degrees_of_freedom_know_no_units(scale):
    y, adopted = panel()
    found, scaled = (
        error_of(Averager(group_time_effects(v, adopted), adopted).simple().overall)
        for v in (y, y * scale)
    )
    assert scaled.df == pytest.approx(found.df)
    assert scaled.std_error == pytest.approx(found.std_error * scale)
