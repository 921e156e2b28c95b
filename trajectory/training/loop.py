"""The loop that trains any algorithm: progress, metrics, checkpoints, signals."""

from collections.abc import Callable
from signal import SIGTERM

import torch

from trajectory.storage.checkpoints import random_state, set_random_state
from trajectory.training.distributed import Distributed
from trajectory.utils.errors import Stopped
from trajectory.utils.progress import Silent
from trajectory.utils.timer import Timer


class TrainingLoop:
    """Calls `update` until the algorithm has made `n_updates` of them, and goes on from where a run was cut off.

    algorithm   : an `Algorithm`
    distributed : the processes that share each batch
    log_freq    : updates between two rows of numbers; there is one at the end of each epoch too
    checkpoints : `Checkpoints` to resume from; without them the run is lost if the process dies
    """

    def __init__(self, algorithm, distributed: Distributed | None = None, *, log_freq: int = 100, checkpoints=None):
        self.algorithm = algorithm
        self.distributed = distributed or Distributed()
        self.log_freq = log_freq
        self.checkpoints = checkpoints
        self.n_updates = 0
        self.seconds = 0.0  # spent in updates
        self.logged = 0  # the update after which the last row was written
        self.n_ended = 0  # epochs whose end has been recorded
        self._recent = []  # numbers of the updates since then
        self._logged_at = (0.0, 0.0)  # units of work and seconds by then

    @property
    def n_epochs(self) -> float:
        return self.n_updates / self.algorithm.updates_per_epoch

    def run(
        self, *, on_log: Callable | None = None, on_epoch: Callable | None = None, progress=None, stop=False
    ) -> None:
        """Train to the end.

        on_log   : called with each row of numbers
        on_epoch : called with the number of epochs at the end of each; what it returns joins the row
        progress : told of each update
        stop     : true once the run is to save itself and end, by raising `Stopped`
        """
        progress, algorithm, timer = progress or Silent(), self.algorithm, Timer()
        if self.n_updates // algorithm.updates_per_epoch > self.n_ended:  # cut off before the end was recorded
            self._end_epoch(on_log, on_epoch, progress, stop)
        timer()
        while self.n_updates < algorithm.n_updates:
            self._recent.append(algorithm.update())
            self.n_updates += 1
            place = self.n_updates % algorithm.updates_per_epoch
            if logs := place == 0 or place % self.log_freq == 0:
                algorithm.check()
            self.seconds += timer()
            if logs and place:
                self._log(on_log, progress)
            progress.update()
            self._save_if_due(stop)  # at the end of an epoch too: a resumed run ends it once more
            if not place:
                self._end_epoch(on_log, on_epoch, progress, stop)
            timer()

    def _end_epoch(self, on_log, on_epoch, progress, stop):
        numbers = on_epoch(self.n_updates // self.algorithm.updates_per_epoch) if on_epoch else None
        self._save_if_due(stop, only_to_stop=True)
        self.n_ended = self.n_updates // self.algorithm.updates_per_epoch
        self._log(on_log, progress, numbers)

    def _log(self, on_log, progress, numbers=None):
        status = self.algorithm.status()
        unit = 'tokens' if 'tokens' in status else 'updates'
        done = status['tokens'] if unit == 'tokens' else self.n_updates
        rate = (done - self._logged_at[0]) / max(self.seconds - self._logged_at[1], 1e-9)
        row = {
            'epoch': self.n_epochs,
            'step': self.n_updates,
            **mean_of(self._recent),
            **status,
            f'{unit}_per_second': rate,
            **(numbers or {}),
        }
        self._recent, self._logged_at, self.logged = [], (done, self.seconds), self.n_updates
        shown = {name: row[name] for name in self.algorithm.logged if row.get(name) is not None}
        progress.set_description({**shown, f'{unit}/s': round(rate) if rate >= 10 else rate})
        if on_log:
            on_log(row)

    # ----------------------------- checkpoints ---------------------------- #

    def state_dict(self) -> dict:
        """All that it takes to go on as if nothing had happened."""
        return {
            **self.algorithm.state_dict(),
            'loop': {
                'n_updates': self.n_updates,
                'seconds': self.seconds,
                'logged': self.logged,
                'n_ended': self.n_ended,
                'logged_at': list(self._logged_at),
                'recent': _pack(self._recent),
            },
            'random': self.distributed.all_gather(random_state()),
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on from a state that `state_dict` returned."""
        self.algorithm.load_state_dict(state)
        loop = state['loop'] if 'loop' in state else _of_older(state)
        for name in ('n_updates', 'seconds', 'logged', 'n_ended'):
            setattr(self, name, loop[name])
        self._logged_at, self._recent = tuple(loop['logged_at']), _unpack(loop['recent'])
        if self.distributed.rank < len(state['random']):  # a rank that was not there draws numbers of its own
            set_random_state(state['random'][self.distributed.rank])

    def save(self) -> None:
        """Write a checkpoint; every process takes part."""
        self.algorithm.check()
        state = self.state_dict()
        if self.distributed.is_main:
            self.checkpoints.save(state)

    def _save_if_due(self, stop, only_to_stop=False):
        due = (
            not only_to_stop
            and self.distributed.is_main
            and self.checkpoints is not None
            and self.checkpoints.are_due(self.n_updates)
        )
        stopping, due = self.distributed.any(bool(stop), due)
        if self.checkpoints is not None and (due or stopping):
            self.save()
        if stopping:
            where = f', and saved in {self.checkpoints.path}; the same command goes on from there'
            raise Stopped(
                f'stopped after {self.n_updates:,} updates{where if self.checkpoints else ""}',
                getattr(stop, 'signum', 0) or SIGTERM,
            )


def _of_older(state: dict) -> dict:
    """The place of the loop in a checkpoint of versions whose trainer was the loop."""
    counters = state['counters']
    n_ended = counters['n_epochs']
    return {
        'n_updates': counters['n_updates'],
        'seconds': counters['seconds'],
        'logged': counters['logged'],
        'n_ended': n_ended,
        'logged_at': state['logged_at'],
        'recent': _pack([]),
    }


def _pack(rows: list[dict]) -> dict:
    """Rows of numbers as one tensor, [ rows x names ], by name."""
    names = list(rows[-1]) if rows else []
    values = [torch.stack([torch.as_tensor(row[name], dtype=torch.float64).cpu() for row in rows]) for name in names]
    return {'names': names, 'values': torch.stack(values, dim=1) if names else torch.zeros(0, 0)}


def _unpack(packed: dict) -> list[dict]:
    return [dict(zip(packed['names'], row, strict=True)) for row in packed['values']]


def mean_of(rows: list[dict]) -> dict[str, float]:
    """The mean of each number over some rows; numbers on a device are fetched once."""
    names = list(rows[-1]) if rows else []
    device = next((value.device for value in (rows[-1].values() if rows else ()) if torch.is_tensor(value)), None)
    columns = [
        torch.stack([torch.as_tensor(row[name], dtype=torch.float32, device=device) for row in rows]).mean()
        for name in names
    ]
    return dict(zip(names, torch.stack(columns).tolist(), strict=True)) if names else {}
