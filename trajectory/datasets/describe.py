"""Facts of a dataset that a run keeps in `source.json`."""

from pathlib import Path

import numpy as np

from trajectory.environments.spec import EnvironmentSpec
from trajectory.storage.run_folder import hash_file
from trajectory.utils.errors import InputError
from trajectory.utils.files import read_json

SOURCE = {'environment': str, 'physics': str, 'data_source': str, 'mean_return': (int, float)}
MAY_BE_IN_SOURCE = {'environment_settings': dict, 'reference_returns': list}


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


def read_source(path: Path) -> dict:
    """Where a model's data comes from: environment, physics, data_source, mean_return, and more."""
    return check_source(read_json(path), path)


def check_source(source, path) -> dict:
    """Return what `describe_data` wrote, if it is whole.    path : the file it is from"""
    source = source if isinstance(source, dict) else {}
    kinds = {**SOURCE, **{name: kind for name, kind in MAY_BE_IN_SOURCE.items() if name in source}}
    wrong = {name for name, kind in kinds.items() if not isinstance(source.get(name), kind)}
    references = source.get('reference_returns', [0, 1])
    references = references if isinstance(references, list) else []
    if [type(number) in (int, float) for number in references] != [True, True] or not references[0] < references[1]:
        wrong.add('reference_returns')
    if wrong:
        raise InputError(
            f'{path} says nothing of {", ".join(sorted(wrong))}, or not what it should.\n'
            '  Restore it from where the run was trained; or delete it, to make it anew from the data.'
        )
    return source


def spec_of(env) -> EnvironmentSpec:
    """The specification of a `DataSource`'s environment, or of an `OfflineEnvironment`."""
    if isinstance(getattr(env, 'spec', None), EnvironmentSpec):
        return env.spec
    return EnvironmentSpec(env.id, env.physics, env.name, env.settings or {}, env.references, env.data_source)
