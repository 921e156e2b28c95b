"""Leave out the observation columns that carry nothing: Ant's contact forces, and the kitchen's goal."""

from collections.abc import Callable

import numpy as np

from trajectory.environments.catalogue import d4rl_catalogue, robot_of
from trajectory.utils.errors import InputError

ANT_DIMS = {'qpos without x and y': 13, 'qvel': 14, 'contact forces, always zero': 84}
KITCHEN_DIMS = {'robot and objects': 30, 'goal, always the same': 30}


def kitchen_preprocess_fn(observations: np.ndarray) -> np.ndarray:
    """Robot and objects, without the goal.    observations : [ B x 60 ]    returns : [ B x 30 ]"""
    return _keep(observations, 30, sum(KITCHEN_DIMS.values()), 'a kitchen')


def ant_preprocess_fn(observations: np.ndarray) -> np.ndarray:
    """Positions and velocities, without contact forces.    observations : [ B x 111 ]    returns : [ B x 27 ]"""
    return _keep(observations, 27, sum(ANT_DIMS.values()), 'an ant')


def _keep(observations, n_kept, n_all, whose):
    if observations.shape[-1] not in (n_kept, n_all):  # n_kept: left out already, as stock Ant-v4 does
        raise InputError(
            f'expected {whose} observation of {n_all} columns (or the first {n_kept} of them), '
            f'found {observations.shape[-1]}'
        )
    return observations[..., :n_kept]


def vmap(fn: Callable) -> Callable:
    """Let a function of [ B x d ] also take a single [ d ]."""

    def mapped(inputs):
        return fn(inputs[None])[0] if inputs.ndim == 1 else fn(inputs)

    return mapped


def preprocess_dataset(preprocess_fn: Callable) -> Callable:
    """The function of a whole dataset that applies `preprocess_fn` to its observations, and leaves the one given."""

    def preprocessed(dataset):
        changed = {key: preprocess_fn(dataset[key]) for key in ('observations', 'next_observations') if key in dataset}
        return {**dataset, **changed}

    return preprocessed


def get_preprocess_fn(env_name: str) -> Callable:
    """What to do with the observations of an environment, [ d ] or [ B x d ]; for most, nothing."""
    if env_name in preprocess_functions:
        return preprocess_functions[env_name]
    return vmap(ant_preprocess_fn) if robot_of(env_name) == 'ant' else _unchanged


def _unchanged(observations):
    return observations


preprocess_functions = {
    name: vmap(kitchen_preprocess_fn if name.startswith('kitchen') else ant_preprocess_fn)
    for name in d4rl_catalogue()
    if name.startswith('kitchen') or robot_of(name) == 'ant'
}

dataset_preprocess_functions = {name: preprocess_dataset(fn) for name, fn in preprocess_functions.items()}
