"""Many environments of a task family side by side: computed in one batch, or simulated in worker processes."""

import multiprocessing
import os
import signal
import warnings
import weakref
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import partial

import numpy as np

from trajectory.environments.families.registry import FamilySpec
from trajectory.utils.errors import InputError


class Simulators(ABC):
    """N environments that step together; a row whose episode has ended stays as it is, with a reward of 0."""

    @abstractmethod
    def reset(self, tasks: list[dict], seed: np.random.SeedSequence) -> np.ndarray:
        """Begin N episodes, each in its task.    returns : observations [ N x o ], float32"""

    @abstractmethod
    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take a step in each.

        actions : [ N x a ], or [ N ] whole numbers
        returns : observations [ N x o ], rewards [ N ], and which episodes have ended [ N ]
        """

    def close(self) -> None:  # noqa: B027  most have started nothing
        """End the processes that were started."""


def make_simulators(family: FamilySpec, n: int, n_workers: int = 1) -> Simulators:
    """Room for n environments of a family.    n_workers : processes that share them, where they are simulated"""
    if family.is_batched:
        return Computed(family)
    return Simulated(family, n, min(n, n_workers))


class Computed(Simulators):
    """Environments whose arithmetic is done for all at once, by one generator."""

    def __init__(self, family: FamilySpec):
        self.family = family.make().unwrapped.family
        self.max_episode_steps = family.max_episode_steps

    def reset(self, tasks, seed):
        self.rng = np.random.default_rng(seed)
        self.family.set_tasks(tasks)
        self.ended, self.n_steps = np.zeros(len(tasks), dtype=bool), 0
        return self.family.reset()

    def step(self, actions):
        was_over = self.ended
        observations, rewards, ended = self.family.step(actions, self.rng)
        self.n_steps += 1
        self.ended = was_over | ended | (self.n_steps >= self.max_episode_steps)
        return observations, np.where(was_over, 0.0, rewards), self.ended


class Simulated(Simulators):
    """Environments that MuJoCo simulates one by one, spread evenly over processes.

    The numbers do not depend on how many processes there are: each environment has a seed of its own.
    """

    def __init__(self, family: FamilySpec, n: int, n_workers: int = 1):
        from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

        self.n, size = n, -(-n // n_workers)
        groups = [partial(_make_group, family, range(start, min(start + size, n)), size) for start in range(0, n, size)]
        options = {'autoreset_mode': AutoresetMode.DISABLED}
        if len(groups) == 1:
            self.vector = SyncVectorEnv(groups, **options)
        else:  # processes that have no threads of torch's to inherit
            with _one_thread():
                self.vector = AsyncVectorEnv(groups, context='spawn', **options)
        self.close = weakref.finalize(self, _close, self.vector)

    def reset(self, tasks, seed):
        seeds = [int(child.generate_state(1)[0]) for child in seed.spawn(self.n)]
        return self._collect(self.vector.reset(options={'tasks': tasks, 'seeds': seeds})[0])[0]

    def step(self, actions):
        rows = self.vector.num_envs
        padded = np.zeros((rows * self.vector.single_action_space.shape[0], *actions.shape[1:]), dtype=np.float32)
        padded[: self.n] = actions
        return self._collect(self.vector.step(padded.reshape(rows, -1, *actions.shape[1:]))[0])

    def _collect(self, parts):
        names = ('observations', 'rewards', 'ended')
        observations, rewards, ended = (np.concatenate(parts[name])[: self.n] for name in names)
        return observations, rewards, ended.astype(bool)


def _make_group(family, rows, size):
    if multiprocessing.parent_process() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends this process
    return _group_class()(family, rows, size)


def _group_class():
    import gymnasium
    from gymnasium.spaces import Box, Dict, MultiBinary

    class Group(gymnasium.Env):
        """Environments of one process, as one that Gymnasium's vector environments carry.

        rows : of all N that are here    size : of the largest group; what is missing counts as ended
        """

        def __init__(self, family, rows, size):
            self.rows, self.size = rows, size
            self.envs = [family.make() for _ in rows]
            observed, acted = self.envs[0].observation_space, self.envs[0].action_space
            self.observation_space = Dict(
                observations=Box(-np.inf, np.inf, (size, *observed.shape), np.float32),
                rewards=Box(-np.inf, np.inf, (size,), np.float64),
                ended=MultiBinary(size),
            )
            self.action_space = Box(-np.inf, np.inf, (size, *acted.shape), np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.observations = np.zeros(self.observation_space['observations'].shape, dtype=np.float32)
            self.ended = np.arange(self.size) >= len(self.envs)
            for k, (row, env) in enumerate(zip(self.rows, self.envs, strict=True)):
                env.unwrapped.reset_task(options['tasks'][row])
                self.observations[k], _ = env.reset(seed=options['seeds'][row])
            return self._observe(np.zeros(self.size)), {}

        def step(self, action):
            rewards = np.zeros(self.size)
            for k in np.flatnonzero(~self.ended):
                self.observations[k], rewards[k], terminated, truncated, _ = self.envs[k].step(action[k])
                self.ended[k] = terminated or truncated
            return self._observe(rewards), 0.0, False, False, {}

        def _observe(self, rewards):
            return {'observations': self.observations, 'rewards': rewards, 'ended': self.ended.astype(np.int8)}

        def close(self):
            for env in self.envs:
                env.close()

    return Group


class _one_thread:
    """While it lasts, processes that are started begin with one thread each in their linear algebra."""

    def __enter__(self):
        self.before = os.environ.get('OMP_NUM_THREADS')
        os.environ['OMP_NUM_THREADS'] = '1'

    def __exit__(self, *raised):
        if self.before is None:
            del os.environ['OMP_NUM_THREADS']
        else:
            os.environ['OMP_NUM_THREADS'] = self.before


def _close(vector):
    processes = getattr(vector, 'processes', [])
    with warnings.catch_warnings(), suppress(EOFError, ConnectionError):
        warnings.simplefilter('ignore')  # one of a worker that has died
        vector.close(**({'terminate': True} if processes else {}))
    for process in processes:
        process.kill()
        process.join()


def check_workers(error: Exception) -> InputError:
    """The error for a worker that has died."""
    return InputError(
        f'a process that simulates environments has ended: {type(error).__name__}.\n'
        '  The memory may not suffice: pass a smaller --meta_batch_size, --fast_batch_size or --num_workers. The same '
        'command goes on from the last checkpoint.'
    )
