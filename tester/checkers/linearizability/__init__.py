"""Linearizability by revision order: a sort and a replay instead of a search.

Every answer of etcd carries a revision, and revisions order all writes. So the order of operations is not to
be found, only to be checked::

    history ─ assembly ──► calls (what was asked, at which revision) ─┐
      watch log, answers,  changelog (what every revision changed) ───┼─► rules ─► violations
      final content ─ attribution (whose were the unknown outcomes) ──┘
                                                                 search, where the evidence leaves a choice
"""
