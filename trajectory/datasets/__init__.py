"""Recorded episodes: where they lie, the environments they came from, and the tokens they become."""

from trajectory.datasets.d4rl import load_environment
from trajectory.datasets.preprocessing import get_preprocess_fn
from trajectory.datasets.sequence import DiscretizedDataset, GoalDataset, SequenceDataset, segment
from trajectory.datasets.sources import find_source

__all__ = [
    'DiscretizedDataset',
    'GoalDataset',
    'SequenceDataset',
    'find_source',
    'get_preprocess_fn',
    'load_environment',
    'segment',
]
