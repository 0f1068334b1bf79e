"""Made-up and published units for the tests of what nobody randomised."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from records import records

from retention_lab.incentives.observed.sample import Sample, make_sample

DATA = Path(__file__).parents[4] / "shared" / "golden" / "data"
LALONDE = ("age", "educ", "black", "hisp", "marr", "nodegree", "re74", "re75")


def made(n: int = 600, arms: int = 2, seed: int = 5, effect: float = 1.0) -> dict:
    """Columns: arm by x, an outcome with the effect k * `effect` of arm k, and others."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    odds = np.exp(
        np.stack([np.zeros(n), *(0.5 * x[:, 0] - 0.2 * k * x[:, 1] for k in range(1, arms))])
    )
    share = np.cumsum(odds / odds.sum(axis=0), axis=0)
    code = (rng.random(n) > share[:-1]).sum(axis=0)
    base = 1.0 + x @ [1.0, 0.5, -0.5]
    y = base + effect * code + rng.normal(size=n)
    bought = (rng.random(n) < 1 / (1 + np.exp(-(base + 0.5 * code - 2.0)))).astype(float)
    names = np.array(["none", "coupon", "points"][:arms], object)
    return {
        "arm": names[code],
        "arms": tuple(names),
        "covariates": {f"x{j}": x[:, j] for j in range(3)},
        "outcomes": {"y": y, "bought": bought, "spent": np.exp(y / 3)},
    }


def sample_of(columns: dict, **more) -> Sample:
    return make_sample(**(columns | more))


def lalonde(control: str) -> Sample:
    """NSW's treated men against its own controls (`nsw`), or against men of the CPS (`cps`)."""
    pd = pytest.importorskip("pandas")
    if not DATA.is_dir():
        pytest.skip(f"nsw_mixtape.dta and cps_mixtape.dta (causaldata) are not in {DATA}")
    frame = pd.read_stata(DATA / "nsw_mixtape.dta")
    if control == "cps":
        frame = pd.concat([frame[frame.treat == 1], pd.read_stata(DATA / "cps_mixtape.dta")])
    return make_sample(
        np.where(frame["treat"] == 1, "trained", "not"),
        ("not", "trained"),
        {c: frame[c].to_numpy(float) for c in LALONDE},
        {"re78": frame["re78"].to_numpy(float)},
    )


def emails(path: Path, *arms: str) -> Sample:
    """Hillstrom's e-mail experiment; these arms against no e-mail."""
    rows = [r for r in records(path) if r["treatment"] in (*arms, "No E-Mail")]
    numbers = {
        c: np.array([float(r[c]) for r in rows])
        for c in ("recency", "history", "mens", "womens", "newbie")
    }
    for name, column, level in (
        ("zip_Surburban", "zip_code", "Surburban"),
        ("zip_Urban", "zip_code", "Urban"),
        ("ch_Phone", "channel", "Phone"),
        ("ch_Web", "channel", "Web"),
    ):
        numbers[name] = np.array([float(r[column] == level) for r in rows])
    return make_sample(
        [r["treatment"] for r in rows],
        ("No E-Mail", *arms),
        numbers,
        {c: np.array([float(r[c]) for r in rows]) for c in ("visit", "conversion", "spend")},
    )
