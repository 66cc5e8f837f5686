"""A store that lies: a proxy before a real member, which is honest until it is armed with a lie.

``KINDS`` has every kind by name.
"""

from tests.lies import contending, leasing, reading, watching, writing
from tests.lies.kinds import KINDS

__all__ = ["KINDS", "contending", "leasing", "reading", "watching", "writing"]
