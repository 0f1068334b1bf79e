"""A result and an optional Axes in; the Axes out."""

from retention_lab.figures.arms import arms_plot, split_plot
from retention_lab.figures.effects import effect_plot
from retention_lab.figures.hazard import hazard_plot, share_plot
from retention_lab.figures.incidence import incidence_plot, ratio_plot
from retention_lab.figures.lives import repeat_plot, survival_plot
from retention_lab.figures.novelty import novelty_plot
from retention_lab.figures.paths import daily_plot, path_plot
from retention_lab.figures.planning import planning_plot
from retention_lab.figures.segments import segment_plot
from retention_lab.figures.triangle import retention_plot

__all__ = [
    "arms_plot",
    "daily_plot",
    "effect_plot",
    "hazard_plot",
    "incidence_plot",
    "novelty_plot",
    "path_plot",
    "planning_plot",
    "ratio_plot",
    "repeat_plot",
    "retention_plot",
    "segment_plot",
    "share_plot",
    "split_plot",
    "survival_plot",
]
