from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from retention_lab.twin import COMEBACK_COUPON, draw

SMALL = dataclasses.replace(COMEBACK_COUPON, customers=3_000)
STREAMS = draw.Streams(5)


@pytest.fixture(scope="module")
def customers():
    return draw.draw_customers(SMALL, STREAMS)


def test_streams_are_apart_and_repeat():
    assert STREAMS("a").random() == draw.Streams(5)("a").random()
    values = {draw.Streams(s)(n).random() for s in (5, 6) for n in ("a", "b", "ab", "aa")}
    assert len(values) == 8


def test_arms_are_drawn_by_share():
    arms = tuple(
        dataclasses.replace(a, share=s) for a, s in zip(SMALL.arms, (2, 1, 1), strict=True)
    )
    c = draw.draw_customers(dataclasses.replace(SMALL, arms=arms, customers=40_000), STREAMS)
    share = np.bincount(c.arm) / 40_000
    assert share == pytest.approx([0.5, 0.25, 0.25], abs=4.5 * 0.0025)


def test_traffic_falls_by_40_to_70_percent_within_days(customers):
    c = draw.draw_customers(dataclasses.replace(SMALL, customers=100_000), STREAMS)
    start = c.exposed.min() // draw.DAY
    by_day = np.bincount(c.exposed // draw.DAY - start)
    assert len(by_day) == SMALL.enrol_days
    assert 0.40 < 1 - by_day[2] / by_day[0] < 0.70
    assert 0.40 < 1 - by_day[3] / by_day[0] < 0.70


def test_nobody_is_exposed_before_the_first_order(customers):
    assert (customers.exposed - customers.first_order >= 3_600).all()
    newest = (customers.exposed - customers.first_order)[customers.acquired]
    assert newest.max() <= 3 * draw.DAY + 3_600


def test_history_lies_between_first_order_and_exposure(customers):
    history = draw.draw_history(SMALL, STREAMS, customers)
    assert (history.at >= customers.first_order[history.who]).all()
    assert (history.at <= customers.exposed[history.who]).all()
    assert (history.discount == 0).all()


def test_everyone_has_a_first_order(customers):
    first = draw.draw_first(SMALL, STREAMS, customers)
    assert (first.who == np.arange(SMALL.customers)).all()
    assert (first.at == customers.first_order).all()
    assert (first.discount == 0).all()


def test_orders_lie_after_the_exposure(customers):
    orders = draw.draw_orders(SMALL, STREAMS, customers)
    elapsed = orders.at - customers.exposed[orders.who]
    assert elapsed.min() >= 1
    assert elapsed.max() <= SMALL.horizon * draw.DAY


def test_a_coupon_is_used_once_on_the_first_order_that_is_large_enough(customers):
    orders = draw.draw_orders(SMALL, STREAMS, customers)
    used = np.flatnonzero(orders.discount > 0)
    assert len(used) > 50
    assert len(set(orders.who[used])) == len(used)
    first = np.full(SMALL.customers, draw.NEVER)
    np.minimum.at(first, orders.who, orders.at)
    assert (orders.at[used] == first[orders.who[used]]).all()
    assert (orders.revenue[used] >= 60).all()
    value = np.array([a.coupon for a in SMALL.arms])[customers.arm[orders.who[used]]]
    assert (orders.discount[used] == value).all()
    assert set(customers.arm[orders.who[used]]) == {1, 2}


def test_no_orders_at_all():
    lonely = dataclasses.replace(SMALL, customers=1, history_pace=1e-12, pace=((180, 1e-9),))
    c = draw.draw_customers(lonely, STREAMS)
    c = dataclasses.replace(c, rate=np.zeros(1))
    assert len(draw.draw_orders(lonely, STREAMS, c).who) == 0
    history = draw.draw_history(lonely, STREAMS, c)
    assert len(history.who) == 0
    assert draw.TIERS[draw.tier_of(c, history)[0]] in ("new", "silent", "growing")


def test_some_parcels_are_late(customers):
    region = customers.region
    promised, delivered = draw.draw_parcels(SMALL, STREAMS, "x", region, customers.exposed)
    late = np.mean(delivered > promised)
    assert late == pytest.approx(SMALL.late, abs=4.5 * np.sqrt(0.12 * 0.88 / 3_000))
    assert (delivered > customers.exposed).all()
    days = (promised - customers.exposed) / draw.DAY
    assert set(days) == {r.delivery_days for r in SMALL.regions}


def test_refunds_follow_delivery_and_never_exceed_the_order(customers):
    revenue = np.full(3_000, 50.0)
    at, amount = draw.draw_refunds(SMALL, STREAMS, "x", customers.exposed, revenue)
    back = at < draw.NEVER
    assert back.mean() == pytest.approx(0.17, abs=4.5 * np.sqrt(0.17 * 0.83 / 3_000))
    assert (at[back] > customers.exposed[back]).all()
    assert set(amount[back]) == {25.0, 50.0}


def test_tiers_and_which_one_wins():
    day = draw.DAY
    tenure = np.array([10, 400, 400, 400, 20])
    c = draw.Customers(
        region=np.zeros(5, dtype=int),
        market=np.zeros(5, dtype=int),
        channel=np.zeros(5, dtype=int),
        arm=np.zeros(5, dtype=int),
        acquired=np.zeros(5, dtype=bool),
        exposed=np.full(5, 1_000 * day),
        first_order=(1_000 - tenure) * day,
        rate=np.ones(5),
        taste=np.ones(5),
        silent=np.zeros(5, dtype=int),
        redeemed=np.zeros(5, dtype=bool),
        under=np.zeros(5, dtype=int),
    )
    who = np.array([1] * 6 + [2] * 5 + [3] + [4] * 6)  # customer 1: many orders, all long ago
    ago = np.array([100] * 6 + [100, 1, 50, 60, 70] + [89] + [2] * 6)
    at = (1_000 - ago) * day
    none = np.zeros(len(who))
    tiers = draw.tier_of(c, draw.Orders(who, at, np.ones(len(who)), none, none))
    assert [draw.TIERS[t] for t in tiers] == ["new", "silent", "mature", "growing", "new"]


def test_ids_are_opaque_and_never_collide():
    text = draw.opaque(STREAMS, "customers", np.arange(200_000))
    ids = {row.tobytes() for row in text}
    assert len(ids) == 200_000
    assert all(i.startswith(b"c") for i in ids)
    first = [int(row[1:].tobytes(), 16) for row in text[:1_000]]
    assert abs(np.corrcoef(first, np.arange(1_000))[0, 1]) < 4.5 / np.sqrt(1_000)


def test_an_id_depends_on_the_position_alone():
    some = draw.opaque(STREAMS, "orders", np.array([7, 3]))
    alone = draw.opaque(STREAMS, "orders", np.array([3]))
    assert some[1].tobytes() == alone[0].tobytes()
