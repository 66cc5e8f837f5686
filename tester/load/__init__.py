"""Clients that load the cluster and record every operation."""
