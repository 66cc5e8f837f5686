"""``locks`` and ``elections``: one holder at a time, by the order of revisions.

::

    holders.py   who held it at which revision, from the watch log
    claims.py    what clients believed and wrote, compared with that
    checkers.py  the two checkers
"""

from tester.checkers.ownership.checkers import Elections, Locks

__all__ = ["Elections", "Locks"]
