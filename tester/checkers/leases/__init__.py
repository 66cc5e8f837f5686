"""``leases``: no live lease ends, no dead one lives on.

::

    checker.py       the rules
    lives.py         what clients were told of each lease
    ends.py          ends of leases that only the watch log tells
    disturbances.py  when the cluster may have been late, and not lied
"""

from tester.checkers.leases.checker import Leases

__all__ = ["Leases"]
