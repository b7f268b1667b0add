"""Scores and the report, from files alone: nothing here ever runs a model."""
