"""The loop that trains any algorithm: epochs, rows of numbers, checkpoints, and going on to the same end."""

import pytest
import torch

from trajectory.storage.checkpoints import Checkpoints, find_checkpoint
from trajectory.training.loop import TrainingLoop, mean_of
from trajectory.utils.errors import Stopped


class Walk:
    """Adds random numbers up: the smallest thing that learns."""

    n_updates, updates_per_epoch, logged = 10, 4, ('loss',)

    def __init__(self):
        self.total = torch.zeros(1)

    def update(self):
        self.total += torch.rand(1)
        return {'loss': self.total.sum()}

    def check(self):
        pass

    def status(self):
        return {'learning_rate': 0.1}

    def state_dict(self):
        return {'total': self.total.clone()}

    def load_state_dict(self, state):
        self.total = state['total'].clone()


def run_to_end(folder, stop_after=None, seed=0, **options):
    """A run, from where the folder says.    returns : the walk, its rows, and the epochs that ended"""
    folder.mkdir(exist_ok=True)
    torch.manual_seed(seed)
    walk, rows, ends = Walk(), [], []
    loop = TrainingLoop(walk, checkpoints=Checkpoints(folder, {}, 1), log_freq=3)
    if (state := find_checkpoint(folder, {})) is not None:
        loop.load_state_dict(state)
    calls = []

    class Stop:
        signum = 15

        def __bool__(self):
            calls.append(1)
            return stop_after is not None and loop.n_updates >= stop_after

    loop.run(
        on_log=rows.append, on_epoch=lambda epoch: ends.append(epoch) or {'heldout_loss': 1.0}, stop=Stop(), **options
    )
    return walk, rows, ends


def test_rows_come_every_log_freq_updates_and_at_the_end_of_each_epoch(tmp_path):
    _, rows, ends = run_to_end(tmp_path)
    assert [row['step'] for row in rows] == [3, 4, 7, 8]
    assert ends == [1, 2]
    assert [row['epoch'] for row in rows] == [0.75, 1, 1.75, 2]
    assert [('heldout_loss' in row) for row in rows] == [False, True, False, True]
    assert all(row['updates_per_second'] > 0 and row['learning_rate'] == 0.1 for row in rows)


@pytest.mark.parametrize('stop_after', range(1, 10))
def test_a_run_that_is_stopped_anywhere_ends_as_if_it_never_was(tmp_path, stop_after):
    whole, rows, ends = run_to_end(tmp_path / 'whole')
    with pytest.raises(Stopped, match='the same command goes on from there'):
        run_to_end(tmp_path / 'cut', stop_after)
    again, later, later_ends = run_to_end(tmp_path / 'cut', seed=1)  # the generators' states are restored
    assert torch.equal(whole.total, again.total)
    numbers = [(row['step'], row['loss']) for row in rows if row['step'] > stop_after]
    assert [(row['step'], row['loss']) for row in later if row['step'] > stop_after] == numbers
    assert set(later_ends) >= {epoch for epoch in ends if 4 * epoch > stop_after}


def test_a_checkpoint_of_a_version_whose_trainer_was_the_loop_goes_on():
    loop = TrainingLoop(Walk())
    loop.load_state_dict(
        {
            'total': torch.ones(1),
            'random': [],
            'logged_at': [30, 1.5],
            'recent': [],
            'counters': {'n_updates': 5, 'n_epochs': 1, 'seconds': 2.0, 'logged': 4},
        }
    )
    assert (loop.n_updates, loop.n_ended, loop.seconds, loop.logged) == (5, 1, 2.0, 4)


def test_the_mean_is_of_each_number():
    assert mean_of([{'a': 1, 'b': torch.tensor(2.0)}, {'a': 3, 'b': torch.tensor(4.0)}]) == {'a': 2, 'b': 3}
    assert mean_of([]) == {}
