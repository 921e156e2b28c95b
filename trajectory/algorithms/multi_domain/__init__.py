"""Multi-domain Decision Transformer, and continual fine-tuning of it (Schmied et al. 2023)."""

from trajectory.algorithms.multi_domain.algorithm import MultiDomain as ALGORITHM  # noqa: F401
