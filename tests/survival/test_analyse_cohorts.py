"""The rows of a cohort study are what other tools say of the raw rows of the same customers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cohort_shop import AS_OF, HORIZON, NOON, analysed, random_shop, study
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import SurvfuncRight, survdiff

from retention_lab.multiplicity import holm

MIN = 5
CLOSE = {"rel": 1e-9, "abs": 1e-12}


@pytest.fixture(scope="module")
def shop():
    return random_shop(7)


@pytest.fixture(scope="module")
def people(shop):
    found = shop.people()
    return found.assign(market=found["market"].replace("IS", "(other)"))


@pytest.fixture(scope="module")
def results(shop, tmp_path_factory):
    return analysed(
        study(
            tmp_path_factory.mktemp("shop"),
            shop,
            by=["market"],
            competing=["refunds"],
            covariates=["market", "age"],
            value="value",
        )
    )


def groups(people):
    """Everyone, and each market and cohort, with its place in the table."""
    yield {"segment": None}, people
    for key in ("market", "cohort"):
        for level, part in people.groupby(key):
            yield {"segment": key, "level": level}, part


def at_risk(stops, days):
    return np.array([(stops >= d).sum() for d in np.atleast_1d(days)])


def test_small_levels_are_one_that_is_not_small(shop, people, results):
    size = people.groupby("market").size()
    assert 0 < sum(m == "IS" for m in shop.columns["market"]) < MIN
    found = {r.level: r.n for r in results.where(estimand="customers", segment="market").rows}
    # Fewer than five in one market: the next larger one joins it.
    least = size.drop("(other)").idxmin()
    expected = size.drop([least, "(other)"]).to_dict()
    assert found == {**expected, "(other)": size[least] + size["(other)"]}


@pytest.fixture(scope="module")
def split(people):
    least = people.groupby("market").size().drop("(other)").idxmin()
    return people.assign(market=people["market"].replace(least, "(other)"))


def test_curves_are_statsmodels_curves(split, results):
    for place, part in groups(split):
        rows = results.where(estimand="survival", **place).rows
        whole = SurvfuncRight(part["stop"].astype(float), (part["cause"] == 1).astype(int))
        columns = (whole.surv_times, whole.surv_prob, whole.surv_prob_se)
        at = {day: values for day, *values in zip(*columns, strict=True)}
        assert len(rows) >= 3
        for row in rows:
            day = int(row.at)
            assert row.n == at_risk(part["stop"], day)[0] >= MIN
            if day in at:
                assert row.estimate == pytest.approx(at[day][0], **CLOSE)
                assert row.std_error == pytest.approx(at[day][1], **CLOSE)
                assert row.ci_low < row.estimate < row.ci_high
        # Every day with an event is there, as long as enough are at risk.
        if place["segment"] is None:
            days = {
                d for d in part.loc[part["cause"] == 1, "stop"] if at_risk(part["stop"], d) >= 5
            }
            assert {int(r.at) for r in rows} == {d for d in days | {30, 60} if d <= HORIZON}


def test_incidences_are_those_of_a_loop_over_days(split, results):
    for place, part in groups(split):
        for k, cause in enumerate(("orders", "refunds"), 1):
            rows = results.where(estimand="cumulative_incidence", term=cause, **place).rows
            free, share, by_day = 1.0, 0.0, {}
            for day in range(HORIZON + 1):
                n = (part["stop"] >= day).sum()
                now = part.loc[part["stop"] == day, "cause"]
                if n:
                    share += free * (now == k).sum() / n
                    free *= 1 - (now > 0).sum() / n
                by_day[day] = share
            assert rows
            for row in rows:
                assert row.estimate == pytest.approx(by_day[int(row.at)], **CLOSE)


def test_hazards_are_events_a_day_at_risk(split, results):
    for place, part in groups(split):
        rows = results.where(estimand="hazard", **place).rows
        assert rows
        for row in rows:
            first, last = map(int, row.at.split("-"))
            n = at_risk(part["stop"], np.arange(first, last + 1))
            d = ((part["cause"] == 1) & part["stop"].between(first, last)).sum()
            assert row.estimate == pytest.approx(d / n.sum(), **CLOSE)
            assert row.n == n[0]


def told(results, place, day):
    """Whether a group is shown on a day: hazards are by day here, wherever it is."""
    return bool(results.where(estimand="hazard", at=f"{day}-{day}", **place).rows)


def test_mean_times_are_areas_and_are_compared_with_the_largest_level(split, results):
    areas = {}
    for place, part in groups(split):
        (row,) = results.where(estimand="rmst", **place).rows
        curve = SurvfuncRight(part["stop"].astype(float), (part["cause"] == 1).astype(int))
        if part["stop"].max() < HORIZON:
            assert row.estimate is None
            assert row.note.startswith("tau_beyond_follow_up")
            assert int(row.note.rpartition(" ")[2]) <= part["stop"].max()
            continue
        if place["segment"] is not None and not results.where(
            estimand="survival", at=str(HORIZON), **place
        ):
            assert row.estimate is None
            assert row.note.partition(":")[0] in ("few_left", "covered")
            continue
        times = np.concatenate([[0], curve.surv_times[curve.surv_times < HORIZON], [HORIZON]])
        values = np.concatenate([[1], curve.surv_prob[curve.surv_times < HORIZON]])
        area = float((np.diff(times) * values).sum())
        assert row.estimate == pytest.approx(area, **CLOSE)
        areas[place.get("level")] = area
    base = split.groupby("market").size().drop("(other)").idxmax()
    for row in results.where(estimand=["rmst_difference", "rmst_ratio"]).rows:
        assert (row.segment, row.baseline) == ("market", base)
        if row.level not in areas:
            assert row.estimate is None
            continue
        one, two = areas[row.level], areas[base]
        expected = one - two if row.estimand == "rmst_difference" else one / two
        assert row.estimate == pytest.approx(expected, **CLOSE)


def test_log_rank_is_statsmodels(split, results):
    for key in ("market", "cohort"):
        row = results.one(estimand="log_rank", segment=key, term="plain")
        chi2, p = survdiff(
            split["stop"].to_numpy(float),
            (split["cause"] == 1).to_numpy(int),
            split[key].to_numpy(),
        )
        assert row.estimate == pytest.approx(chi2, rel=1e-9)
        assert row.p_value == pytest.approx(p, rel=1e-7)
        assert f"{split[key].nunique() - 1} df" in row.method


def test_cox_is_statsmodels_efron(split, results):
    base = split.groupby("market").size().drop("(other)").idxmax()
    columns = {f"market={m}": split["market"] == m for m in split["market"].unique() if m != base}
    x = pd.DataFrame({**columns, "age": split["age"]}).astype(float)
    # What happens at time 0 is before anyone else's event: statsmodels leaves such rows out.
    kept = split["stop"] > 0
    fit = PHReg(
        split["stop"][kept].astype(float), x[kept], status=(split["cause"] == 1)[kept], ties="efron"
    ).fit()
    for name, value in zip(x.columns, fit.params, strict=True):
        row = results.one(estimand="log_hazard_ratio", term=name)
        assert row.estimate == pytest.approx(value, rel=1e-5, abs=1e-7)
        assert row.n == len(split)
    assert results.one(estimand="proportionality", term="global").p_value is not None
    assert 0 < results.one(estimand="concordance").estimate < 1
    assert len(results.where(estimand="log_subdistribution_hazard_ratio").rows) == x.shape[1]


def test_means_of_further_orders_are_sums_over_those_still_seen(split, results):
    for place, part in groups(split):
        rows = results.where(estimand="mean_cumulative", **place).rows
        assert bool(rows) == (place["segment"] != "cohort")
        ages = part["ages"].explode().dropna().astype(int)
        last = part["last"].clip(upper=HORIZON)
        seen = ages[ages <= last.reindex(ages.index)]
        mean, by_day = 0.0, {}
        for day in range(HORIZON + 1):
            n = (last >= day).sum()
            mean += (seen == day).sum() / n if n else 0.0
            by_day[day] = mean, n
        for row in rows:
            value, n = by_day[int(row.at)]
            assert row.estimate == pytest.approx(value, **CLOSE)
            assert row.n == n >= MIN


def active(part, term, begin, end):
    """Matured customers and those of them that were active, by a loop."""
    matured = part[part["last"] >= (begin if term == "unbounded" else end)]
    hits = [
        any(begin <= a <= (row.last if term == "unbounded" else end) for a in row.ages)
        for row in matured.itertuples()
    ]
    return len(matured), sum(hits)


def test_retention_is_of_matured_customers(split, results):
    for place, part in groups(split):
        rows = results.where(estimand="retention", **place).rows
        by_cohort = place["segment"] == "cohort"
        assert {r.term for r in rows} == {"n_day", "bracket", "rolling"} | (
            {"unbounded"} if by_cohort else set()
        )
        for row in rows:
            if row.term == "unbounded" and row.estimate is not None:
                assert row.note.startswith("follow_up_differs: ")
            ends = [int(x) for x in row.at.split("-")]
            begin, end = (ends[0], ends[-1]) if row.term != "rolling" else (ends[0] - 29, ends[0])
            matured, hits = active(part, row.term, begin, end)
            if row.estimate is not None:
                assert row.estimate == pytest.approx(hits / matured, **CLOSE)
                assert matured >= MIN
                few = 0 < len(part) - matured < MIN  # who is not matured would follow
                assert row.n == (None if few else matured)
            else:
                assert row.n in (None, 0)
                code = row.note.split(":")[0]
                assert code in ("suppressed", "covered", "immature")
                assert (code == "immature") == (matured == 0)


def test_revenue_shares_are_those_of_the_rows(shop, results):
    orders = shop.tables()["orders"].to_pandas()
    orders = orders[orders["at"] <= pd.Timestamp(AS_OF) + pd.Timedelta(days=1)]
    first = orders.groupby("who")["at"].transform("min")
    later = orders["value"].where(orders["at"].dt.date > first.dt.date, 0.0)
    month = orders["at"].dt.strftime("%Y-%m")
    expected = later.groupby(month).sum() / orders["value"].groupby(month).sum()
    rows = results.where(estimand="returning_revenue_share").rows
    assert {r.at for r in rows} == set(expected.index)
    for row in rows:
        assert row.estimate == pytest.approx(expected[row.at], **CLOSE)
        assert row.n == orders.loc[month == row.at, "who"].nunique()
    assert orders["at"].min() >= NOON


def test_p_values_are_adjusted_by_holm_within_their_families(results):
    families = {}
    ratios = [f"{x}log_hazard_ratio" for x in ("", "discrete_")]
    ratios.append("log_subdistribution_hazard_ratio")
    for row in results.rows:
        if row.estimand in ratios:
            family = row.term.split("=")[0]
        elif row.estimand in ("log_rank", "gray"):
            family = row.term
        elif row.estimand == "equal_means":
            family = None
        elif row.estimand == "log_rate_ratio":
            family = row.segment
        elif row.baseline is not None:
            family = row.segment, row.at, row.term
        else:
            assert row.p_adjusted is None
            continue
        families.setdefault((row.estimand, family), []).append(row)
    for rows in families.values():
        assert [r.p_adjusted for r in rows] == holm([r.p_value for r in rows])
    sizes = {family: len(rows) for family, rows in families.items()}
    for estimand in ratios:
        assert (sizes[estimand, "market"], sizes[estimand, "age"]) == (2, 1)
    assert sizes["log_rate_ratio", "market"] == 2
    # Over the cohorts and the markets.
    assert sizes["log_rank", "plain"] == sizes["gray", "orders"] == sizes["gray", "refunds"] == 2


def test_tests_of_further_orders_say_what_they_compare(split, results):
    base = split.groupby("market").size().drop("(other)").idxmax()
    row = results.one(estimand="equal_means")
    assert (row.segment, row.baseline, row.at) == ("market", base, str(HORIZON))
    rows = results.where(estimand="log_rate_ratio").rows
    assert {(r.segment, r.baseline, r.term) for r in rows} == {
        ("market", base, f"market={r.level}") for r in rows
    }
    assert {r.level for r in rows} == set(split["market"]) - {base}


def test_days_until_a_share_came_first_are_where_its_incidence_gets_there(results):
    seen = 0
    for row in results.where(estimand="survival_quantile").rows:
        place = {"segment": row.segment, "level": row.level}
        share = results.where(estimand="cumulative_incidence", term="orders", **place).rows
        if row.estimate is None:
            assert row.note.partition(":")[0] in ("few_left", "covered", "not_reached")
            assert all(r.estimate < float(row.term) for r in share)
            continue
        seen += 1
        p = float(row.term)
        first = next(r for r in share if r.estimate >= p - 1e-9)
        if first.estimate == pytest.approx(p):  # the middle of the days on which it is p
            assert row.estimate >= int(first.at)
        else:
            assert row.estimate == int(first.at)
        assert "Aalen-Johansen" in row.method
        # The curve's own interval, turned round.
        assert row.ci_low == next(int(r.at) for r in share if (r.ci_high or 0.0) >= p)
    assert seen >= 3


def test_no_number_of_a_group_that_is_too_small_is_shown_nor_follows_from_the_others(results):
    """At risk on a day, or matured: everyone less the groups that are shown is 0, or enough."""
    whole, parts = {}, {}
    for row in results.where(estimand=["hazard", "retention"]).rows:
        if row.term == "unbounded":  # of cohorts only
            assert not row.n or row.n >= MIN
            continue
        key = row.estimand, row.term, row.at
        if row.segment is None:
            whole[key] = row.n or 0
        else:
            assert not row.n or row.n >= MIN
            parts.setdefault((key, row.segment), []).append(row.n or 0)
    for row in results.where(estimand=["survival_quantile", "rmst", "rmst_difference"]).rows:
        if row.segment is None:
            continue
        own = {"segment": row.segment, "level": row.level}
        curve = results.where(estimand="survival", **own).rows
        last = max((int(r.at) for r in curve), default=0)
        for number in (row.estimate, row.ci_low, row.ci_high):
            day = row.at if row.estimand != "survival_quantile" else number
            assert number is None or float(day) <= last
    assert len(whole) > HORIZON
    for (key, segment), shown in parts.items():
        left = whole[key] - sum(shown)
        assert left == 0 or left >= MIN, (key, segment)


def test_everyones_retention_has_the_error_between_cohorts(split, results):
    row = results.one(estimand="retention", segment=None, term="bracket", at="1-30")
    counts = [active(part, "bracket", 1, 30) for _, part in split.groupby("cohort")]
    n, x = np.array([c for c in counts if c[0]], float).T
    share = x.sum() / n.sum()
    spread = ((x - share * n) ** 2 / (1 - n / n.sum())).sum()
    assert row.std_error == pytest.approx(np.sqrt(spread) / n.sum(), **CLOSE)
    assert row.ci_low < share < row.ci_high
