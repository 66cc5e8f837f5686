"""A client for the agents, usable on its own: see ``agent_client.client.AgentClient``."""
