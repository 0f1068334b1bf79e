"""Incentives that nobody randomised: effects under adjustment, and how far to trust them."""
