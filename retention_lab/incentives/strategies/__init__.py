"""A file a strategy: a plan and its evidence in; rows of the result table out."""
