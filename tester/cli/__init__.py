"""The command line."""

from tester.cli.entry import main

__all__ = ["main"]
