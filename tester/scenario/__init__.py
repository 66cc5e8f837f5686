"""Scenario files: from YAML to a value."""
