"""Recorded steps as transitions, and the names that the reference offers here."""

import numpy as np

from trajectory.datasets.sources import load_environment  # noqa: F401
from trajectory.environments.d4rl_gym import suppress_output  # noqa: F401


def qlearning_dataset_with_timeouts(env, dataset: dict | None = None, terminate_on_end: bool = False) -> dict:
    """Recorded steps as transitions; the very last row, which has no successor, is dropped.

    dataset          : observations, actions, rewards, terminals, timeouts; by default `env.get_dataset()`
    terminate_on_end : True keeps the step at which the clock ran out, and marks it in `terminals`; False drops it
    returns          : observations, actions, next_observations [ steps x d ]; rewards, terminals (fell, or clock ran
                       out), realterminals (fell) [ steps x 1 ]

    The `next_observations` of an episode's last step is the first observation of the next episode.
    """
    dataset = env.get_dataset() if dataset is None else dataset
    fell, clock = (np.asarray(dataset[key][:-1], dtype=bool) for key in ('terminals', 'timeouts'))
    kept = slice(None) if terminate_on_end else ~clock
    return {
        'observations': np.asarray(dataset['observations'][:-1], dtype=np.float32)[kept],
        'actions': np.asarray(dataset['actions'][:-1], dtype=np.float32)[kept],
        'next_observations': np.asarray(dataset['observations'][1:], dtype=np.float32)[kept],
        'rewards': np.asarray(dataset['rewards'][:-1], dtype=np.float32)[kept, None],
        'terminals': (fell | clock)[kept, None],
        'realterminals': fell[kept, None],
    }
