"""Measurements; each is a script with a control in the same run."""
