"""Windows with returns-to-go against the original's batches, and how they are drawn."""

import numpy as np
import pytest
import torch

from tests.support import golden
from trajectory.datasets.episodes import Episodes
from trajectory.datasets.return_windows import ReturnWindows


@pytest.fixture(scope='module')
def arrays():
    return golden('decision/batches')


def episodes_of(arrays):
    names = 'observations', 'actions', 'rewards', 'terminals', 'lengths'
    return Episodes(*(arrays[f'data/{name}'] for name in names))


def windows_of(arrays, **changes):
    config = arrays['config']
    return ReturnWindows(episodes_of(arrays), config['K'], config['scale'], max_ep_len=config['max_ep_len'], **changes)


@pytest.mark.parametrize('kind', ['normal', 'top', 'delayed'])
def test_batches_of_recorded_draws_are_the_originals(arrays, kind):
    windows = windows_of(
        arrays, delayed=kind == 'delayed', pct_traj=arrays['config']['pct_traj'] if kind == 'top' else 1.0
    )
    np.testing.assert_array_equal(windows.kept, arrays[f'{kind}/sorted_inds'])
    np.testing.assert_allclose(windows.weights / windows.weights.sum(), arrays[f'{kind}/p_sample'])
    np.testing.assert_allclose(windows.state_mean, arrays['state_mean'], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(windows.state_std, arrays['state_std'], rtol=1e-5, atol=1e-6)
    batch = windows.gather(*(torch.tensor(arrays[f'{kind}/{name}']) for name in ('trajectory', 'start')))
    real = arrays[f'{kind}/mask'] == 1
    np.testing.assert_array_equal(batch.mask, arrays[f'{kind}/mask'])
    np.testing.assert_array_equal(batch.dones, arrays[f'{kind}/dones'])
    np.testing.assert_array_equal(batch.timesteps, arrays[f'{kind}/timesteps'])
    np.testing.assert_array_equal(batch.actions, arrays[f'{kind}/actions'])
    np.testing.assert_allclose(batch.returns_to_go, arrays[f'{kind}/returns_to_go'], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(batch.rewards, arrays[f'{kind}/rewards'], rtol=1e-6, atol=1e-5)
    varying = arrays['state_std'] > 1e-5
    np.testing.assert_allclose(
        batch.states[real][:, varying], arrays[f'{kind}/states'][real][:, varying], rtol=1e-5, atol=2e-6
    )
    assert not batch.states[~torch.tensor(real)].any()  # padded after normalizing


def test_the_share_of_the_best_episodes_is_the_originals(arrays):
    episodes = episodes_of(arrays)
    kept = [len(episodes.best_numbers(pct)) for pct in arrays['pct_traj']]
    np.testing.assert_array_equal(kept, arrays['pct_kept'])


def test_episodes_are_drawn_by_their_length_and_steps_evenly(arrays):
    windows = windows_of(arrays)
    episodes, starts = windows.draw(50_000, torch.Generator().manual_seed(0))
    lengths = arrays['data/lengths']
    share = np.bincount(episodes, minlength=len(lengths)) / 50_000
    np.testing.assert_allclose(share, lengths / lengths.sum(), atol=0.01)
    assert all(starts[episodes == k].max() == lengths[k] - 1 for k in range(len(lengths)))
    assert starts.min() == 0
    again, _ = windows.draw(50_000, torch.Generator().manual_seed(0))
    assert torch.equal(episodes, again)


def test_a_delayed_reward_leaves_the_episodes_as_they_were(arrays):
    episodes = episodes_of(arrays)
    before = episodes.rewards.copy()
    ReturnWindows(episodes, 3, delayed=True)
    np.testing.assert_array_equal(episodes.rewards, before)


def test_windows_of_others_may_be_normalized_by_the_statistics_of_those_learned_from(arrays):
    episodes = episodes_of(arrays)
    whole = ReturnWindows(episodes, 3)
    some = ReturnWindows(episodes.take(np.array([0])), 3, statistics=(whole.state_mean, whole.state_std))
    np.testing.assert_array_equal(some.states, whole.states[: len(some.states)])
