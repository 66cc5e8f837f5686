"""Ansible at the edge: plays run in a small child process."""
