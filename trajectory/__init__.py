"""The Trajectory Transformer: offline reinforcement learning as one big sequence modeling problem."""
