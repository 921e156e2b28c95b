"""The Trajectory Transformer (Janner, Li, Levine 2021): trajectories as sequences of tokens, actions by beam search."""

from trajectory.algorithms.trajectory_transformer.algorithm import TrajectoryTransformer as ALGORITHM  # noqa: F401
