"""etcd's concurrency recipes, on the tester's own client: every step is a recorded operation.

::

    session.py   a lease, and who keeps it alive
    contest.py   who is first: keys under a prefix, each bound to a lease, in the order of their creation
    waiting.py   until the key of somebody before is deleted

A lock is held, and an election won, by the key with the lowest create revision. That revision is the fencing
token: a lease may end while its owner believes to hold it (it was stalled, or cut off), so whatever only the
holder may do goes into a transaction that compares it.
"""
