"""A result and an optional Axes in; the Axes out."""

from retention_lab.figures.arms import arms_plot, split_plot
from retention_lab.figures.dose import dose_plot
from retention_lab.figures.effects import effect_plot
from retention_lab.figures.forward import forward_plot
from retention_lab.figures.hazard import hazard_plot, share_plot
from retention_lab.figures.incidence import incidence_plot, ratio_plot
from retention_lab.figures.ledger import ledger_plot, margin_plot
from retention_lab.figures.lives import repeat_plot, survival_plot
from retention_lab.figures.novelty import novelty_plot
from retention_lab.figures.observed import balance_plot, overlap_plot, sensitivity_plot
from retention_lab.figures.offer import effects_plot
from retention_lab.figures.paths import daily_plot, path_plot
from retention_lab.figures.planning import planning_plot
from retention_lab.figures.profits import profits_plot
from retention_lab.figures.rollout import event_study_plot
from retention_lab.figures.segments import segment_plot
from retention_lab.figures.threshold import threshold_plot
from retention_lab.figures.triangle import retention_plot

__all__ = [
    "arms_plot",
    "balance_plot",
    "daily_plot",
    "dose_plot",
    "effect_plot",
    "effects_plot",
    "event_study_plot",
    "forward_plot",
    "hazard_plot",
    "incidence_plot",
    "ledger_plot",
    "margin_plot",
    "novelty_plot",
    "overlap_plot",
    "path_plot",
    "planning_plot",
    "profits_plot",
    "ratio_plot",
    "repeat_plot",
    "retention_plot",
    "segment_plot",
    "sensitivity_plot",
    "share_plot",
    "split_plot",
    "survival_plot",
    "threshold_plot",
]
