"""Turn recorded episodes into windows of tokens that the transformer learns from.

Token `N` (one past the last bin) means "the episode had ended"; it is never a bin of its own. Episodes stay end to
end, as they were recorded; nothing is padded, and a window is gathered only when it is asked for:

    tokens   [ a0 a1 a2 a3 | b0 b1 | c0 c1 c2 ]    a window of 3 from a2:  a2 a3  N    (N: every column the stop token)
    windows    a0 a1 a2      b0      c0 c1         a start at every step but an episode's last
"""

import tempfile
import zlib

import numpy as np
import torch
from torch import Tensor

from trajectory.datasets.d4rl import qlearning_dataset_with_timeouts
from trajectory.datasets.discretization import make_discretizer
from trajectory.datasets.preprocessing import get_preprocess_fn, preprocess_dataset
from trajectory.datasets.sources import find_source
from trajectory.utils.errors import InputError
from trajectory.utils.files import cannot_write, mkdir
from trajectory.utils.layout import TransitionLayout


def segment(observations: np.ndarray, terminals: np.ndarray, max_path_length: int):
    """Cut steps into episodes, filled up with zeros to one length.

    observations : [ steps x d ]      terminals : [ steps ] or [ steps x 1 ]
    returns      : [ paths x max_path_length x d ]; [ paths x max_path_length ], true past the end; lengths, [ paths ]
    """
    lengths = find_path_lengths(terminals)
    check_path_lengths(lengths, max_path_length)
    inside = np.arange(max_path_length) < lengths[:, None]
    segmented = np.zeros((len(lengths), max_path_length, observations.shape[1]), dtype=observations.dtype)
    segmented[inside] = observations
    return segmented, ~inside, lengths


def find_path_lengths(terminals: np.ndarray) -> np.ndarray:
    """Steps of each episode; the last may be one that the end of the data cut off.    terminals : [ steps (x 1) ]"""
    ends = np.flatnonzero(terminals) + 1
    if len(terminals) and (not len(ends) or ends[-1] < len(terminals)):
        ends = np.append(ends, len(terminals))
    return np.diff(ends, prepend=0)


def check_path_lengths(lengths: np.ndarray, max_path_length: int) -> None:
    if len(lengths) and lengths.max() > max_path_length:
        longest = int(lengths.argmax())
        raise InputError(
            f'episode {longest} has {lengths[longest]:,} steps, more than max_path_length = '
            f'{max_path_length:,}.\n  Pass --max_path_length None to take the length from the data.'
        )


def check_widths(env, preprocess_fn, layout: TransitionLayout) -> None:
    """Refuse observations and actions that the environment, as far as is known, neither makes nor takes."""
    if hasattr(env, 'observation_space'):
        widths = len(preprocess_fn(np.zeros(env.observation_space.shape))), env.action_space.shape[0]
    else:
        widths = getattr(getattr(env, 'spec', None), 'widths', None) or (layout.observation_dim, layout.action_dim)
    for name, found, expected in (
        ('observations', layout.observation_dim, widths[0]),
        ('actions', layout.action_dim, widths[1]),
    ):
        if found != expected:
            raise InputError(
                f"'{name}' of {env.name} has {found} columns, those of its environment {env.id} "
                f'{expected}.\n  Was it recorded in another? Correct metadata/env, or --dataset.'
            )


def discounted_values(rewards: np.ndarray, lengths: np.ndarray, discount: float) -> np.ndarray:
    """Value of each step: the discounted sum of the rewards after it, to the end of its episode.

    rewards, returns : [ steps ], episodes end to end      lengths : [ paths ]
    """
    values = np.zeros(len(rewards))
    ends = np.cumsum(lengths)
    for from_end in range(1, lengths.max(initial=0)):  # one pass per step of the longest episode, all episodes at once
        now = ends[lengths > from_end] - 1 - from_end
        values[now] = rewards[now + 1] + discount * values[now + 1]
    return values


class SequenceDataset(torch.utils.data.Dataset):
    """Recorded episodes as transitions `[ observation | action | reward | value ]`, episodes end to end.

    env             : a `DataSource`, an environment with `.name` and `.get_dataset()`, or the name of a dataset
    sequence_length : steps a window spans; it holds every `step`-th of them
    penalty         : reward written over that of a step at which the robot fell
    max_path_length : longest episode admitted; None takes the longest there is
    device          : where batches are gathered

    joined_raw      : [ steps x D ]       path_lengths : [ paths ]
    """

    def __init__(
        self,
        env,
        sequence_length: int = 250,
        step: int = 10,
        discount: float = 0.99,
        max_path_length: int | None = 1000,
        penalty: float | None = None,
        device: str = 'cpu',
    ):
        env = find_source(env) if isinstance(env, str) else env
        self.env = env
        self.sequence_length = sequence_length
        self.step = step
        self.discount = discount
        self.device = torch.device(device)

        data = qlearning_dataset_with_timeouts(env, terminate_on_end=True)
        preprocess_fn = get_preprocess_fn(getattr(env, 'id', env.name))  # a file may name another robot than its name
        data = preprocess_dataset(preprocess_fn)(data)
        self.layout = TransitionLayout(data['observations'].shape[1], data['actions'].shape[1])
        check_widths(env, preprocess_fn, self.layout)
        self.observation_dim, self.action_dim = self.layout.observation_dim, self.layout.action_dim
        self.joined_dim = self.layout.dim
        self.path_lengths = find_path_lengths(data['terminals'])
        self.max_path_length = int(self.path_lengths.max(initial=0)) if max_path_length is None else max_path_length
        check_path_lengths(self.path_lengths, self.max_path_length)

        rewards = data['rewards'].astype(np.float64)[:, 0]
        self.path_returns = np.add.reduceat(rewards, self._path_starts()) if len(rewards) else rewards
        if penalty is not None:
            rewards[data['realterminals'][:, 0]] = penalty
        values = discounted_values(rewards, self.path_lengths, discount)
        self.joined_raw = np.concatenate(
            [data['observations'], data['actions'], rewards[:, None], values[:, None]], axis=1, dtype=np.float64
        )
        self._find_windows()

    def _find_windows(self):
        """Where windows start: at every step of an episode but its last."""
        longest = self.path_lengths.max(initial=0)
        if longest < self.sequence_length:
            raise InputError(
                f'the longest of {len(self.path_lengths):,} episodes has {longest} steps, fewer than a window of '
                f'{self.sequence_length}.\n  Pass a smaller --subsampled_sequence_length.'
            )
        if longest < 2:
            raise InputError(
                f'each of the {len(self.path_lengths):,} episodes ends at its first step, and no window '
                'starts at a last one.\n  Record longer episodes.'
            )
        n_windows = self.path_lengths - 1
        paths = np.repeat(np.arange(len(self.path_lengths)), n_windows)
        starts = np.arange(len(paths)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
        lengths = self.path_lengths[paths]
        self._windows = np.stack([paths, starts], axis=1).astype(np.int32)
        self._first_row = self._to_device((self._path_starts()[paths] + starts).astype(np.int32))
        self._steps_left = self._to_device((lengths - starts).astype(np.int32))
        self._start = self._to_device(starts.astype(np.int32))
        n_inside = -(-np.minimum(lengths - starts, self.sequence_length) // self.step)
        self._n_targets = (n_inside * self.joined_dim - 1).astype(np.int32)
        self._offsets = torch.arange(0, self.sequence_length, self.step, device=self.device)

    def _path_starts(self):
        return np.cumsum(self.path_lengths) - self.path_lengths

    def _to_device(self, array):
        return torch.as_tensor(array, device=self.device)

    def move_to(self, device: torch.device | str) -> None:
        """Gather batches on this device from now on."""
        self.device = torch.device(device)
        for name, value in vars(self).items():
            if torch.is_tensor(value):
                setattr(self, name, value.to(self.device))

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def indices(self) -> np.ndarray:
        """[ windows x 3 ]  path, first step, and the step after the last one."""
        paths, starts = self._windows.astype(np.int64).T
        return np.stack([paths, starts, starts + self.sequence_length], axis=1)

    @property
    def joined_segmented(self) -> np.ndarray:
        """[ paths x max_path_length + sequence_length − 1 x D ]  the transitions, filled up with zeros."""
        return self._segment()[0]

    @property
    def termination_flags(self) -> np.ndarray:
        """[ paths x max_path_length + sequence_length − 1 ]  true past the end of an episode."""
        return self._segment()[1]

    # the reference's names of columns: `_raw` [ steps x d ], `_segmented` [ paths x longest x d ]

    @property
    def discounts(self) -> np.ndarray:
        """[ max_path_length x 1 ]  powers of the discount."""
        return self.discount ** np.arange(self.max_path_length)[:, None]

    @property
    def observations_raw(self) -> np.ndarray:
        return self.joined_raw[:, self.layout.observation]

    @property
    def actions_raw(self) -> np.ndarray:
        return self.joined_raw[:, self.layout.action]

    @property
    def rewards_raw(self) -> np.ndarray:
        return self.joined_raw[:, [self.layout.reward]]

    @property
    def values_raw(self) -> np.ndarray:
        return self.joined_raw[:, [self.layout.value]]

    @property
    def rewards_segmented(self) -> np.ndarray:
        return self.joined_segmented[:, : self.max_path_length, [self.layout.reward]]

    @property
    def values_segmented(self) -> np.ndarray:
        return self.joined_segmented[:, : self.max_path_length, [self.layout.value]]

    def _segment(self):
        terminals = np.zeros(len(self.joined_raw), dtype=bool)
        terminals[np.cumsum(self.path_lengths) - 1] = True
        return segment(self.joined_raw, terminals, self.max_path_length + self.sequence_length - 1)

    def split(self, share: float, seed: int) -> tuple[Tensor, Tensor]:
        """Hold out some episodes: windows to learn from, [ n ], and windows of the others, [ m ].

        share : of the episodes that is held out, at least one of them unless it is 0; windows of one overlap, so an
                episode is never on both sides
        """
        paths = np.flatnonzero(self.path_lengths > 1)  # a path of one step has no window
        if share and len(paths) < 2:
            raise InputError(
                f'{len(paths)} episode cannot be shared between learning and holding out.\n  Leave out --held_out.'
            )
        n_held_out = min(len(paths) - 1, max(1, round(share * len(paths)))) if share else 0
        held_out = np.random.default_rng(seed).permutation(paths)[:n_held_out]
        is_held_out = np.isin(self._windows[:, 0], held_out)
        learned, held_out = (torch.as_tensor(np.flatnonzero(side)) for side in (~is_held_out, is_held_out))
        return learned, held_out

    def count_targets(self, indices: Tensor) -> int:
        """How many targets of these windows are not the stop token.    indices : [ B ], on the CPU"""
        return int(self._n_targets[indices.numpy()].sum())

    def __getitem__(self, index: int) -> Tensor:
        """[ sequence_length / step x D ]  a window's transitions, zeros past the end."""
        rows, inside = self._rows(torch.as_tensor([index], device=self.device))
        return torch.as_tensor(self.joined_raw[rows[0].cpu()]) * inside[0, :, None].cpu()

    def _rows(self, indices):
        """Rows of the windows' steps, and which of them lie inside the episode: [ B x sequence_length / step ] both."""
        inside = self._offsets < self._steps_left[indices, None]
        return self._first_row[indices, None] + self._offsets * inside, inside


class DiscretizedDataset(SequenceDataset):
    """The same windows as tokens, computed once and kept in the smallest integers that hold them.

    tokens      : [ steps x D ]
    discretizer : its class's name, then the discretizer itself
    on_disk     : whether the tokens are read from a file as they are needed
    """

    on_disk = False

    def __init__(self, *args, N: int = 50, discretizer: str = 'QuantileDiscretizer', **kwargs):
        super().__init__(*args, **kwargs)
        self.N = N
        self.discretizer = make_discretizer(discretizer, self.joined_raw, N)
        self.tokens = self._to_device(self.discretizer.discretize(self.joined_raw).astype(smallest_integer(N)))

    def fingerprint(self) -> str:
        """A few words that other data, or other bins, would not have."""
        checksum = zlib.crc32(self.tokens.cpu().numpy(), zlib.crc32(np.ascontiguousarray(self.path_lengths)))
        return f'{len(self):,} windows with checksum {checksum:08x}'

    @property
    def n_bytes(self) -> int:
        """What the tensors take that batches are gathered from."""
        return sum(value.nbytes for value in vars(self).values() if torch.is_tensor(value))

    def keep_on_disk(self, folder) -> None:
        """Move the numbers and their tokens into nameless files of this folder, mapped into memory.

        The system reads what is asked for, forgets what is not, and deletes the files with the process.
        """
        mkdir(folder)
        self.joined_raw = _mapped(self.joined_raw, folder)
        self.tokens = torch.from_numpy(_mapped(self.tokens.numpy(), folder))
        self.on_disk = True

    def gather(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A batch of windows: tokens, the tokens one further on, and which count in the loss.

        indices : [ B ], on the dataset's device
        returns : X, Y [ B x T ] int64, mask [ B x T ] bool, with T = sequence_length / step · D − 1
        """
        rows, inside = self._rows(indices)
        tokens = torch.where(inside[..., None], self.tokens[rows].long(), self.N).flatten(1)
        # a window may reach past the longest episode; what lies there teaches nothing
        steps = self._start[indices, None] + self._offsets
        mask = (steps <= self.max_path_length - self.step).repeat_interleave(self.joined_dim, dim=1)
        return tokens[:, :-1], tokens[:, 1:], mask[:, :-1]

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        """One window, as `gather` gives them, without the batch dimension."""
        return tuple(column[0] for column in self.gather(torch.as_tensor([index], device=self.device)))


class GoalDataset(DiscretizedDataset):
    """Windows with the goal they lead to: the last observation of their episode, as tokens."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        ends = self._to_device(np.cumsum(self.path_lengths) - 1)
        self.goals = self.tokens[ends][:, self.layout.observation].long()  # [ paths x observation_dim ]
        self._path = self._to_device(self._windows[:, 0].copy())

    def gather(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As in `DiscretizedDataset`, with the goal, [ B x observation_dim ], second."""
        tokens, targets, mask = super().gather(indices)
        return tokens, self.goals[self._path[indices]], targets, mask


def _mapped(array, folder):
    """The same numbers, in a file without a name."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            array.tofile(file)
            return np.memmap(file, array.dtype, 'r+', shape=array.shape)
    except OSError as error:
        raise cannot_write(folder, error) from error


def smallest_integer(N: int) -> type:
    """The smallest integers that hold the tokens 0 … N."""
    return np.uint8 if N <= np.iinfo(np.uint8).max else np.int16 if N <= np.iinfo(np.int16).max else np.int32
