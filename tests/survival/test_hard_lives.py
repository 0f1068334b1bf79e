"""Nasty shops through the pipeline: a defined answer each, with its reason, and a way on."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from cohort_shop import (
    AS_OF,
    EXPOSED,
    HORIZON,
    NOON,
    ORDERS,
    Shop,
    analysed,
    planned,
    random_shop,
    study,
    write,
)

import retention_lab as rl
from retention_lab.errors import PlanError
from retention_lab.results import NUMBER_COLUMNS

N = 60
MARKETS = ["A", "B"] * (N // 2)
SOME = [[1 + (i * 7) % 23] if i % 3 else [] for i in range(N)]
NUMBERS = [float(i % 7) for i in range(N)]


def shop(orders=SOME, origin=0, refunds=(), **columns):
    origins = [origin] * N if isinstance(origin, int) else origin
    return Shop(origins, orders, refunds, {"market": MARKETS, **columns})


def notes(results, estimand):
    """The codes of the notes of an estimand."""
    rows = results.where(estimand=estimand).rows
    return {r.note.partition(":")[0] for r in rows if r.note is not None}


def run(tmp_path, shop, **more):
    """Plan, results and findings."""
    plan = study(tmp_path, shop, **more)
    results = analysed(plan)
    for row in results.rows:
        if row.estimate is None:
            assert row.note, row
            assert all(getattr(row, n) is None for n in NUMBER_COLUMNS if n != "p_value")
    return results, rl.describe(plan, results)


def test_everybody_censored(tmp_path):
    results, verdict = run(tmp_path, shop([[]] * N), by=["market"], covariates=["market"])
    assert (verdict.decision, verdict.reasons[0].code) == ("invalid", "no_events")
    assert {r.estimate for r in results.where(estimand="survival").rows} == {1.0}
    assert notes(results, "log_hazard_ratio") == notes(results, "log_rank") == {"no_events"}
    assert notes(results, "survival_quantile") == {"not_reached"}
    assert notes(results, "rmst_difference") == {"zero_variance"}


def test_one_event(tmp_path):
    one = [[3], *([[]] * (N - 1))]
    results, verdict = run(tmp_path, shop(one), by=["market"], covariates=["market"])
    assert verdict.reasons[0].code == "cohorts_described"
    assert verdict.reasons[0].numbers["share"] == pytest.approx(1 / N)
    row = results.one(estimand="survival", segment=None, at="3")
    assert (row.n, row.estimate) == (N, pytest.approx(1 - 1 / N))
    # In B nothing has happened, so that its error, and that of the difference, is unknown.
    for estimand in ("survival_difference", "rmst_difference", "mean_cumulative_difference"):
        for row in results.where(estimand=estimand).rows:
            assert row.estimate is not None
            assert (row.p_value, row.ci_low, row.std_error) == (None, None, None)
            assert row.note.startswith("no_event_yet")
    assert "groups_differ" not in {r.code for r in verdict.reasons}
    assert notes(results, "log_hazard_ratio") == {"monotone"}
    assert notes(results, "proportionality") == {"penalised"}


def test_a_market_in_which_nobody_came_back_does_not_differ_beyond_doubt(tmp_path):
    """Five of 200 elsewhere, none of 20 here: nothing follows."""
    orders = [[9] if i < 5 else [] for i in range(220)]
    levels = {"market": ["big"] * 200 + ["small"] * 20}
    results, verdict = run(tmp_path, Shop([0] * 220, orders, columns=levels), by=["market"])
    row = results.one(estimand="survival_difference", level="small", at="30")
    assert row.estimate == pytest.approx(5 / 200)
    assert row.p_value is row.p_adjusted is None
    assert results.one(estimand="log_rank", segment="market").p_value > 0.4
    assert "groups_differ" not in {r.code for r in verdict.reasons}


def test_a_cohort_of_one_is_not_shown_nor_what_would_tell_of_it(tmp_path):
    origin = [0] * (N - 1) + [40]
    results, verdict = run(tmp_path, shop(origin=origin), by=["market"])
    assert verdict.decision == "keep_running"
    levels = {r.level: r.n for r in results.where(estimand="customers", segment="cohort").rows}
    assert levels == {"(other)": N}
    note = results.one(estimand="customers", segment="cohort").note
    assert note == "pooled: 2 groups count as one: 2026-01; 2026-02"


def test_no_event_in_a_group_is_a_separation_and_said(tmp_path):
    orders = [[3 + i % 9] if i % 2 else [] for i in range(N)]
    results, _ = run(tmp_path, shop(orders), by=["market"], covariates=["market"])
    row = results.one(estimand="log_hazard_ratio")
    assert row.note.startswith("monotone: the likelihood rises for ever along 'market=")
    assert row.method == "Cox, Efron, Firth's penalty, profile penalised likelihood"
    assert np.isfinite([row.estimate, row.ci_low, row.ci_high]).all()
    assert results.one(estimand="log_rank", segment="market").p_value < 1e-9
    # None of N / 2 leaves a few in a hundred open; a sandwich's error is a tenth of this.
    assert row.std_error > 1.3
    assert 0.02 < np.exp(min(row.ci_high, -row.ci_low)) < 0.2
    assert notes(results, "proportionality") == {"penalised"}
    assert all(r.p_value is None for r in results.where(estimand="proportionality").rows)


def test_a_group_without_events_has_an_upper_limit(tmp_path):
    """Of N / 2 customers of whom none came back, 1 - 0.025 ^ (2 / N) is the share that could."""
    orders = [[3 + i % 9] if i % 2 else [] for i in range(N)]
    results, _ = run(tmp_path, shop(orders), by=["market"])
    last = {}
    for r in results.where(estimand="survival", segment="market").rows:
        last[r.level] = r
    (none,) = (r for r in last.values() if r.estimate == 1.0)
    assert none.note.startswith("no_event_so_far")
    assert none.ci_low == pytest.approx(0.025 ** (1 / none.n))
    assert (none.ci_high, none.std_error) == (1.0, None)


def test_perfect_separation_by_a_covariate(tmp_path):
    orders = [[3 + i % 9] if i % 2 else [30 + i % 9] for i in range(N)]
    late = [float(i % 2) for i in range(N)]
    results, _ = run(tmp_path, shop(orders, late=late), covariates=["late"])
    row = results.one(estimand="log_hazard_ratio", term="late")
    assert row.note.startswith("monotone")
    assert row.estimate > 2


def test_collinear_covariates_are_named(tmp_path):
    twice = [2 * x + 1 for x in NUMBERS]
    results, _ = run(tmp_path, shop(x=NUMBERS, y=twice), covariates=["x", "y"])
    assert results.one(estimand="log_hazard_ratio", term="x").note is None
    row = results.one(estimand="log_hazard_ratio", term="y")
    assert (row.estimate, row.note) == (None, "collinear: it is a combination of 'x'")


@pytest.mark.parametrize("other", [{}, {"x": NUMBERS}])
def test_a_constant_covariate_is_named(tmp_path, other):
    kept = [*other, "y", "place"]
    results, _ = run(tmp_path, shop(y=[2.0] * N, place=["here"] * N, **other), covariates=kept)
    for term in ("y", "place"):
        row = results.one(estimand="log_hazard_ratio", term=term)
        assert (row.estimate, row.note) == (None, "constant: every row has the same value")
    assert len(results.where(estimand="log_hazard_ratio").rows) == len(kept)


def test_a_missing_number_takes_the_models_place_by_a_note(tmp_path):
    plan = study(tmp_path, shop(x=[None, *NUMBERS[1:]]), by=["market"], covariates=["x"])
    cohorts = rl.reduce_cohorts(plan)
    assert rl.fit_model(plan, cohorts) is None
    results = rl.analyse_cohorts(plan, cohorts)
    (row,) = results.where(estimand="log_hazard_ratio").rows
    assert row.estimate is None
    assert row.note.startswith("not_fitted: 1 of 60 customers have no value of 'x'; give it bins")
    assert not results.where(estimand=["concordance", "proportionality"]).rows
    assert results.where(estimand="survival_difference", segment="market").rows
    rl.finish(plan, cohorts, results, rl.describe(plan, results), tmp_path / "out", model=None)
    assert (tmp_path / "out" / "report.en.html").is_file()
    assert not (tmp_path / "out" / "models").exists()


def test_with_bins_a_missing_number_is_a_group_of_its_own(tmp_path):
    binned = {"column": "x", "bins": [3]}
    missing = [None] * 20 + NUMBERS[20:]
    results, _ = run(tmp_path, shop(x=missing), covariates=[binned])
    terms = {r.term for r in results.where(estimand="log_hazard_ratio").rows}
    assert terms == {"x=(missing)", "x=below 3"} or terms == {"x=(missing)", "x=3 and more"}


def test_a_missing_text_is_a_group_but_not_what_others_are_compared_with(tmp_path):
    markets = [None] * 40 + ["A"] * 12 + ["B"] * 8
    plain = Shop([0] * N, SOME, columns={"market": markets})
    results, _ = run(tmp_path, plain, by=["market"], covariates=["market"])
    assert {r.term for r in results.where(estimand="log_hazard_ratio").rows} == {
        "market=(missing)",
        "market=B",
    }
    assert {r.baseline for r in results.where(estimand="rmst_difference").rows} == {"A"}


def test_all_in_one_cohort_has_no_test_between_cohorts(tmp_path):
    results, verdict = run(tmp_path, shop(), by=["market"])
    assert len(results.where(estimand="customers", segment="cohort").rows) == 1
    assert not results.where(estimand="log_rank", segment="cohort").rows
    assert verdict.decision == "keep_running"


def test_tau_beyond_the_data_is_refused_with_the_largest_that_can_be_had(tmp_path):
    results, verdict = run(tmp_path, shop(origin=150), by=["market"], horizon="365d")
    seen = (AS_OF - NOON.date()).days - 150
    for row in results.where(estimand=["rmst", "rmst_difference", "rmst_ratio"]).rows:
        assert (row.at, row.estimate) == ("365", None)
        assert row.note.startswith("tau_beyond_follow_up")
        assert row.note.endswith(f"the largest tau that can be had is {seen}")
    assert max(int(r.at) for r in results.where(estimand="survival").rows) == seen
    assert verdict.reasons[0].numbers["day"] == 30
    retention = results.where(estimand="retention", segment=None).rows
    assert {r.at for r in retention if r.estimate is not None and r.term == "n_day"} == {
        "1", "7", "14", "30",
    }  # fmt: skip
    assert {r.note.partition(":")[0] for r in retention if r.estimate is None} == {"immature"}


def test_a_tau_within_the_data_is_taken(tmp_path):
    plain = shop(origin=150)
    results, _ = run(tmp_path, plain, by=["market"], horizon="365d", tau="20d")
    people = plain.people(365)
    row = results.one(estimand="rmst", segment=None)
    assert row.at == "20"
    assert row.estimate == pytest.approx(people["stop"].clip(upper=20).mean())


def test_refunds_only(tmp_path):
    refunds = [[i % 9] for i in range(N)]
    results, verdict = run(
        tmp_path,
        shop([[]] * N, refunds=refunds),
        by=["market"],
        covariates=["market"],
        competing=["refunds"],
    )
    assert verdict.reasons[0].code == "no_events"
    last = results.where(estimand="cumulative_incidence", segment=None, term="refunds").rows[-1]
    assert (last.estimate, last.at) == (pytest.approx(1.0), "60")
    assert last.n is None  # nobody is at risk any more
    assert notes(results, "log_subdistribution_hazard_ratio") == {"no_events"}
    assert results.one(estimand="gray", segment="market", term="refunds").p_value is not None
    assert notes(results.where(term="orders"), "gray") == {"no_events"}


def test_of_one_day_an_order_comes_before_a_refund(tmp_path):
    both = {"orders": [[5]] * N, "refunds": [[5]] * N}
    results, _ = run(tmp_path, shop(**both), competing=["refunds"], covariates=["market"])
    row = results.one(estimand="survival", segment=None, at="5")
    assert (row.estimate, row.note.partition(":")[0]) == (0.0, "survival_zero")
    shares = results.where(estimand="cumulative_incidence", segment=None).rows
    assert {(r.term, r.estimate) for r in shares} == {("orders", 1.0), ("refunds", 0.0)}
    # All at one time: a ratio without an error.
    row = results.one(estimand="log_hazard_ratio")
    assert (row.std_error, row.p_value) == (None, None)
    assert row.note.startswith("zero_variance")
    earlier = shop([[5]] * N, refunds=[[4]] * N)
    results, verdict = run(tmp_path, earlier, competing=["refunds"])
    assert verdict.reasons[0].code == "no_events"
    assert results.one(estimand="cumulative_incidence", segment=None, at="4").term == "refunds"


def test_fewer_customers_than_may_be_shown(tmp_path):
    columns = {"by": ["market"], "covariates": ["market"], "competing": ["refunds"]}
    plan = study(tmp_path, random_shop(4), min_cell=1000, value="value", **columns)
    cohorts = rl.reduce_cohorts(plan)
    assert rl.fit_model(plan, cohorts) is None
    results = rl.analyse_cohorts(plan, cohorts)
    assert all(r.estimate is r.n is None for r in results.rows if r.estimand != "left_out")
    assert results.one(estimand="customers").note == "suppressed: fewer than 1000 customers"
    verdict = rl.describe(plan, results)
    assert (verdict.decision, verdict.reasons[0].code) == ("invalid", "no_customers")
    assert verdict.reasons[0].numbers == {"least": 1000}


def test_late_entry_leaves_out_fine_and_gray_with_a_note(tmp_path):
    since = NOON.date() + dt.timedelta(days=60)
    plain = random_shop(2)
    more = {"by": ["market"], "covariates": ["market"], "competing": ["refunds"]}
    results, _ = run(tmp_path, plain, **more, **{"from": since})
    (row,) = results.where(estimand="log_subdistribution_hazard_ratio").rows
    assert row.note.startswith("not_fitted: Fine and Gray's model needs everyone")
    assert results.where(estimand="log_hazard_ratio", term="market=FR").rows[0].p_value is not None
    people = plain.people()
    entry = 60 - np.array(plain.origin) - 1
    start = np.where(entry >= 0, entry, -np.inf)
    for hazard in results.where(estimand="hazard", segment=None).rows:
        day = int(hazard.at.split("-")[0])
        at_risk = (start < day) & (people["stop"] >= day) & (people["stop"] > start)
        assert hazard.n == at_risk.sum()


def test_an_event_on_the_origins_own_day_is_in_the_first_bin(tmp_path):
    refunds = [[i % 3] if i % 2 else [] for i in range(N)]
    own = shop([[]] * N, refunds=refunds)
    results, _ = run(tmp_path, own, event="next refunds")
    rows = results.where(estimand="hazard", segment=None).rows
    assert [(r.at, r.n, r.estimate) for r in rows[:2]] == [
        ("0-0", N, pytest.approx(1 / 6)),
        ("1-1", 5 * N // 6, pytest.approx(1 / 5)),
    ]
    weekly, _ = run(tmp_path, own, event="next refunds", horizon="90d", name="weekly")
    assert weekly.where(estimand="hazard", segment=None).rows[0].at == "0-7"


def test_a_test_of_means_that_cannot_be_had_by_tau_is_by_the_last_common_day(tmp_path):
    young = {"market": ["A"] * 40 + ["B"] * 20}
    origin = [0] * 40 + [140] * 20
    orders = [[3 + i % 20, 30 + i % 5] for i in range(N)]
    plain = Shop(origin, orders, columns=young)
    results, _ = run(tmp_path, plain, by=["market"])
    row = results.one(estimand="equal_means", segment="market")
    assert (row.at, row.baseline) == ("30", "A")
    results, _ = run(tmp_path, plain, by=["market"], tau="25d", name="fixed")
    assert results.one(estimand="equal_means", segment="market").at == "25"
    late = Shop([0] * 40 + [170] * 20, orders, columns=young)
    results, _ = run(tmp_path, late, by=["market"], name="young")
    row = results.one(estimand="equal_means", segment="market")
    assert (row.at, row.estimate, row.note.partition(":")[0]) == ("60", None, "few_left")
    assert results.one(estimand="log_rate_ratio").level == "B"


def experiment(tmp_path, arms, expected):
    """The plan of an experiment of `arms` by customer, all of them exposed on one day."""
    write(
        tmp_path,
        {
            **shop().tables(),
            "assignments": pa.table(
                {"who": [f"c{i}" for i in range(N)], "arm": arms, "at": [NOON] * N}
            ),
        },
    )
    data = {"events": {"orders": ORDERS}, "as_of": AS_OF}
    data["assignments"] = {"table": "assignments.parquet", "at": "at"}
    design = {"unit": "who", "arm": "arm", "control": "none", "expected_split": expected}
    return planned(tmp_path, "trial", data, 5, EXPOSED, design=design)


def test_arms_are_compared_with_the_control(tmp_path):
    plan = experiment(tmp_path, ["none", "c10"] * 30, {"none": 1, "c10": 1})
    results = analysed(plan)
    assert [(r.arm, r.n) for r in results.where(estimand="customers").rows] == [
        (None, N), ("none", N // 2), ("c10", N // 2),
    ]  # fmt: skip
    for estimand in ("survival_difference", "rmst_difference", "mean_cumulative_difference"):
        rows = results.where(estimand=estimand).rows
        assert {(r.arm, r.baseline, r.segment) for r in rows} == {("c10", "none", None)}
    assert results.one(estimand="log_hazard_ratio").term == "arm=c10"
    assert results.one(estimand="log_rank", term="plain").segment is None
    assert not results.where(estimand="retention").rows
    assert results.one(estimand="rmst", arm="none").at == str(HORIZON)


def test_an_arm_that_is_absent_is_said_and_the_others_are_compared(tmp_path):
    plan = experiment(tmp_path, ["none", "c10"] * 30, {"none": 1, "c10": 1, "c20": 1})
    assert plan.arms == ("none", "c10", "c20")
    results = analysed(plan)
    row = results.one(estimand="customers", arm="c20")
    assert (row.estimate, row.note) == (None, "absent: no customer of this arm was followed")
    assert {r.arm for r in results.where(estimand="rmst_difference").rows} == {"c10"}
    assert results.one(estimand="log_rank", term="plain").p_value is not None
    assert results.one(estimand="log_hazard_ratio").term == "arm=c10"


def test_without_a_control_there_is_no_experiment(tmp_path):
    with pytest.raises(PlanError, match=r"design.control: no unit has 'none'"):
        experiment(tmp_path, ["c10", "c20"] * 30, {"none": 1, "c10": 1, "c20": 1})


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("event_is", ["loss", "return"])
def test_how_often_is_left_out_of_a_loss_that_nobody_has_twice(tmp_path, event_is, twice):
    """The mean number of closed accounts would be the curve again, with other digits."""
    orders = [[5 + i % 40, *([50] if twice and i == 4 else [])] if i % 3 else [] for i in range(60)]
    shop = Shop([i % 20 for i in range(60)], orders)
    results = analysed(study(tmp_path, shop, event_is=event_is))
    assert results.where(estimand="survival", segment=None).rows
    told = bool(results.where(estimand="mean_cumulative", segment=None).rows)
    assert told is (event_is == "return" or twice)
