"""The networks: the Trajectory Transformer, its parts, and plain MLPs."""

from trajectory.models.ein import EinLinear
from trajectory.models.embeddings import SmoothEmbedding
from trajectory.models.mlp import MLP, FlattenMLP
from trajectory.models.transformers import GPT, ConditionalGPT

__all__ = ['GPT', 'MLP', 'ConditionalGPT', 'EinLinear', 'FlattenMLP', 'SmoothEmbedding']
