"""Moments in; estimates, intervals and checks of an A/B test out."""
