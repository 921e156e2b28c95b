"""Facts of a dataset that a run keeps in `source.json`."""

from pathlib import Path

import numpy as np

from trajectory.environments.spec import EnvironmentSpec
from trajectory.storage.run_folder import hash_file


def describe_data(env, n_transitions: int, returns: np.ndarray) -> dict:
    """The environment of a `DataSource`, and facts about its data.    returns : [ episodes ]"""
    returns = np.sort(returns)
    path = getattr(env, 'dataset_path', None)
    return {
        **spec_of(env).record(),
        'transitions': n_transitions,
        'episodes': len(returns),
        'mean_return': returns.mean(),
        'best_tenth_return': returns[-max(1, len(returns) // 10) :].mean(),
        **({'dataset_sha256': hash_file(path)} if path is not None and Path(path).exists() else {}),
    }


def spec_of(env) -> EnvironmentSpec:
    """The specification of a `DataSource`'s environment, or of an `OfflineEnvironment`."""
    if isinstance(getattr(env, 'spec', None), EnvironmentSpec):
        return env.spec
    return EnvironmentSpec(env.id, env.physics, env.name, env.settings or {}, env.references, env.data_source)
