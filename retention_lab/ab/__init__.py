"""Moments in; estimates, intervals and checks of an A/B test out."""

from retention_lab.ab.analyse import analyse
from retention_lab.ab.decide import decide

__all__ = ["analyse", "decide"]
