"""Faults on this host: planned as data, undone from disk, proved by looking."""
