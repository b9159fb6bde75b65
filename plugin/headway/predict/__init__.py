"""Predictors: what is foreseen of calls and runs, learned online."""
