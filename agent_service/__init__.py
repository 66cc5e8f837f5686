"""What runs on a host: one agent, its member, and every fault on that host."""

from typing import Final

__version__: Final = "0.1.0"

API_VERSION: Final = 1
"""Major version of the HTTP interface; the tester refuses an agent with another one."""
