"""A result and an optional Axes in; the Axes out."""

from retention_lab.figures.arms import arms_plot, split_plot
from retention_lab.figures.effects import effect_plot
from retention_lab.figures.paths import daily_plot, path_plot
from retention_lab.figures.planning import planning_plot
from retention_lab.figures.segments import segment_plot

__all__ = [
    "arms_plot",
    "daily_plot",
    "effect_plot",
    "path_plot",
    "planning_plot",
    "segment_plot",
    "split_plot",
]
