"""A scenario and a seed in; the tables of a simulated shop with known truth out."""
