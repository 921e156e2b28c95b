"""The Decision Transformer (Chen et al. 2021): actions regressed on states and on the return still to come."""

from trajectory.algorithms.decision_transformer.algorithm import DecisionTransformerAlgorithm as ALGORITHM  # noqa: F401
