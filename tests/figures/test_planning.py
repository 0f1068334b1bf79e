"""The curve of the next test: the effect it can see falls with the root of the days."""

from __future__ import annotations

import numpy as np
import pytest

import retention_lab as rl


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_curve_and_the_aim_are_drawn(write, language):
    rng = np.random.default_rng(0)
    columns = {"arm": ["a", "b"] * 500, "x": rng.gamma(2.0, size=1000)}
    path = write({"units": columns}, data={"units": "units.parquet"},
                 design={"arm": "arm", "control": "a"}, metrics=[{"name": "x", "kind": "mean"}],
                 planning={"traffic": 200, "days": 40})  # fmt: skip
    plan = rl.plan(path)
    axes = rl.figures.planning_plot(rl.size_next(plan, rl.reduce(plan)), plan.spec, language)
    curve, aim = axes.lines
    days, seen = curve.get_xdata(), curve.get_ydata()
    assert list(days) == list(range(1, 41))
    assert seen[-1] / seen[9] == pytest.approx(0.5, rel=0.02)  # four times the days
    assert list(aim.get_ydata()) == [5.0, 5.0]
    assert axes.get_title(loc="left")
