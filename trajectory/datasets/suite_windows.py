"""Windows of many tasks' episodes for a multi-domain Decision Transformer: states in slots, actions as tokens."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trajectory.datasets.hdf5 import read_episodes, read_metadata
from trajectory.datasets.sequence import find_path_lengths
from trajectory.environments.suites.registry import SuiteTask
from trajectory.models.multi_domain import Sequences
from trajectory.models.tokens import ActionTokens
from trajectory.utils.errors import InputError

REWARD_SCALES = {'metaworld': 200.0, 'dm_control': 100.0, 'd4rl': 1000.0}  # of the original


@dataclass(frozen=True)
class TaskEpisodes:
    """Episodes of one task, end to end: states [ n x S ], actions [ n x A ] tokens, rewards and returns [ n ] scaled.

    starts, ends : [ n ]  first row of each row's episode, and the row after its last
    target       : greatest return of an episode, scaled
    """

    task: SuiteTask
    states: Tensor
    actions: Tensor
    rewards: Tensor
    returns: Tensor
    starts: Tensor
    ends: Tensor
    scale: float
    target: float
    checksum: int

    @property
    def n_steps(self) -> int:
        return len(self.rewards)


def read_task(folder, task: SuiteTask, tokens: ActionTokens, state_dim: int, act_dim: int, min_steps: int = 1):
    """The episodes of `<folder>/<task>.hdf5`; an unfinished last one, and shorter ones than `min_steps`, are left out.

    returns : `TaskEpisodes`
    """
    path = Path(folder, f'{task.name}.hdf5')
    if not path.is_file():
        raise InputError(f'{path} is not there.\n  {_how_to_record(task, folder)}')
    columns, metadata = read_episodes(path), read_metadata(path)
    named = metadata.get('task', metadata.get('env', task.name))
    widths = columns['observations'].shape[1], columns['actions'].shape[1]
    if named != task.name or widths != (task.observation_dim, task.action_dim):
        raise InputError(
            f'{path} holds {named} with {widths[0]} columns of observations and {widths[1]} of actions, expected '
            f'{task.name} with {task.observation_dim} and {task.action_dim}.\n  Record it again.'
        )
    if task.suite == 'd4rl' and metadata.get('physics', 'd4rl') != 'd4rl':
        raise InputError(f"{path} was recorded with stock physics, expected D4RL's.\n  {_how_to_record(task, folder)}")
    columns, lengths = _whole_episodes(columns, path, min_steps)
    scale = REWARD_SCALES[task.suite]
    ends = np.cumsum(lengths)
    rewards = columns['rewards'].astype(np.float64) / scale
    returns = np.concatenate([part[::-1].cumsum()[::-1] for part in np.split(rewards, ends[:-1])])
    states = np.zeros((len(rewards), state_dim), dtype=np.float32)
    states[:, : widths[0]] = columns['observations']
    actions = np.zeros((len(rewards), act_dim), dtype=np.float32)  # missing columns are 0, and masked in the loss
    actions[:, : widths[1]] = columns['actions']
    return TaskEpisodes(
        task,
        torch.tensor(states),
        tokens.encode(torch.tensor(actions)),
        torch.tensor(rewards, dtype=torch.float32),
        torch.tensor(returns, dtype=torch.float32),
        torch.tensor(np.repeat(ends - lengths, lengths)),
        torch.tensor(np.repeat(ends, lengths)),
        scale,
        float(returns[ends - lengths].max()),
        zlib.crc32(np.ascontiguousarray(columns['actions']), zlib.crc32(np.ascontiguousarray(columns['observations']))),
    )


def _how_to_record(task, folder):
    path = Path(folder, f'{task.name}.hdf5')
    if task.suite == 'd4rl':
        robot = task.name.split('-')[0].lower()
        return (
            f"Record it: python scripts/collect.py --robot {robot} --savepath {path}; or copy a file of D4RL's there."
        )
    return f'Record it: python scripts/collect.py --suite {task.suite} --tasks {task.name} --savepath {folder}'


def _whole_episodes(columns, path, min_steps):
    over = columns['terminals'] | columns['timeouts']
    lengths = find_path_lengths(over)
    if not over[-1]:
        lengths = lengths[:-1]
    keep = np.repeat(lengths >= min_steps, lengths)
    if not keep.any():
        raise InputError(
            f'{path} holds no whole episode of {min_steps} steps or more.\n  Record more: scripts/collect.py'
        )
    return {name: column[: len(keep)][keep] for name, column in columns.items()}, lengths[lengths >= min_steps]


class SuiteWindows:
    """Draws windows of K steps from the episodes of some tasks; all steps of a domain are as likely to begin one.

    tasks      : a list of `TaskEpisodes`
    context    : K
    statistics : mean and deviation of the slots, [ S ] each, that states are normalized by
    """

    def __init__(self, tasks: list[TaskEpisodes], context: int, statistics: tuple[Tensor, Tensor], device='cpu'):
        self.tasks, self.context, self.device = tasks, context, device
        mean, std = statistics
        offsets = np.cumsum([0, *(task.n_steps for task in tasks)])
        self.states = ((torch.cat([task.states for task in tasks]) - mean) / std).to(device)
        self.actions, self.rewards, self.returns = (
            torch.cat([getattr(task, name) for task in tasks]).to(device) for name in ('actions', 'rewards', 'returns')
        )
        self.starts, self.ends = (
            torch.cat([getattr(task, name) + int(start) for task, start in zip(tasks, offsets[:-1], strict=True)])
            for name in ('starts', 'ends')
        )
        widths = [torch.full((task.n_steps,), task.task.action_dim) for task in tasks]
        self.widths = torch.cat(widths)
        suites = [task.task.suite for task in tasks]
        self.domains = {
            suite: torch.cat(
                [torch.arange(int(offsets[k]), int(offsets[k + 1])) for k in range(len(tasks)) if suites[k] == suite]
            )
            for suite in dict.fromkeys(suites)
        }

    def draw(self, batch_size: int, generator: torch.Generator, number: int = 0) -> Tensor:
        """First rows of windows.    number : of the batch; domains take turns"""
        rows = list(self.domains.values())[number % len(self.domains)]
        return rows[torch.randint(len(rows), (batch_size,), generator=generator)]

    def gather(self, first: Tensor) -> tuple[Sequences, Tensor]:
        """The windows that begin at these rows, left-padded where their episodes end.    first : [ B ]

        returns : the batch, and which columns of actions count, [ B x K x A ]
        """
        steps = torch.arange(self.context)
        length = (self.ends[first] - first).clamp(max=self.context)
        rows = first[:, None] + steps - (self.context - length)[:, None]
        real = rows >= first[:, None]
        rows = torch.where(real, rows, first[:, None])
        timesteps = torch.where(real, rows - self.starts[first][:, None], 0)
        counted = real[..., None] & (torch.arange(self.actions.shape[1]) < self.widths[first][:, None, None])
        rows, mask = rows.to(self.device), real.to(self.device)
        batch = Sequences(
            self.states[rows] * mask[..., None],
            self.actions[rows],
            self.returns[rows] * mask,
            self.rewards[rows] * mask,
            timesteps.to(self.device),
            mask.float(),
        )
        return batch, counted.to(self.device)


def find_statistics(tasks: list[TaskEpisodes]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each slot over the steps of some tasks; slots that never change keep a deviation of 1."""
    states = torch.cat([task.states for task in tasks]).double()
    std = states.std(0)
    return states.mean(0).float(), torch.where(std < 1e-4, torch.ones_like(std), std).float()
