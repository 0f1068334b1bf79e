"""Life tables in; curves, tests, models and retention of cohorts out."""
