"""Pure functions from history and end state to a verdict."""
