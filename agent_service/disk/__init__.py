"""A layer of the agent's own under a member's data, which can be slow, full, broken, or lose its power.

A process of its own, so that it outlives the agent as the member does: ``python -m agent_service.disk``. What it
passes on lies on the host's disk as the member wrote it, so that nothing is lost when the layer goes.
"""
