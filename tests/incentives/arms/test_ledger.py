"""The ledger: Hillstrom's e-mail by its published closed forms, and small cases by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from arm_rows import moments_of
from records import records

from retention_lab.incentives.arms import ledger as book
from retention_lab.incentives.arms.ledger import Terms, ledger
from retention_lab.incentives.arms.means import Contrast, Means, contrast


def lines(columns, found, terms, alpha=0.05):
    made = ledger(columns, found, terms, alpha)
    assert len({x.estimand for x in made}) == len(made)
    return {x.estimand: x for x in made}


def of_moments(means, variances, n, k=1):
    """A contrast of independent columns, from their means and unit variances by arm."""
    zero = np.zeros((k, k))
    arms = [
        Means(np.array(m, float), np.diag(v) / size, size, size)
        for m, v, size in zip(means, variances, n, strict=True)
    ]
    return Contrast(*arms, zero, zero, zero)


@pytest.mark.parametrize("arm", ["Mens E-Mail", "Womens E-Mail"])
@pytest.mark.parametrize(("margin", "cost"), [(0.3, 0.05), (0.5, 0.1)])
def test_hillstroms_ledger_is_the_closed_form(golden, arm, margin, cost):
    """From the arm means and variances of the reference file: no data is needed."""
    facts = golden["hillstrom_arm_means"]
    arms = (arm, "No E-Mail")
    found = of_moments(
        [[facts["means"][a]["spend"]] for a in arms],
        [[facts["var_ddof1"][a]["spend"]] for a in arms],
        [facts["n"][a] for a in arms],
    )
    made = lines((book.REVENUE,), found, Terms(margin, contact=cost))
    expected = golden["hillstrom_roi"]["values"][f"{arm}|margin={margin},cost={cost}"]
    profit = made["incremental_profit"]
    assert profit.estimate == pytest.approx(expected["inc_profit_per_recipient"], rel=1e-9)
    assert profit.std_error == pytest.approx(expected["se"], rel=1e-9)
    roi = made["roi"]
    assert roi.estimate == pytest.approx(expected["roi_per_dollar"], rel=1e-9)
    assert (roi.low, roi.high) == pytest.approx(tuple(expected["roi_ci95"]), rel=1e-9)
    assert made["margin_per_dollar"].estimate == pytest.approx(roi.estimate + 1)
    assert made["break_even_cost"].estimate == pytest.approx(expected["breakeven_cost"], rel=1e-9)
    ratio = made["revenue_ratio"]
    assert ratio.estimate == pytest.approx(expected["ratio"], rel=1e-9)
    assert ratio.std_error == pytest.approx(expected["ratio_se_delta"], rel=1e-9)
    assert (ratio.low, ratio.high) == pytest.approx(tuple(expected["ratio_ci_fieller"]), rel=1e-9)


def test_hillstroms_ledger_from_its_rows(hillstrom, golden):
    rows = [r for r in records(hillstrom) if r["treatment"] != "Womens E-Mail"]
    m = moments_of(
        {"arm": [r["treatment"] for r in rows]}, {"revenue": [float(r["spend"]) for r in rows]}
    )
    found = contrast(m, m.cell("Mens E-Mail"), m.cell("No E-Mail"), ("revenue",))
    made = lines((book.REVENUE,), found, Terms(0.3, contact=0.05))
    assert made["incremental_profit"].estimate == pytest.approx(0.180948, abs=5e-7)
    assert made["incremental_profit"].std_error == pytest.approx(0.043574, abs=5e-7)


def shop(n=5000, seed=1, effect=0.06):
    """Rows of a coupon test: what each customer spent, sent back, redeemed, and whether bought."""
    rng = np.random.default_rng(seed)
    arm = np.where(rng.random(n) < 0.5, "coupon", "none")
    treated = arm == "coupon"
    u = rng.random(n)
    bought = (u < 0.2 + effect * treated).astype(float)
    redeemed = (treated & (bought > 0) & (rng.random(n) < 0.5)).astype(float)
    redeemed[treated & (u >= 0.2) & (bought > 0)] = 1.0  # those whom it made buy
    revenue = bought * rng.lognormal(4, 0.5, n)
    returns = revenue * (rng.random(n) < 0.15)
    return {
        "arm": arm, "revenue": revenue, "returns": returns,
        "redeemed": redeemed, "bought": bought,
    }  # fmt: skip


NAMES = (book.REVENUE, book.RETURNS, book.REDEEMED, book.BOUGHT)


def test_every_line_is_that_of_a_profit_worked_out_for_each_customer():
    d = shop()
    m = moments_of({"arm": d["arm"]}, {k: d[k] for k in NAMES})
    terms = Terms(margin=0.4, contact=0.2, redemption=5.0)
    made = lines(NAMES, contrast(m, 0, 1, NAMES), terms)
    treated = d["arm"] == "coupon"
    margin = 0.4 * (d["revenue"] - d["returns"])
    cost = 0.2 * treated + 5.0 * d["redeemed"]

    def difference(x):
        a, b = x[treated], x[~treated]
        return a.mean() - b.mean(), np.sqrt(a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))

    for name, x in (
        ("incremental_revenue", d["revenue"]),
        ("incremental_returns", d["returns"]),
        ("incremental_margin", margin),
        ("incremental_cost", cost),
        ("incremental_profit", margin - cost),
        ("break_even_cost", margin - 5.0 * d["redeemed"]),
    ):
        estimate, error = difference(x)
        assert made[name].estimate == pytest.approx(estimate, rel=1e-9), name
        assert made[name].std_error == pytest.approx(error, rel=1e-9), name
    per_dollar = made["margin_per_dollar"]
    assert per_dollar.estimate == pytest.approx(difference(margin)[0] / difference(cost)[0])
    # Both ends of Fieller's interval are just rejected by the test of margin - ratio x cost.
    for end in (per_dollar.low, per_dollar.high):
        estimate, error = difference(margin - end * cost)
        assert abs(estimate) / error == pytest.approx(1.959964, rel=1e-6)
    assert made["roi"].low == pytest.approx(per_dollar.low - 1)
    steps = made["incremental_margin"].estimate - made["cost_contact"].estimate
    steps -= made["cost_redemption"].estimate
    assert made["incremental_profit"].estimate == pytest.approx(steps)
    beyond = margin - 2.0 * cost
    estimate, error = difference(beyond)
    from statistics import NormalDist

    chance = made["probability_above_min_roi"].estimate
    assert chance == pytest.approx(NormalDist().cdf(estimate / error), abs=1e-9)


def test_redeemers_who_would_have_bought_anyway_are_known_where_the_truth_is():
    """In this shop everyone whom the coupon made buy redeems, so the bound is exact."""
    d = shop(n=200_000, seed=4)
    m = moments_of({"arm": d["arm"]}, {k: d[k] for k in NAMES})
    found = lines(NAMES, contrast(m, 0, 1, NAMES), Terms(0.4))["redeemed_anyway"]
    truth = 0.2 * 0.5 / (0.2 * 0.5 + 0.06)
    assert found.low < truth < found.high
    assert found.estimate == pytest.approx(truth, abs=4 * found.std_error)
    assert found.note.startswith("at_least")


def window_shoppers(n, seed, only=0.3, forgets=0.4):
    """A shop in which many redeem (a free gift, say) and do not buy; and the truth.

    Of every customer both lives are drawn. Those whom the coupon makes buy redeem it; of those who
    buy anyway some forget to (`forgets`), and `only` of the others redeem and leave.
    """
    rng = np.random.default_rng(seed)
    arm = np.where(rng.random(n) < 0.5, "coupon", "none")
    treated = arm == "coupon"
    u = rng.random(n)
    always, made = u < 0.2, (u >= 0.2) & (u < 0.26)
    would = made | (always & (rng.random(n) >= forgets))
    would |= ~always & ~made & (rng.random(n) < only)
    bought = (always | (made & treated)).astype(float)
    d = {"arm": arm, "revenue": 50 * bought, "returns": 0 * bought,
         "redeemed": (would & treated).astype(float), "bought": bought}  # fmt: skip
    share = 0.2 * (1 - forgets)
    return d, share / (share + 0.06 + 0.74 * only)


def anyway_of(d):
    m = moments_of({"arm": d["arm"]}, {k: d[k] for k in NAMES})
    return lines(NAMES, contrast(m, 0, 1, NAMES), Terms(0.4))["redeemed_anyway"]


def test_who_redeems_and_leaves_would_not_have_bought_anyway():
    """1 - (p1 - p0) / r would say 0.85 here; of the redeemers 0.30 would have bought."""
    d, truth = window_shoppers(400_000, 7)
    found = anyway_of(d)
    treated = d["arm"] == "coupon"
    r, p1, p0 = (d[k][a].mean() for k, a in
                 (("redeemed", treated), ("bought", treated), ("bought", ~treated)))  # fmt: skip
    assert 1 - (p1 - p0) / r > truth + 0.4
    assert found.estimate == pytest.approx(truth, abs=4 * found.std_error)
    # The error is that of x - share r over customers, x being minus a purchase without redeeming.
    own = -d["bought"] * (1 - d["redeemed"]) - found.estimate * d["redeemed"]
    error = np.sqrt(sum(v.var(ddof=1) / len(v) for v in (own[treated], d["bought"][~treated]))) / r
    assert found.std_error == pytest.approx(error, rel=1e-9)


def test_intervals_of_redeemers_who_would_have_bought_hold_the_truth():
    """Coverage over 400 shops: 0.95 less four Monte-Carlo errors at least."""
    held = []
    for seed in range(400):
        d, truth = window_shoppers(3000, seed)
        found = anyway_of(d)
        held.append(found.low <= truth <= found.high)
    assert abs(np.mean(held) - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 400)


def test_redeemers_who_would_have_bought_are_not_told_of_where_nobody_knows():
    d, _ = window_shoppers(4000, 3)
    twice = {**d, "redeemed": 2 * d["redeemed"]}
    assert anyway_of(twice).estimate is None
    assert anyway_of(twice).note.startswith("not_together: ")
    m = moments_of({"arm": d["arm"]}, {k: d[k] for k in NAMES})
    both = contrast(m, 0, 1, NAMES)
    shared = np.full((4, 4), 1e-9)
    for found in (
        dataclasses.replace(both, shared_arm=shared),
        dataclasses.replace(both, groups=40),
        dataclasses.replace(both, arm=dataclasses.replace(both.arm, n=40)),
    ):
        line = lines(NAMES, found, Terms(0.4))["redeemed_anyway"]
        assert line.estimate is None
        assert line.note.startswith("not_together: ")


def test_a_control_that_redeems_is_counted():
    leak = of_moments([[5.0, 0.1], [4.0, 0.3]], [[9.0, 0.09], [9.0, 0.21]], (400, 400), 2)
    made = lines((book.REVENUE, book.REDEEMED), leak, Terms(0.3, redemption=5.0))
    assert made["control_redemption_rate"].estimate == pytest.approx(0.3)
    assert made["control_redemption_rate"].std_error == pytest.approx(np.sqrt(0.21 / 400))


def test_what_cannot_be_told_says_why():
    free = of_moments([[5.0], [4.0]], [[9.0], [9.0]], (400, 400))
    made = lines((book.REVENUE,), free, Terms(0.3))
    assert made["roi"].estimate is None
    assert made["roi"].note.startswith("no_cost")
    assert made["incremental_profit"].estimate == pytest.approx(0.3)

    loses = lines((book.REVENUE,), free, Terms(-0.1, contact=0.1))
    assert loses["incremental_margin"].note.startswith("negative_margin")
    assert loses["roi"].estimate == pytest.approx(-0.1 / 0.1 - 1)

    tiny = of_moments([[5.0], [4.0]], [[9.0], [9.0]], (10, 400))
    made = lines((book.REVENUE,), tiny, Terms(0.3, contact=0.1))
    assert made["roi"].estimate == pytest.approx(2.0)
    assert all(x.low is None and x.p_value is None for x in made.values())
    assert made["incremental_profit"].note.startswith("too_few_units")

    pair = (book.REVENUE, book.REDEEMED)
    nobody = of_moments([[5.0, 0.0], [4.0, 0.0]], [[9.0, 0.0], [9.0, 0.0]], (400, 400), 2)
    made = lines(pair, nobody, Terms(0.3, redemption=5.0))
    assert made["redemption_rate"].note.startswith("nobody_redeems")
    assert made["roi"].note.startswith("no_cost")

    leak = of_moments([[5.0, 0.1], [4.0, 0.3]], [[9.0, 0.09], [9.0, 0.2]], (400, 400), 2)
    made = lines(pair, leak, Terms(0.3, redemption=5.0))
    assert made["cost_redemption"].note.startswith("control_redeems")
    assert made["roi"].note.startswith("cost_negative")

    unsure = of_moments([[5.0, 0.05], [4.0, 0.04]], [[9.0, 0.05], [9.0, 0.04]], (400, 400), 2)
    made = lines(pair, unsure, Terms(0.3, redemption=5.0))
    assert made["roi"].low is None
    assert made["roi"].note.startswith("cost_not_above_zero")

    empty = of_moments([[np.nan], [4.0]], [[np.nan], [9.0]], (400, 400))
    made = lines((book.REVENUE,), empty, Terms(0.3, contact=0.1))
    assert made["roi"].note.startswith("empty_arm")

    zero = of_moments([[5.0], [0.0]], [[9.0], [0.0]], (400, 400))
    made = lines((book.REVENUE,), zero, Terms(0.3, contact=0.1))
    assert made["revenue_ratio"].note.startswith("zero_baseline")


def test_revenue_of_a_handful_of_customers_is_said_to_be_one():
    """n mean^2 / (mean^2 + variance): 400 / (1 + 99) = 4 customers in effect, and 8.

    Eight are enough beside eight others, whose skewness takes theirs off; not where they make all
    of the error; 32 are.
    """
    few = of_moments([[1.0], [1.0]], [[99.0], [99.0]], (400, 400))
    enough = of_moments([[1.0], [1.0]], [[49.0], [49.0]], (400, 400))
    alone = of_moments([[1.0], [1.0]], [[49.0], [49.0]], (400, 8000))
    more = of_moments([[1.0], [1.0]], [[49.0], [49.0]], (1600, 32000))
    for found, said in ((few, True), (enough, False), (alone, True), (more, False)):
        made = lines((book.REVENUE,), found, Terms(0.3, contact=0.1))
        for name in ("incremental_profit", "margin_per_dollar", "incremental_revenue"):
            assert (made[name].note or "").startswith("few_buyers") == said, name


def test_a_ratio_of_constants_has_no_interval():
    same = of_moments([[5.0], [4.0]], [[0.0], [0.0]], (400, 400))
    ratio = lines((book.REVENUE,), same, Terms(0.3, contact=0.1))["revenue_ratio"]
    assert (ratio.estimate, ratio.std_error, ratio.low) == (1.25, None, None)
    assert ratio.note.startswith("zero_variance")


def test_a_margin_of_nothing_is_known_to_the_digit():
    """No margin, whatever is sold: its ratio to the cost is 0 without an error, not one of 0."""
    found = of_moments([[5.0, 0.2], [4.0, 0.0]], [[9.0, 0.16], [9.0, 0.0]], (400, 400), 2)
    made = lines((book.REVENUE, book.REDEEMED), found, Terms(0.0, 0.1, 5.0))
    for name, value in (("margin_per_dollar", 0.0), ("roi", -1.0)):
        line = made[name]
        assert (line.estimate, line.std_error, line.low, line.high) == (value, None, value, value)
    assert made["incremental_margin"].std_error is None
    assert made["incremental_profit"].std_error > 0
