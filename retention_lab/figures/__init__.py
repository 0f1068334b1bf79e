"""A result and an optional Axes in; the Axes out."""

from retention_lab.figures.arms import arms_plot, split_plot
from retention_lab.figures.effects import effect_plot
from retention_lab.figures.segments import segment_plot

__all__ = ["arms_plot", "effect_plot", "segment_plot", "split_plot"]
