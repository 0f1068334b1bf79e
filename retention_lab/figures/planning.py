"""The plan of the next test in; what it can see after how many days, as curves, out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retention_lab.experiment.spec import Spec
from retention_lab.figures.style import MUTED, PALETTE, WIDTH, new_axes, root, theme
from retention_lab.texts import metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from retention_lab.ab.planner import Planning

HEIGHT = 240
WORDS = {
    "en": ("Smallest change that the test would find", "days of entry", "of the control's level",
           "aim"),
    "zh": ("测试能够发现的最小变化", "入组天数", "相对对照组水平", "目标"),
}  # fmt: skip


def planning_plot(
    planning: Planning, spec: Spec, language: str = "en", ax: Axes | None = None
) -> Axes:
    """Detectable relative effect of the primary metrics by days of entry, and the effect aimed at.

    Metrics without a curve (no traffic, a baseline of 0) are left out. Without `ax`, a new pyplot
    figure is made.
    """
    title, days, share, aim = WORDS[language]
    axes = ax if ax is not None else new_axes()
    shown = [m for m in planning.metrics if m.metric in planning.primary and m.curve is not None]
    with theme():
        for tint, m in zip(PALETTE, shown, strict=False):
            assert m.curve is not None
            # Very few days see next to nothing: what is above 100 % only hides the rest.
            seen = np.where(m.curve.relative <= 1.0, m.curve.relative * 100, np.nan)
            axes.plot(
                m.curve.last_entry, seen, color=tint, label=metric_label(spec, m.metric, language)
            )
        asked = spec.planning
        if asked.relative and shown:
            axes.axhline(asked.effect * 100, color=MUTED, linestyle="--", linewidth=1)
            axes.annotate(
                f"{aim} {asked.effect:.1%}",
                (1.0, asked.effect * 100), xycoords=("axes fraction", "data"),
                xytext=(0, 4), textcoords="offset points", ha="right", color=MUTED,
            )  # fmt: skip
        axes.set_title(title, loc="left")
        axes.set_xlabel(days)
        axes.set_ylabel(f"% {share}")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        if len(shown) > 1:
            axes.legend(frameon=False)
        if ax is None:
            figure = root(axes)
            figure.set_size_inches(WIDTH / 96, HEIGHT / 96)
            figure.set_layout_engine("constrained")
    return axes
