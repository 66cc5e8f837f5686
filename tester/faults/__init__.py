"""Faults as the tester sees them: a case on resolved targets, driven through the agents."""
