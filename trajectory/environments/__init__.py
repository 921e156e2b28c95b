"""Environments: specifications, simulators, D4RL physics, reference scores and task families."""
