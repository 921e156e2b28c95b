"""Acting: agents, episodes, evaluation and data collection."""
