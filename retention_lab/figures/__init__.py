"""A result and an optional Axes in; the Axes out."""
