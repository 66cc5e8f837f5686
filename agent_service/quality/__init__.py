"""Network quality on what comes in: a process of its own that holds packets up, loses or bends them.

Standard library alone, and nothing of the agent: it starts in milliseconds and outlives any agent.
"""
