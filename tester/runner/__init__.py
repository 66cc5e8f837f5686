"""Runners: one recipe on any cluster, without agents or faults, recorded and judged.

::

    setting.py     what the command line asks for
    connecting.py  endpoints, certificates, users
    running.py     load, witnesses, the rule of no progress, the verdict
    progress.py    what a person sees meanwhile
"""
