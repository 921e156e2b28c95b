"""What a beam search did: its candidates as a tree, their values, and which were kept; and a file of many searches."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trajectory.utils.errors import InputError
from trajectory.utils.files import check_regular, write_atomically

MAX_FILE = 2**28  # bytes that are read
ARRAYS = ('steps', 'transitions', 'parents', 'values', 'kept', 'observations', 'rewards')


@dataclass(frozen=True)
class SearchTrace:
    """One search of H transitions, with R candidates at each, of which B are kept.

    transitions : [ H x R x D ]  tokens, or numbers: the transition that each candidate ends with
    parents     : [ H x R ]  the candidate of the transition before that each continues; 0 at the first
    values      : [ H x R ]  what candidates were ranked by: rewards so far, and the value after them
    kept        : [ H x B ]  the candidates kept, the best first
    """

    transitions: np.ndarray
    parents: np.ndarray
    values: np.ndarray
    kept: np.ndarray

    @classmethod
    def of_groups(cls, steps: list[tuple]) -> list['SearchTrace']:
        """Those of G episodes.    steps : of each transition tokens [ G x R x D ], values [ G x R ], kept [ G x B ]"""
        tokens, values, kept = (
            np.stack([part.cpu().numpy() for part in column], axis=1) for column in zip(*steps, strict=True)
        )
        n_rows, beam_width = tokens.shape[2], kept.shape[2]
        parents = np.zeros(values.shape, dtype=np.int64)
        for t in range(1, len(steps)):  # every kept row is repeated, the whole beam each time
            parents[:, t] = kept[:, t - 1][:, np.arange(n_rows) % beam_width]
        return [cls(*of_one) for of_one in zip(tokens, parents, values, kept, strict=True)]

    def path_to(self, depth: int, candidate: int) -> np.ndarray:
        """The transitions that lead to a candidate, itself included, [ depth + 1 x D ]."""
        path = []
        for t in range(depth, -1, -1):
            path.append(self.transitions[t, candidate])
            candidate = self.parents[t, candidate]
        return np.array(path[::-1])

    def taken(self) -> np.ndarray:
        """The best candidate's transitions, [ H x D ]: the plan."""
        return self.path_to(len(self.values) - 1, self.kept[-1, 0])


@dataclass(frozen=True)
class Searches:
    """Searches of one episode, with what happened in it.

    steps        : [ S ]  environment steps before each
    traces       : S, of numbers
    observations : [ T + 1 x d ]  as the model reads them, a row for each action and one after the last
    rewards      : [ T ]
    stride       : environment steps between the rows, and between the transitions of a search
    """

    steps: np.ndarray
    traces: tuple[SearchTrace, ...]
    observations: np.ndarray
    rewards: np.ndarray
    stride: int = 1

    def save(self, path: Path) -> None:
        """Write all of it as one .npz."""
        kinds = {'transitions': 'f4', 'parents': 'i4', 'values': 'f4', 'kept': 'i4'}
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            **{name: np.stack([getattr(trace, name) for trace in self.traces]).astype(kinds[name]) for name in kinds},
            steps=self.steps,
            observations=self.observations.astype(np.float32),
            rewards=self.rewards.astype(np.float32),
            stride=self.stride,
        )
        with write_atomically(path) as partial:
            partial.write_bytes(buffer.getbuffer())

    @classmethod
    def load(cls, path: Path) -> 'Searches':
        """Read what `save` wrote."""
        check_regular(path, MAX_FILE)
        try:
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > MAX_FILE:
                    raise ValueError('it is larger than any episode is')
            with np.load(path, allow_pickle=False) as archive:
                found = {name: archive[name] for name in (*ARRAYS, 'stride')}
            traces = tuple(
                SearchTrace(*parts)
                for parts in zip(*(found[name] for name in ('transitions', 'parents', 'values', 'kept')), strict=True)
            )
            self = cls(found['steps'], traces, found['observations'], found['rewards'], int(found['stride']))
            self._check()
        except FileNotFoundError as error:
            raise InputError(f'there is no {path}.\n  Plan with --trace_freq 50, say.') from error
        except Exception as error:  # damaged archives make the readers raise nearly anything
            raise InputError(f'{path} cannot be read as searches: {error}\n  Plan again with --trace_freq.') from error
        return self

    def _check(self):
        if not len(self.traces) == len(self.steps) > 0 or self.stride < 1:
            raise ValueError(f'it holds {len(self.steps)} steps and {len(self.traces)} searches')
        for trace in self.traces:
            n_steps, n_rows, dim = trace.transitions.shape
            fits = trace.parents.shape == trace.values.shape == (n_steps, n_rows) and len(trace.kept) == n_steps
            in_range = all(((part >= 0) & (part < n_rows)).all() for part in (trace.parents, trace.kept))
            if not (fits and in_range and trace.kept.size and dim > self.observations.shape[1] + 2):
                raise ValueError('its arrays do not fit one another')
