"""Customers won in a promotion against other new ones: existing customers are in neither group."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from cohort_shop import FIRST, Shop, analysed, planned, random_shop, study
from cohort_shop import write as save
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from statsmodels.duration.survfunc import survdiff

import retention_lab as rl
from retention_lab.data.lifetable import LifeTable, merge
from retention_lab.data.lives import saved
from retention_lab.errors import DataError
from retention_lab.survival.views import (
    OTHER,
    among,
    known_on,
    pooled,
    reference_of,
    small_levels,
    views,
)
from retention_lab.texts.lives import level_label, split_label

SINCE, BEGIN, END = 40, 60, 90  # days: who comes before the first is existing


def day(n):
    return FIRST + dt.timedelta(days=n)


SALE = {"name": "sale", "from": day(BEGIN), "to": day(END)}
SPLIT = {"promotion": SALE, "existing": day(SINCE)}


def group(origin):
    """The promotion's level by a plain rule."""
    return "existing" if origin < SINCE else "sale" if BEGIN <= origin <= END else "rest"


def by_hand():
    """Seven customers: origins on both sides of every edge, and who came back by day 10."""
    origin = [SINCE - 1, SINCE, BEGIN - 1, BEGIN, END, END + 1, 0]
    orders = [[3], [], [5], [2], [], [9], []]
    return Shop(origin, orders)


def test_counts_of_a_small_case_by_hand(tmp_path):
    plan = study(tmp_path, by_hand(), min_cell=1, horizon="10d", **SPLIT)
    cohorts = rl.reduce_cohorts(plan)
    sizes = {level: part.size for (level,), part in cohorts.life.parts("promotion")}
    assert sizes == {"existing": 2, "rest": 3, "sale": 2}
    results = analysed(plan)
    found = results.where(estimand="customers", segment="promotion").rows
    assert {r.level: r.n for r in found} == {"rest": 3, "sale": 2}
    found = results.where(estimand="customers", segment="customers").rows
    assert {r.level: r.n for r in found} == {"existing": 2, "new": 5}
    # Of the sale's two one came back, of the rest's three two; of the existing one of two.
    gap = results.one(estimand="survival_difference", segment="promotion", at="10")
    assert (gap.level, gap.baseline, gap.n, gap.n_baseline) == ("sale", "rest", 2, 3)
    assert gap.estimate == pytest.approx(1 / 2 - 1 / 3)
    # Polluted by existing customers it would have been 1/2 - 2/5.
    assert not any(r.level == "existing" for r in results.where(segment="promotion").rows)


def test_without_existing_customers_the_rest_is_everyone_else(tmp_path):
    plan = study(tmp_path, by_hand(), min_cell=1, horizon="10d", promotion=SALE)
    found = analysed(plan).where(estimand="customers", segment="promotion").rows
    assert {r.level: r.n for r in found} == {"rest": 5, "sale": 2}


def test_a_first_order_before_makes_a_customer_existing_whenever_it_was(tmp_path):
    """With an origin that is no first order, `existing: true`: those who had ordered before."""
    shop = Shop([BEGIN] * 3 + [BEGIN - 5], [[4], [], [6], []])
    tables = shop.tables()
    when = dt.datetime.combine(day(BEGIN), dt.time(9))
    units = {"who": ["c0", "c1", "c2", "c3"], "joined": [when] * 3 + [when - dt.timedelta(5)]}
    tables["units"] = pa.table(units)
    early = {"who": ["c2"], "at": [when - dt.timedelta(days=30)], "value": [1.0]}
    table = pa.Table.from_pydict(early, schema=tables["orders"].schema)
    tables["orders"] = pa.concat_tables([tables["orders"], table])
    save(tmp_path, tables)
    data = {
        "events": {"orders": {"table": "orders.parquet", "at": "at"}},
        "units": "units.parquet",
        "as_of": dt.date(2026, 6, 30),
    }
    section = {"unit": "who", "origin": "joined", "event": "next orders", "horizon": "10d"}
    section |= {"same_day": "origin", "promotion": SALE, "existing": True}
    life = rl.reduce_cohorts(planned(tmp_path, "joined", data, 1, section)).life
    sizes = {level: part.size for (level,), part in life.parts("promotion")}
    assert sizes == {"sale": 2, "existing": 1, "rest": 1}


MANY = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@MANY
@given(st.lists(st.integers(0, 130), min_size=1, max_size=60), st.integers(1, 6))
def test_levels_partition_customers_and_merge(tmp_path, origins, cut):
    shop = Shop(origins, [[]] * len(origins))
    split = {**SPLIT, "existing": day(SINCE)}
    plan = study(tmp_path, shop, min_cell=1, **split)
    life = rl.reduce_cohorts(plan).life
    found = {level: part.size for (level,), part in life.parts("promotion")}
    assert found == Counter(map(group, origins))
    new = {k: part.size for k, part in life.parts("promotion", "customers")}
    assert all((level == "existing") == (who == "existing") for level, who in new)
    where = range(len(origins))
    parts = [[i for i in where if i % (cut + 1) == k] for k in range(cut + 1)]
    lives = [rl.reduce_cohorts(study(tmp_path, shop.part(p), **split)).life for p in parts if p]
    again = {level: part.size for (level,), part in merge(*lives).parts("promotion")}
    assert again == found


@pytest.fixture(scope="module")
def shop():
    return dataclasses.replace(random_shop(5, 500), refunds=())


@pytest.fixture(scope="module")
def study_of(shop, tmp_path_factory):
    plan = study(tmp_path_factory.mktemp("promotion"), shop, value="value", **SPLIT)
    return plan, analysed(plan)


def test_every_row_of_the_comparison_is_that_of_new_customers_alone(shop, study_of, tmp_path):
    """The same numbers as of a shop that existing customers never went to."""
    kept = [i for i, origin in enumerate(shop.origin) if origin >= SINCE]
    alone = analysed(study(tmp_path, shop.part(kept), value="value", promotion=SALE))
    _, results = study_of
    wanted = alone.where(segment="promotion").rows
    found = {
        (r.estimand, r.level, r.term, r.at, r.baseline): r
        for r in results.where(segment="promotion").rows
    }
    compared = 0
    for r in wanted:
        own = found[r.estimand, r.level, r.term, r.at, r.baseline]
        if r.estimand == "bracket" or own.note != r.note:
            continue
        for name in ("estimate", "std_error", "ci_low", "ci_high", "p_value", "n"):
            a, b = getattr(own, name), getattr(r, name)
            assert a == (b if b is None else pytest.approx(b, rel=1e-9, abs=1e-12)), r
        compared += 1
    assert compared > 0.95 * len(wanted)
    kinds = {r.estimand for r in wanted}
    assert {
        "survival_difference",
        "log_rank",
        "retention",
        "log_rate_ratio",
        "equal_means",
    } <= kinds


def test_the_test_over_groups_is_statsmodels_of_new_customers(shop, study_of):
    people = shop.people().assign(group=[group(o) for o in shop.origin])
    new = people[people["group"] != "existing"]
    chi2, p = survdiff(new["stop"], (new["cause"] == 1).astype(int), new["group"])
    row = study_of[1].one(estimand="log_rank", segment="promotion", term="plain")
    assert (row.estimate, row.p_value) == pytest.approx((chi2, p), rel=1e-9)


def test_the_model_has_one_factor_of_three_levels(study_of):
    terms = {r.term for r in study_of[1].where(estimand="log_hazard_ratio").rows}
    assert terms == {"promotion=existing", "promotion=sale"}


def life_of(sizes):
    levels = [level for level, n in sizes.items() for _ in range(n)]
    known = ["existing" if v == "existing" else "new" for v in levels]
    n = len(levels)
    columns = {"promotion": np.array(levels, object), "customers": np.array(known, object)}
    columns["cohort"] = np.array(["2026-01"] * n, object)
    return LifeTable.of(np.arange(n) % 9 + 1.0, np.arange(n) % 2, split=columns)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=4, max_size=4).filter(lambda n: sum(n) > 0),
    st.integers(1, 20),
)
def test_no_few_customers_follow_from_what_is_shown(study_of, counts, min_cell):
    """Shown: everyone, new and existing, and the promotion's groups, on every day."""
    plan = study_of[0]
    spec = plan.spec.model_copy(
        update={"privacy": plan.spec.privacy.model_copy(update={"min_cell": min_cell})}
    )
    plan = dataclasses.replace(plan, spec=spec)
    sizes = dict(zip(("existing", "rest", "sale", "spring"), counts, strict=True))
    raw = life_of(sizes)
    if raw.size < min_cell:
        return
    life = pooled(raw, small_levels(raw, min_cell, keep=None))
    found = {v.key: v for v in views(plan, life)}
    days = np.arange(int(raw.stop.max()) + 2)  # later on no curve goes
    whole = known_on(life, days)
    told = {}
    for key in ("promotion", "customers"):
        groups = found[key].groups if key in found else ()
        assert "existing" not in {g.level for g in groups} or key == "customers"
        for g in groups:
            n = known_on(g.life, days)
            told[key, g.level] = [None if d in g.hidden else int(n[d]) for d in days]
    for d in days:
        of = {k: v[d] for k, v in told.items()}
        known = [of[k] for k in of if k[0] == "customers" and of[k] is not None]
        shares = [of[k] for k in of if k[0] == "promotion" and of[k] is not None]
        odd = [n for n in (*known, *shares) if 0 < n < min_cell]
        assert not odd
        # What is left of everyone, of the new ones, and of both, after what is shown.
        left = [whole[d] - sum(known), whole[d] - sum(shares)]
        new = of.get(("customers", "new"))
        left += [new - sum(shares)] if new is not None and OTHER not in dict(told) else []
        if whole[d] >= min_cell:
            assert not [n for n in left if 0 < n < min_cell], (d, of, left)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ({"existing": 30, "rest": 20, "sale": 20}, {}),
        ({"existing": 3, "rest": 20, "sale": 20}, {"existing", "rest"}),
        ({"existing": 30, "rest": 20, "sale": 3}, {"sale", "rest"}),
        ({"existing": 3, "rest": 1, "sale": 20}, {"existing", "rest", "sale"}),
        ({"existing": 30, "rest": 20, "sale": 3, "spring": 9}, {"sale", "spring"}),
        ({"rest": 20, "sale": 20}, {}),
    ],
)
def test_which_groups_count_as_one(sizes, expected):
    assert set(small_levels(life_of(sizes), 10, keep=None).get("promotion", ())) == set(expected)


def test_existing_customers_are_never_what_a_promotion_is_compared_with():
    assert reference_of("promotion", {"existing": 90, "sale": 5, OTHER: 9}) == "sale"
    assert reference_of("market", {"existing": 90, "sale": 5}) == "existing"


def test_among_leaves_tables_of_all_kinds_to_new_customers(study_of):
    plan, _ = study_of
    cohorts = rl.reduce_cohorts(plan)
    view = next(v for v in views(plan, cohorts.life) if v.key == "promotion")
    new = sum(part.size for (v,), part in cohorts.life.parts("promotion") if v != "existing")
    assert among(cohorts.life, view).size == new
    assert int(among(cohorts.repeats, view).customers.sum()) == new
    assert int(among(cohorts.activity, view).customers.sum()) == new
    other = next(v for v in views(plan, cohorts.life) if v.key == "customers")
    assert among(cohorts.life, other) is cohorts.life


def test_a_saved_table_of_the_other_meaning_does_not_fit(study_of, tmp_path):
    plan, _ = study_of
    life = rl.reduce_cohorts(plan).life
    said = json.loads(life.definition)
    assert said.pop("rest") == "new customers"
    old = dataclasses.replace(life, definition=json.dumps(said, sort_keys=True))
    old.save(tmp_path / "old.parquet")
    with pytest.raises(DataError, match="rest: None there, new customers in the file"):
        saved(plan.spec, [tmp_path / "old.parquet"])


@pytest.mark.parametrize(
    ("language", "split", "rest"),
    [
        ("en", "How new customers were won", "all other new customers"),
        ("zh", "新客户的获客来源", "其他新客户"),
    ],
)
def test_the_words_say_who_is_compared(study_of, language, split, rest):
    spec = study_of[0].spec
    assert split_label(spec, "promotion", language) == split
    assert level_label(spec, "rest", language) == rest
    plain = spec.model_copy(
        update={"survival": spec.survival.model_copy(update={"existing": False})}
    )
    assert split_label(plain, "promotion", language) != split
    assert level_label(plain, "rest", language) != rest


def test_sizes_are_those_of_a_plain_loop(shop, study_of):
    rows = study_of[1].where(estimand="customers", segment="promotion").rows
    sizes = Counter(map(group, shop.origin))
    assert {r.level: r.n for r in rows} == {k: sizes[k] for k in ("sale", "rest")}
