"""Windows of many tasks are the original's, and domains take turns."""

import numpy as np
import pytest
import torch

from tests.support import golden
from trajectory.datasets.hdf5 import write_episodes
from trajectory.datasets.suite_windows import SuiteWindows, find_statistics, read_task
from trajectory.environments.suites.registry import SuiteTask, find_task
from trajectory.models.tokens import ActionTokens
from trajectory.utils.errors import InputError

NUMBERS = golden('continual/sequence')
TOKENS = ActionTokens(midpoints=False)
PLAIN = torch.zeros(204), torch.ones(204)
ARM, OTHER = (
    SuiteTask('reach-v3', 'metaworld', 39, 4, 200),
    SuiteTask('reacher-easy', 'dm_control', 204, 2, 1000, (0, 1)),
)


def write(folder, task, episodes, **metadata):
    lengths = [len(rewards) for _, _, rewards in episodes]
    ends = np.cumsum(lengths) - 1
    timeouts = np.zeros(sum(lengths), dtype=bool)
    timeouts[ends] = True
    columns = {
        name: np.concatenate([episode[k] for episode in episodes])
        for k, name in enumerate(('observations', 'actions', 'rewards'))
    }
    write_episodes(folder / f'{task.name}.hdf5', {**columns, 'terminals': 0 * timeouts, 'timeouts': timeouts},
                   {'task': task.name, **metadata})  # fmt: skip


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('suite')
    for domain, (task, seen) in enumerate(((ARM, 'observations'), (OTHER, 'slots'))):
        write(folder, task, [
            tuple(NUMBERS[f'raw/{domain}_{episode}/{name}'] for name in (seen, 'actions', 'rewards'))
            for episode in (0, 1)
        ])  # fmt: skip
    return folder


@pytest.fixture(scope='module')
def windows(folder):
    tasks = [read_task(folder, task, TOKENS, 204, 6) for task in (ARM, OTHER)]
    return SuiteWindows(tasks, 5, PLAIN)


def test_windows_are_the_originals(windows):
    offsets = {(0, 0): 0, (0, 1): 9, (1, 0): 16, (1, 1): 24}
    first = torch.tensor([offsets[domain, episode] + start for domain, episode, start in NUMBERS['windows']])
    batch, counted = windows.gather(first)
    real = NUMBERS['batch/mask'] > 0
    assert np.array_equal(batch.mask.numpy(), NUMBERS['batch/mask'])
    assert np.array_equal(batch.actions.numpy()[real], NUMBERS['action_tokens'][real])
    assert np.array_equal(batch.timesteps.numpy()[real], NUMBERS['batch/timesteps'][real])
    assert np.array_equal(counted.numpy()[real], NUMBERS['batch/action_mask'][real] > 0)
    assert not counted.numpy()[~real].any()
    assert batch.states.numpy() == pytest.approx(NUMBERS['batch/states'], abs=1e-6)
    for ours, name in ((batch.returns, 'rtg'), (batch.rewards, 'rewards')):
        assert ours.numpy() == pytest.approx(NUMBERS[f'batch/{name}'][..., 0], abs=1e-6)


def test_domains_take_turns_and_steps_are_as_likely(windows):
    generator = torch.Generator().manual_seed(0)
    first = windows.draw(5000, generator, 0)
    assert first.max() == 15
    assert torch.bincount(first, minlength=16).float().std() < 40
    assert windows.draw(100, generator, 1).min() >= 16


def test_states_are_normalized_by_statistics_of_the_data(folder):
    tasks = [read_task(folder, ARM, TOKENS, 60, 6)]
    mean, std = find_statistics(tasks)
    assert torch.equal(std[39:], torch.ones(21))
    normal = SuiteWindows(tasks, 1, (mean, std)).states[:, :39]
    assert normal.mean(0).abs().max() < 1e-4
    assert normal.std(0) == pytest.approx(1, abs=1e-3)


def test_what_is_missing_or_of_another_task_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r'hammer-v3.hdf5 is not there.\n  Record it: python scripts/collect.py'):
        read_task(folder, find_task('hammer-v3'), TOKENS, 39, 4)
    (tmp_path / 'hammer-v3.hdf5').write_bytes((folder / 'reach-v3.hdf5').read_bytes())
    with pytest.raises(InputError, match='holds reach-v3 with 39 columns'):
        read_task(tmp_path, find_task('hammer-v3'), TOKENS, 39, 4)


def test_a_file_without_a_whole_episode_is_refused(tmp_path):
    write(tmp_path, ARM, [(np.zeros((3, 39)), np.zeros((3, 4)), np.zeros(3))])
    with pytest.raises(InputError, match='holds no whole episode of 5 steps or more'):
        read_task(tmp_path, ARM, TOKENS, 39, 4, min_steps=5)
