"""Responses to a dose: Thornton's vouchers as published, statsmodels on rows, known curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm

from retention_lab.incentives.arms import dose as response
from retention_lab.incentives.arms.dose import (
    Cells,
    around,
    best,
    fit,
    isotonic,
    isotonic_band,
    lack_of_fit,
    linear,
    spline,
)

DATA = Path(__file__).parents[4] / "shared" / "golden" / "data" / "thornton_hiv.dta"


def cells_of(dose, y, cluster=None):
    """Rows as cells: one for each dose, or for each dose of a cluster."""
    keys = np.stack([dose, np.zeros(len(dose)) if cluster is None else cluster])
    which, place = np.unique(keys, axis=1, return_inverse=True)
    place = np.ravel(place)
    n = np.bincount(place).astype(float)
    mean = np.bincount(place, y) / n
    spread = np.bincount(place, (y - mean[place]) ** 2)
    return Cells(which[0], n, mean, spread, None if cluster is None else which[1])


def any_and(power):
    def basis(dose):
        return np.column_stack([np.ones_like(dose), dose > 0, *(dose**p for p in power)])

    return basis


@pytest.fixture
def thornton():
    if not DATA.is_file():
        pytest.skip("thornton_hiv.dta is not in ../shared/golden/data")
    import pandas as pd

    frame = pd.read_stata(DATA).dropna(subset=["got", "any", "tinc", "villnum"])
    return tuple(frame[c].to_numpy(float) for c in ("got", "any", "tinc", "villnum"))


def test_thorntons_vouchers_with_errors_by_village(thornton, golden):
    got, _, amount, village = thornton
    expected = golden["thornton_incentive_dose"]
    assert len(got) == expected["n"]
    cells = cells_of(amount, got, village)
    one = fit(cells, any_and([1]))
    assert one.coefficients[1:] == pytest.approx(
        [expected["linear"]["any"], expected["linear"]["tinc"]], rel=1e-9
    )
    assert np.sqrt(np.diag(one.covariance))[1:] == pytest.approx(expected["linear"]["se"], rel=1e-7)
    two = fit(cells_of(amount, got), any_and([1, 2]))  # the reference's errors are HC2 here
    numbers = np.array(list(expected["quadratic"].values()))
    assert two.coefficients == pytest.approx(numbers[:, 0], rel=1e-9)
    assert np.sqrt(np.diag(two.covariance)) == pytest.approx(numbers[:, 1], rel=1e-7)
    offered = fit(cells, lambda d: np.column_stack([np.ones_like(d), d > 0]))
    assert offered.coefficients[1] == pytest.approx(expected["any_only"]["b"], rel=1e-9)
    error = expected["any_only"]["se_cluster_vill"]
    assert np.sqrt(offered.covariance[1, 1]) == pytest.approx(error, rel=1e-7)


def test_thorntons_monotone_response(thornton, golden):
    got, _, amount, _ = thornton
    cells = cells_of(amount, got)
    made = isotonic(cells.n, cells.mean)
    for at, value in golden["thornton_incentive_dose"]["isotonic_at"].items():
        assert np.interp(float(at), cells.dose, made) == pytest.approx(value, abs=1e-9)


def rows(n=2000, seed=6):
    rng = np.random.default_rng(seed)
    dose = rng.choice([0.0, 5.0, 10.0, 15.0, 20.0], n, p=[0.3, 0.1, 0.2, 0.2, 0.2])
    store = rng.integers(0, 25, n).astype(float)
    y = 3 + 0.4 * dose - 0.012 * dose**2 + rng.normal(size=n) * (1 + dose / 10)
    return dose, y + rng.normal(size=25)[store.astype(int)], store


@pytest.mark.parametrize("basis", [linear, spline([0, 10, 20]), spline([0, 5, 10, 20])])
def test_a_fit_to_cells_is_the_fit_to_rows(basis):
    dose, y, store = rows()
    plain = sm.OLS(y, basis(dose)).fit(cov_type="HC2")
    found = fit(cells_of(dose, y), basis)
    np.testing.assert_allclose(found.coefficients, plain.params, rtol=1e-8)
    np.testing.assert_allclose(found.covariance, plain.cov_params(), rtol=1e-7, atol=1e-13)
    grouped = sm.OLS(y, basis(dose)).fit(cov_type="cluster", cov_kwds={"groups": store})
    found = fit(cells_of(dose, y, store), basis)
    np.testing.assert_allclose(found.covariance, grouped.cov_params(), rtol=1e-7, atol=1e-13)


def test_slopes_and_effects_are_those_of_the_fit():
    dose, y, _ = rows()
    found = fit(cells_of(dose, y), linear)
    slope = found.slope([5.0, 10.0])
    np.testing.assert_allclose(slope[:, 0], found.coefficients[1], rtol=1e-7)
    np.testing.assert_allclose(slope[:, 1], np.sqrt(found.covariance[1, 1]), rtol=1e-7)
    effect = found.effect([10.0], 0.0)
    np.testing.assert_allclose(effect[0, :2], 10 * slope[0, :2], rtol=1e-7)
    curve = fit(cells_of(dose, y), spline([0, 10, 20]))
    value = curve.at([4.0, 4.001])[:, 0]
    assert curve.slope([4.0])[0, 0] == pytest.approx((value[1] - value[0]) / 0.001, rel=1e-3)


def test_a_spline_is_linear_beyond_its_outer_knots_and_smooth_at_them():
    basis = spline([0, 10, 20])
    x = basis(np.array([-3.0, -2.0, -1.0, 25.0, 26.0, 27.0]))
    np.testing.assert_allclose(x[0] - 2 * x[1] + x[2], 0, atol=1e-9)
    np.testing.assert_allclose(x[3] - 2 * x[4] + x[5], 0, atol=1e-9)
    with pytest.raises(ValueError, match="three knots"):
        spline([0, 1])
    with pytest.raises(ValueError, match="fewer doses"):
        fit(cells_of(np.array([0.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0])), spline([0, 1, 2]))


def test_the_monotone_response_and_its_interval():
    n = np.array([100.0, 50.0, 50.0, 100.0])
    mean = np.array([1.0, 3.0, 2.0, 4.0])
    np.testing.assert_allclose(isotonic(n, mean), [1, 2.5, 2.5, 4])
    np.testing.assert_allclose(isotonic(n, -mean, rising=False), [-1, -2.5, -2.5, -4])
    low, high = isotonic_band(mean, np.full(4, 0.09))
    half = 2.497705 * 0.3  # normal quantile at 1 - 0.05 / 8
    np.testing.assert_allclose(low, [1 - half, 3 - half, 3 - half, 4 - half], rtol=1e-6)
    np.testing.assert_allclose(high, [1 + half, 2 + half, 2 + half, 4 + half], rtol=1e-6)
    falling = isotonic_band(-mean, np.full(4, 0.09), rising=False)
    np.testing.assert_allclose(falling, [-high, -low])
    assert isotonic_band(mean, np.full(4, 0.001)) is None  # 3 before 2 is no accident then


@pytest.mark.parametrize("truth", [(0, 0, 0, 0, 0), (0, 0.1, 0.1, 0.1, 0.2), (0, 1, 2, 3, 4)])
def test_a_monotone_response_lies_within_its_band(truth):
    """Also where doses do equally well, where quantiles of draws of the fit hold 0.77."""
    rng = np.random.default_rng(3)
    true, variance, runs = np.array(truth, float), np.full(5, 1 / 500), 1000
    held = 0
    for _ in range(runs):
        mean = true + rng.normal(size=5) * np.sqrt(variance)
        band = isotonic_band(mean, variance, bool(np.polyfit(range(5), mean, 1)[0] >= 0))
        held += band is not None and bool(((band[0] <= true) & (true <= band[1])).all())
    assert held / runs > 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / runs)


def test_the_best_dose_covers_the_top_of_the_curve():
    """The true top is at 12, and the interval of the estimate holds it as often as it says."""
    rng = np.random.default_rng(10)
    doses = np.array([0.0, 5.0, 10.0, 15.0, 20.0])
    held, runs = 0, 300
    for _ in range(runs):
        n = np.full(5, 2000.0)
        mean = -0.01 * (doses - 12) ** 2 + rng.normal(size=5) * np.sqrt(1 / n)
        cells = Cells(doses, n, mean, n - 1)

        def square(d):
            return np.column_stack([np.ones_like(d), d, d * d])

        found = best(fit(cells, square), 0.0, 20.0, doses)
        held += found.low <= 12.0 <= found.high
        assert found.low <= found.dose <= found.high
        assert found.chance.sum() == pytest.approx(1)
    assert abs(held / runs - 0.95) < 3.5 * np.sqrt(0.95 * 0.05 / runs) + 0.01


@pytest.mark.parametrize("doses", [(0, 5, 10, 20), (0, 2, 5, 10, 15, 20)])
@pytest.mark.parametrize("n", [2_000, 20_000])
@pytest.mark.parametrize("contact", [0.0, 0.3])
def test_the_best_dose_is_held_where_the_curve_is_not_a_spline(doses, n, contact):
    """The root of the dose less its cost, top at 11.1; a curve of three knots held it in 0 %."""
    rng = np.random.default_rng(12)
    tried, runs, held = np.array(doses, float), 200, 0
    mean = 0.4 * np.sqrt(tried) - 0.06 * tried
    for _ in range(runs):
        seen = mean + rng.normal(size=len(tried)) * 3 / np.sqrt(n)
        cells = Cells(tried, np.full(len(tried), float(n)), seen, np.full(len(tried), 9.0 * n))
        one = best(fit(cells, spline(tried)), 0.0, 20.0, tried, fixed=contact, free=0.0)
        low, high = around(tried, one.chance)
        held += low <= 100 / 9 <= high
    assert held / runs > 0.95 - 3.5 * np.sqrt(0.95 * 0.05 / runs)


def test_the_best_dose_lies_between_the_neighbours_of_those_that_may_be_it():
    tried = np.array([0.0, 5.0, 10.0, 20.0, 40.0])
    assert around(tried, np.array([0, 0, 1.0, 0, 0])) == (5.0, 20.0)
    assert around(tried, np.array([0, 0.02, 0.9, 0.06, 0.02])) == (5.0, 40.0)
    assert around(tried, np.array([0.03, 0.97, 0, 0, 0])) == (0.0, 10.0)
    assert around(tried, np.array([0, 0, 0, 0, 1.0])) == (20.0, 40.0)


def test_a_cost_of_the_contact_alone_does_not_bend_the_curve():
    """Not sending anything saves the contact: at 0 there is a step, and no slope."""
    tried = np.array([0.0, 2.0, 4.0, 6.0, 8.0, 10.0])
    cells = Cells(tried, np.full(6, 1e9), 0.25 * tried - 0.02 * tried**2, np.full(6, 1e9))
    found = fit(cells, spline(tried))
    top = best(found, 0.0, 10.0, tried, fixed=0.3, free=0.0)
    assert top.dose == pytest.approx(6.25, abs=0.15)
    assert top.value == pytest.approx(0.25 * 6.25 - 0.02 * 6.25**2 - 0.3, abs=0.01)
    assert best(found, 0.0, 10.0, tried, fixed=0.9, free=0.0).dose == 0.0


def test_means_off_a_curve_are_noticed_as_often_as_chance_says():
    rng = np.random.default_rng(5)
    dose, n, runs = np.array([0.0, 5, 10, 20, 40]), np.array([50.0, 80, 60, 70, 90]), 2000
    p = []
    for _ in range(runs):
        mean = 1 + 0.1 * dose + rng.normal(size=5) * (1 + dose / 9) / np.sqrt(n)
        p.append(lack_of_fit(Cells(dose, n, mean, (1 + dose / 9) ** 2 * (n - 1)), linear))
    for alpha in (0.05, 0.5):
        error = np.sqrt(alpha * (1 - alpha) / runs)
        assert abs((np.array(p) < alpha).mean() - alpha) < 3.5 * error
    jump = 1 + 0.1 * dose + (dose > 0)
    assert lack_of_fit(Cells(dose, n * 100, jump, n * 100), linear) < 1e-6
    assert lack_of_fit(Cells(dose, n, jump, n), spline(dose)) is None


@pytest.mark.parametrize("unit", [1e-9, 1e-4, 1e6])
def test_slopes_of_doses_in_any_unit(unit):
    """Of a share, or of a currency with many zeros, as of dollars."""
    dose, y, _ = rows()
    knots = np.array([0.0, 5.0, 10.0, 20.0])
    plain = fit(cells_of(dose, y), spline(knots)).slope(knots)
    scaled = fit(cells_of(dose * unit, y), spline(knots * unit)).slope(knots * unit)
    np.testing.assert_allclose(scaled[:, :2] * unit, plain[:, :2], rtol=1e-6)


def test_the_best_of_many_doses_is_not_missed_by_a_spline_of_few_knots():
    """A step at the eighth of twelve doses: six knots put the top of the curve elsewhere."""
    doses = np.arange(12.0)
    mean = np.where(doses >= 7, 1.0 - 0.03 * (doses - 7.0), 0.0)
    n = np.full(12, 2000.0)
    cells = response.Cells(doses, n, mean, n)
    knots = doses[np.unique(np.linspace(0, 11, 6).round().astype(int))]
    fit = response.fit(cells, response.spline(knots.tolist()))
    bent = response.best(fit, 0.0, 11.0, doses)
    assert response.around(doses, bent.chance)[0] > 7.0
    straight = response.best(fit, 0.0, 11.0, doses, cells=cells)
    low, high = response.around(doses, straight.chance)
    assert low <= 7.0 <= high
    # Cells with one dose count as one.
    doses, mean, half = np.tile(doses, 2), np.tile(mean, 2), np.tile(n / 2, 2)
    twice = response.Cells(doses, half, mean, half)
    again = response.best(fit, 0.0, 11.0, doses[:12], cells=twice)
    assert again.chance == pytest.approx(straight.chance, abs=0.01)
