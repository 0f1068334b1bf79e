"""Rows, where they live, in; small mergeable reductions out."""
