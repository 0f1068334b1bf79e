"""Customers with covariates in; models of when an event happens, and what they predict, out."""
