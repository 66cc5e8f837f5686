"""What runs on the controller: scenarios in, verdicts out."""

from agent_service import __version__

__all__ = ["__version__"]
