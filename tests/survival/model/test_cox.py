"""Cox's model: R's numbers from raw and counted rows, hard data, and other implementations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import reference
from cox_cases import NAMES, columns_by_r, cox_by_r, data_by_r, random_data

from retention_lab.data.lifetable import LifeTable
from retention_lab.errors import DataError
from retention_lab.survival.model.cox import cox, fit_cox, state_of
from retention_lab.survival.model.data import SurvivalData

# Where R stops: its default is a log-likelihood that changes by 1e-9 of itself, so its
# coefficients are off by up to some 1e-8 of themselves. The numbers of cox_r.json go on to 1e-15.
R_STOPS = 1e-7
SAME = 1e-9


def frame(columns, names):
    return np.stack([columns[c].astype(float) for c in names], axis=1)


def compressed(stop, event, x, start=None, strata=None, cluster=None):
    """Unique rows with counts; None: no such column."""
    parts = [np.asarray(stop, float), np.asarray(event, float), *x.T]
    extra = [None if v is None else np.asarray(v, float) for v in (start, strata, cluster)]
    table = np.stack([*parts, *(v for v in extra if v is not None)], axis=1)
    table = table[~np.isnan(table).any(axis=1)]
    rows, n = np.unique(table, axis=0, return_counts=True)
    k, rest = x.shape[1], iter(rows[:, 2 + x.shape[1] :].T)
    found = [None if v is None else next(rest) for v in extra]
    return {
        "stop": rows[:, 0],
        "event": rows[:, 1] == 1,
        "x": rows[:, 2 : 2 + k],
        "n": n,
        "start": found[0],
        "strata": found[1],
        "cluster": found[2],
    }


def check(fit, expected, tolerance):
    numbers = {
        "coef": fit.coef,
        "se": fit.std_error,
        "robust_se": fit.robust_error,
        "loglik_null": fit.loglik_null,
        "loglik": fit.loglik,
        "lr_chisq": fit.lr.chisq,
        "score_chisq": fit.score.chisq,
        "wald_chisq": fit.wald.chisq,
        "n": fit.size,
        "nevent": fit.events,
    }
    for name, number in numbers.items():
        if name in expected:
            np.testing.assert_allclose(number, expected[name], rtol=tolerance, err_msg=name)
    assert fit.converged
    assert fit.note is None


def same(a, b, tolerance=SAME):
    for field in ("coef", "std_error", "robust_error", "loglik_null", "loglik"):
        mine, theirs = getattr(a, field), getattr(b, field)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=1e-12, err_msg=field)
    for field in ("lr", "wald", "score"):
        mine, theirs = getattr(a, field), getattr(b, field)
        np.testing.assert_allclose(mine.chisq, theirs.chisq, rtol=10 * tolerance)
    assert (a.size, a.events) == (b.size, b.events)


CASES = [
    ("cox_rossi_efron", "efron", {}),
    ("cox_rossi_breslow", "breslow", {}),
    ("cox_rossi_exact", "exact", {}),
    ("cox_rossi_robust", "efron", {"cluster": "id"}),
    ("cox_lung_strata", "efron", {"strata": "inst"}),
    ("cox_lung_cluster_inst", "efron", {"cluster": "inst"}),
    ("lwyy_bladder2", "efron", {"cluster": "id", "start": "start"}),
]


@pytest.mark.parametrize(("name", "ties", "extra"), CASES, ids=[c[0] for c in CASES])
def test_r_s_numbers(name, ties, extra):
    inputs, expected, columns = reference.case(name)
    if name == "cox_rossi_robust":
        inputs = reference.case("cox_rossi_efron")[0] | inputs
    stop = columns[inputs.get("duration", "time")]
    event = columns[inputs["event"]] == 1
    x = frame(columns, inputs["covariates"])
    more = {k: columns[v] for k, v in extra.items()}
    raw = SurvivalData.of(stop, event, x, inputs["covariates"], missing="drop", **more)
    counted = SurvivalData.of(**compressed(stop, event, x, **more), names=inputs["covariates"])
    assert counted.rows <= raw.rows
    fits = [fit_cox(d, ties) for d in (raw, counted)]
    for fit in fits:
        check(fit, expected, R_STOPS)
    same(*fits)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("file", ["expanded", "compressed"])
def test_r_s_numbers_of_twenty_thousand_from_counts(ties, file):
    _, expected, columns = reference.case(f"freqw_cox_expanded_{ties}")
    if file == "compressed":
        columns = reference.case("freqw_cox_R_weights_breslow")[2]
    x = np.stack(
        [*(columns["channel"] == c for c in (1, 2, 3)), columns["variant"], columns["returned"]],
        axis=1,
    )
    data = SurvivalData.of(columns["week"], columns["event"] == 1, x, n=columns.get("n"))
    check(fit_cox(data, ties, robust=True), expected, 1e-10)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("kind", ["plain", "late", "strata", "cluster"])
@pytest.mark.parametrize("counted", [True, False], ids=["counted", "expanded"])
def test_r_s_numbers_to_the_last_digits(kind, ties, counted):
    content = cox_by_r()
    expected = content["cox"][f"{kind}_{ties}"]
    data = data_by_r(
        columns_by_r(content), kind != "plain", kind == "strata", kind == "cluster", counted
    )
    fit = fit_cox(data, ties)
    robust = {"robust_se": expected["robust"]} if expected["robust"] else {}
    wanted = {
        "coef": expected["coef"],
        "se": expected["se"],
        "loglik_null": expected["loglik"][0],
        "loglik": expected["loglik"][1],
        "wald_chisq": expected["wald"],
        "score_chisq": expected["score"],
    }
    check(fit, wanted | robust, SAME)
    assert (fit.robust_error is not None) == (kind == "cluster")
    assert fit.strata == (3 if kind == "strata" else 1)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_statsmodels_agrees(ties):
    from statsmodels.duration.hazard_regression import PHReg

    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 3))
    time = np.ceil(rng.exponential(10 * np.exp(-x @ [0.5, -0.3, 0.0])))
    seen = rng.random(400) < 0.7
    strata = rng.integers(0, 2, 400)
    data = SurvivalData.of(time, seen, x, strata=strata)
    theirs = PHReg(time, x, status=seen.astype(int), ties=ties, strata=strata).fit()
    mine = fit_cox(data, ties)
    np.testing.assert_allclose(mine.coef, theirs.params, rtol=1e-6)
    np.testing.assert_allclose(mine.std_error, theirs.bse, rtol=1e-5)
    np.testing.assert_allclose(mine.loglik, theirs.llf, rtol=1e-9)


def test_a_million_at_risk_and_two_events_a_day():
    """Where the deaths are a tiny share of those at risk, counted rows are still replication."""
    rng = np.random.default_rng(6)
    patterns = np.stack(np.meshgrid([0, 1], [0, 1, 2]), -1).reshape(-1, 2).astype(float)
    days, rows = 30, []
    for day in range(1, days + 1):
        for p in rng.choice(6, 2, replace=False, p=[0.1, 0.3, 0.1, 0.2, 0.2, 0.1]):
            rows.append((day, 1, *patterns[p], 1))
    rows += [
        (days, 0, *p, n) for p, n in zip(patterns, rng.multinomial(10**6, [1 / 6] * 6), strict=True)
    ]
    table = np.array(rows)
    data = SurvivalData.of(table[:, 0], table[:, 1] == 1, table[:, 2:4], n=table[:, 4])
    assert data.size > 10**6
    assert data.rows < 100
    same(fit_cox(data, robust=True), fit_cox(data.expanded(), robust=True))


def test_a_table_of_counts_is_fitted_as_its_rows():
    rng = np.random.default_rng(7)
    n = 3000
    region = rng.choice(np.array(["Asia", "Europe", "Africa"], object), n, p=[0.3, 0.5, 0.2])
    tier, arm = rng.integers(0, 4, n).astype(float), rng.choice(np.array(["a", "b"], object), n)
    effect = 0.4 * (region == "Asia") - 0.2 * tier
    time = np.floor(rng.exponential(60 * np.exp(-effect)))
    stop = np.minimum(time, 90.0)
    table = LifeTable.of(stop, (time < 90).astype(int), region=region, tier=tier, arm=arm)
    fit = cox(table, ["region", "tier"], strata=["arm"])
    assert fit.names == ("region=Africa", "region=Asia", "tier")
    assert fit.coding[0].reference == "Europe"
    assert fit.strata == 2
    x = np.stack([region == "Africa", region == "Asia", tier], axis=1).astype(float)
    same(fit, fit_cox(SurvivalData.of(stop, time < 90, x, strata=arm)))


def test_without_events_the_numbers_are_nan_and_the_note_says_so():
    fit = fit_cox(SurvivalData.of([1, 2, 3], [0, 0, 0], [[1.0], [2.0], [3.0]]))
    assert np.isnan(fit.coef).all()
    assert fit.note.startswith("no_events:")
    assert fit.lr.p_value is None
    empty = fit_cox(SurvivalData.of([], [], np.zeros((0, 2))))
    assert empty.note.startswith("no_events:")


def test_one_event_has_a_penalised_answer():
    fit = fit_cox(SurvivalData.of([1, 2, 3, 4], [1, 0, 0, 0], [[0.5], [2.0], [0.0], [1.0]]))
    assert np.isfinite(fit.coef).all()
    assert fit.note is None


def test_columns_that_cannot_be_estimated_are_named():
    rng = np.random.default_rng(8)
    n = 300
    a, b, s = rng.normal(size=n), rng.normal(size=n), rng.integers(0, 2, n)
    x = np.stack([a, np.full(n, 7.0), b, 2 * a - 3 * b + 1e6, s.astype(float)], axis=1)
    time, event = rng.exponential(1, n), rng.random(n) < 0.8
    names = ["a", "flat", "b", "both", "stratum"]
    fit = fit_cox(SurvivalData.of(time, event, x, names, strata=s))
    assert fit.names == ("a", "b")
    assert fit.dropped["flat"].startswith("constant:")
    assert fit.dropped["both"] == "collinear: it is a combination of 'a', 'b'"
    assert fit.dropped["stratum"].startswith("constant_at_risk:")
    same(fit, fit_cox(SurvivalData.of(time, event, x[:, [0, 2]], strata=s)))
    alone = fit_cox(SurvivalData.of(time, event, x[:, [1]]))
    assert alone.note.startswith("no_covariates:")
    assert alone.loglik < 0


def test_far_units_and_origins_do_not_matter():
    rng = np.random.default_rng(9)
    x = rng.normal(size=(500, 2))
    time = np.ceil(rng.exponential(8 * np.exp(-x @ [0.7, -0.4])))
    event = rng.random(500) < 0.8
    plain = fit_cox(SurvivalData.of(time, event, x), robust=True)
    far = fit_cox(SurvivalData.of(time, event, x * [1e-6, 1e8] + [3.0, -1e9]), robust=True)
    np.testing.assert_allclose(far.coef * [1e-6, 1e8], plain.coef, rtol=1e-6)
    np.testing.assert_allclose(far.robust_error * [1e-6, 1e8], plain.robust_error, rtol=1e-6)
    np.testing.assert_allclose(far.loglik, plain.loglik, rtol=1e-9)


def test_an_outlier_does_not_look_like_separation():
    rng = np.random.default_rng(10)
    x = rng.random(400)
    time, event = rng.exponential(np.exp(-x)), rng.random(400) < 0.8
    x[3] = 1e4
    fit = fit_cox(SurvivalData.of(time, event, x[:, None]))
    assert fit.converged
    assert fit.penalty == "none"


@pytest.mark.parametrize("counts", [1, 5])
@pytest.mark.parametrize("kind", ["complete", "a group without events", "continuous"])
def test_separation_is_said_and_penalised(kind, counts):
    rng = np.random.default_rng(11)
    n = 200
    z, time = rng.normal(size=n), np.ceil(rng.exponential(10, n))
    event = rng.random(n) < 0.6
    apart = {
        "complete": event.astype(float),
        "a group without events": (~event & (rng.random(n) < 0.5)).astype(float),
        "continuous": -time,
    }[kind]
    event |= kind == "continuous"
    data = SurvivalData.of(
        time, event, np.stack([z, apart], axis=1), ["z", "apart"], n=[counts] * n
    )
    fit = fit_cox(data, robust=True)
    assert fit.note.startswith("monotone: the likelihood rises for ever along 'apart',")
    assert fit.penalty == "firth"
    assert fit.converged
    assert np.isfinite(fit.coef).all()
    assert np.isfinite(fit.std_error).all()
    assert abs(fit.coef[1]) > 0.5
    assert fit.iterations < 80


def test_exact_ties_refuse_what_would_take_for_ever():
    rng = np.random.default_rng(12)
    data = SurvivalData.of(np.ones(5000), rng.random(5000) < 0.5, rng.normal(size=(5000, 1)))
    with pytest.raises(DataError, match="use ties: efron"):
        fit_cox(data, "exact")
    with pytest.raises(ValueError, match="robust"):
        fit_cox(data, "exact", robust=True)


def test_missing_covariates_are_counted():
    x = np.array([[1.0, 2.0], [np.nan, 1.0], [0.5, np.inf], [2.0, 0.0]])
    with pytest.raises(DataError, match=r"5 rows of 8 lack a finite value of 'age', 'spend'"):
        SurvivalData.of([1, 2, 3, 4], [1, 1, 0, 1], x, ["age", "spend"], n=[1, 2, 3, 2])
    data = SurvivalData.of([1, 2, 3, 4], [1, 1, 0, 1], x, n=[1, 2, 3, 2], missing="drop")
    assert data.size == 3
    assert data.notes == {"missing": 5}


def test_a_fit_needs_the_columns_of_its_data():
    data = random_data(np.random.default_rng(13))
    fit = fit_cox(data)
    with pytest.raises(ValueError, match="x2"):
        state_of(fit, dataclasses.replace(data, names=("x1", "other", "x3")))
    assert np.all(fit.interval()[0] < fit.coef)
    assert NAMES[0] == "z1"


def test_inputs_are_not_changed():
    rng = np.random.default_rng(14)
    x, time = rng.normal(size=(50, 2)), rng.exponential(1, 50)
    before = x.copy(), time.copy()
    fit_cox(SurvivalData.of(time, np.ones(50), x))
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(time, before[1])
