"""A plot and a case in; its axes, their texts, and the checks that every plot must pass, out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.axes import Axes
from run.sample_rows import Case

from retention_lab.experiment.load import parse, validate
from retention_lab.experiment.spec import Spec
from retention_lab.figures import style
from retention_lab.figures.style import blank_axes
from retention_lab.figures.svg import svg_text

Plot = Callable[..., Axes]


def spec_of(case: Case) -> Spec:
    return validate(*parse(case.spec))


def drawn(plot: Plot, case: Case, **wanted: Any) -> Axes:
    return plot(case.results, spec_of(case), ax=blank_axes(), **wanted)


def words(ax: Axes) -> list[str]:
    """All texts, in the order in which they were written; hard spaces as plain ones."""
    return [t.get_text().replace("\u00a0", " ") for t in ax.texts]


def given_axes_are_returned_and_a_figure_is_made_without(plot: Plot, case: Case) -> None:
    """Of the settings of matplotlib and its open figures nothing is changed otherwise."""
    plt.close("all")
    ax, before = blank_axes(), dict(mpl.rcParams)
    assert plot(case.results, spec_of(case), ax=ax) is ax
    assert len(ax.texts) > 3
    assert plt.get_fignums() == []
    made = plot(case.results.rows, spec_of(case))
    assert plt.get_fignums() == [made.get_figure(root=True).number]
    plt.close("all")
    assert dict(mpl.rcParams) == before


def same_svg_everywhere(draw: Callable[[], Axes], monkeypatch: pytest.MonkeyPatch) -> str:
    """Drawn twice, and on a machine with other fonts, the SVG is the same; that SVG."""
    first = svg_text(draw())
    assert svg_text(draw()) == first
    monkeypatch.setattr(style, "families", lambda: ("DejaVu Sans",))
    assert svg_text(draw()) == first
    return first
