"""Episodes from .npz: what comes in is what was recorded, in real environments too; what does not fit is named."""

import pickle

import gymnasium
import numpy as np
import pytest

from trajectory.datasets.hdf5 import COLUMNS
from trajectory.datasets.importing import import_episodes
from trajectory.utils.errors import InputError


def episode(length, first=0, fell=False):
    steps = np.arange(first, first + length)
    return {
        'observations': np.stack([steps, steps], axis=1).astype(float),
        'actions': steps[:, None] / 1000,
        'rewards': steps.astype(float),
        'terminals': np.arange(length) == (length - 1 if fell else -1),
        'timeouts': np.zeros(length, bool),
    }


def number(episodes, **names):
    """A list of episodes as one dict of arrays.    names : other names for columns; None leaves one out"""
    return {
        f'{names.get(name, name)}_{k}': value
        for k, one in enumerate(episodes)
        for name, value in one.items()
        if names.get(name, name)
    }


def imported(folder, arrays, **given):
    np.savez_compressed(folder / 'mine.npz', **arrays)
    return import_episodes(folder / 'mine.npz', **given)


def rows(flags):
    return list(np.flatnonzero(flags))


# -------------------------------- episodes -------------------------------- #


@pytest.mark.parametrize(
    'names',
    [
        {},
        {'timeouts': None},
        {'terminals': 'terminations', 'timeouts': 'truncations'},
        {'terminals': 'terminated', 'timeouts': 'truncated'},
    ],
)
def test_a_list_of_episodes_is_laid_end_to_end(tmp_path, names):
    lengths = [3] * 12  # so that episode 10 is not taken for the second
    found = imported(tmp_path, number([episode(3, 3 * k, fell=k % 2) for k in range(12)], **names))
    assert list(found) == list(COLUMNS)
    np.testing.assert_array_equal(found['observations'][:, 1], np.arange(sum(lengths)))
    np.testing.assert_allclose(found['actions'][:, 0], np.arange(sum(lengths)) / 1000)
    np.testing.assert_array_equal(found['rewards'], np.arange(sum(lengths)))
    assert rows(found['terminals']) == [5, 11, 17, 23, 29, 35]
    assert rows(found['timeouts']) == [2, 8, 14, 20, 26, 32]


def test_numbers_may_be_padded(tmp_path):
    padded = {f'{name}_{k:03}': value for k in (9, 10) for name, value in episode(2, 2 * k).items()}
    np.testing.assert_array_equal(imported(tmp_path, padded)['rewards'], [18, 19, 20, 21])


def test_an_episode_may_bring_its_last_observation_and_one_word_for_its_end(tmp_path):
    one, other = episode(4), episode(2, 4)
    one['observations'] = np.concatenate([one['observations'], [[-1, -1]]])
    found = imported(tmp_path, number([{**one, 'terminals': np.bool_(True)}, {**other, 'terminals': np.array([0])}]))
    np.testing.assert_array_equal(found['observations'][:, 0], np.arange(6))
    assert (rows(found['terminals']), rows(found['timeouts'])) == ([3], [5])


def test_a_folder_holds_an_episode_a_file(tmp_path):
    for k, name in enumerate(['b', 'a', 'c']):
        np.savez(tmp_path / f'{name}.npz', **episode(2, 2 * k, fell=True), infos=np.array(['x']))
    found = import_episodes(tmp_path)
    np.testing.assert_array_equal(found['rewards'], [2, 3, 0, 1, 4, 5])
    assert rows(found['terminals']) == [1, 3, 5]


def test_steps_are_taken_as_they_are(tmp_path):
    columns = {name: np.concatenate([episode(3, fell=True)[name], episode(4, 3)[name]]) for name in COLUMNS}
    found = imported(tmp_path, columns)
    for name, column in columns.items():
        np.testing.assert_array_equal(found[name], column)


# --------------------------------- buffers --------------------------------- #


def record(env, n_steps, seed=0):
    """What a user's loop collects, of one environment or of several."""
    columns = {name: [] for name in ('observations', 'actions', 'rewards', 'terminations', 'truncations')}
    env.action_space.seed(seed)
    observation, _ = env.reset(seed=seed)
    for _ in range(n_steps):
        action = env.action_space.sample()
        following, *outcome, _ = env.step(action)
        for name, value in zip(columns, (observation, action, *outcome), strict=True):
            columns[name].append(value)
        observation = following
        if np.ndim(outcome[1]) == 0 and (outcome[1] or outcome[2]):
            observation, _ = env.reset()
    return {
        **{name: np.array(column) for name, column in columns.items()},
        'return_queue': np.array(env.return_queue),
        'length_queue': np.array(env.length_queue),
    }


def returns_of(columns):
    ends = np.flatnonzero(columns['terminals'].astype(bool) | columns['timeouts'].astype(bool)) + 1
    return [piece.sum() for piece in np.split(columns['rewards'], ends) if len(piece)]


def make_hopper():
    return gymnasium.make('Hopper-v5', max_episode_steps=25)


def test_a_buffer_of_one_environment_agrees_with_its_statistics(tmp_path):
    buffer = record(gymnasium.wrappers.RecordEpisodeStatistics(make_hopper(), buffer_length=5), 400)
    found = imported(tmp_path, buffer)
    np.testing.assert_array_equal(found['observations'], buffer['observations'])
    assert found['terminals'].any()
    assert found['timeouts'].any()
    np.testing.assert_allclose(returns_of(found)[-6:-1], buffer['return_queue'], rtol=1e-4)


@pytest.mark.parametrize('autoreset', ['next_step', 'same_step'])
def test_a_buffer_of_several_environments_is_taken_apart(tmp_path, autoreset):
    mode = gymnasium.vector.AutoresetMode[autoreset.upper()]
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(
        gymnasium.vector.SyncVectorEnv([make_hopper] * 3, autoreset_mode=mode)
    )
    buffer = record(env, 200)
    found = imported(tmp_path, buffer, autoreset=autoreset)
    n_resets = (buffer['terminations'] | buffer['truncations'])[:-1].sum() * (autoreset == 'next_step')
    assert n_resets or autoreset == 'same_step'
    assert len(found['rewards']) == 600 - n_resets
    starts = np.append(0, np.flatnonzero(found['terminals'] | found['timeouts'])[:-1] + 1)
    assert np.abs(found['observations'][starts, 0] - 1.25).max() < 0.01, 'each begins upright'
    assert len(starts) >= len(buffer['return_queue'])
    if autoreset == 'next_step':
        recorded = np.sort(returns_of(found))
        for expected in buffer['return_queue']:
            assert np.abs(recorded - expected).min() < 1e-3
        with pytest.raises(InputError, match=r'has \d+ steps, length_queue says \d+.\n.*steps left out'):
            imported(tmp_path, {**buffer, 'length_queue': buffer['length_queue'] + 1})


def test_environments_that_began_anew_in_another_way_are_noticed(tmp_path):
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(
        gymnasium.vector.SyncVectorEnv([make_hopper] * 3, autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP)
    )
    with pytest.raises(InputError, match=r'the step after an end earned .*\n  Pass --autoreset same_step'):
        imported(tmp_path, record(env, 100))


def test_scaled_rewards_are_noticed(tmp_path):
    buffer = record(gymnasium.wrappers.RecordEpisodeStatistics(make_hopper()), 100)
    buffer['r'] = buffer.pop('return_queue')
    buffer['rewards'] = 0.1 * buffer['rewards']
    with pytest.raises(InputError, match=r'as its return, return_queue says .*\n  Were rewards scaled'):
        imported(tmp_path, buffer)


# ------------------------------ what does not fit ------------------------------ #


def changed(**changes):
    return {**episode(5), **changes}


@pytest.mark.parametrize(
    ('arrays', 'message'),
    [
        ({}, "has no 'observations'; it holds nothing of use"),
        ({**episode(5), 'terminals': np.zeros(4)}, r"'terminals' has shape \(4,\), expected \[ 5 \]"),
        (changed(rewards=np.zeros((5, 2))), r"'rewards' has shape \(5, 2\), expected \[ 5 \]"),
        (changed(observations=np.zeros(5)), r"'observations' has shape \(5,\), expected \[ 5 x numbers \]"),
        (changed(actions=np.float64(3)), r"'actions' has shape \(\), expected \[ steps x numbers \]"),
        (changed(actions=np.zeros((0, 1))), r"'actions' has shape \(0, 1\), expected \[ steps x numbers \]"),
        (changed(rewards=np.array(['1'] * 5)), "'rewards' holds <U1, expected numbers"),
        (
            changed(rewards=np.array([0, 1, np.nan, 0, 0])),
            "'rewards' has 1 values that are not finite, the first in row 2",
        ),
        (
            changed(terminals=np.array([0, 0, 3, 0, 0])),
            "'terminals' has 1 values other than 0 and 1, the first in row 2",
        ),
        ({name: column for name, column in episode(5).items() if name != 'timeouts'}, "has no 'timeouts'; it holds"),
        (
            {'dones' if name == 'terminals' else name: column for name, column in episode(5).items()},
            "has no 'terminals', and dones do not tell falls from time-outs; it holds actions, dones",
        ),
        (
            changed(observations=np.zeros((5, 3, 2))),
            r"'observations' are of 3 environments, but 'actions' has shape \(5, 1\)",
        ),
        (number([episode(3), {**episode(3), 'rewards': np.zeros(2)}]), r"npz, episode 1: 'rewards' has shape \(2,\)"),
        (
            number([episode(3), {**episode(3), 'actions': np.zeros((3, 2))}]),
            "'actions' of the first episode has 1 columns, of the episode in place 1 2",
        ),
        (
            {key: value for key, value in number([episode(3)] * 2).items() if key != 'actions_1'},
            "episode 1 has no 'actions'",
        ),
        (number([episode(3), episode(0)]), r"episode 1: 'actions' has shape \(0, 1\), expected \[ steps x numbers \]"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, arrays, message):
    with pytest.raises(InputError, match=message) as refused:
        imported(tmp_path, arrays)
    assert str(tmp_path / 'mine.npz') in str(refused.value)
    assert '\n  ' in str(refused.value), 'say what to do'


@pytest.mark.parametrize('flag', ['terminals', 'dones'])
def test_a_pickled_list_of_episodes_is_laid_end_to_end(tmp_path, flag):
    episodes = [episode(3, 3 * k, fell=k % 2) for k in range(4)]
    for one in episodes:
        del one['timeouts']
        one[flag] = one.pop('terminals')
        one['next_observations'] = one['observations'] + 1
    (tmp_path / 'mine.pkl').write_bytes(pickle.dumps(episodes))
    found = import_episodes(tmp_path / 'mine.pkl')
    np.testing.assert_array_equal(found['observations'][:, 1], np.arange(12))
    assert (rows(found['terminals']), rows(found['timeouts'])) == ([5, 11], [2, 8])


class Trap:
    def __reduce__(self):
        return print, ('it ran',)


def test_pickled_objects_are_never_built(tmp_path, capsys):
    with pytest.raises(InputError, match=r'holds Python objects, which are pickled and could run code: they are not'):
        imported(tmp_path, {**episode(5), 'rewards': np.array([Trap()] * 5, dtype=object)})
    (tmp_path / 'mine.pkl').write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match=r'would call builtins.print, .* could run code'):
        import_episodes(tmp_path / 'mine.pkl')
    (tmp_path / 'mine.data').write_bytes(pickle.dumps([]))
    with pytest.raises(InputError, match=r'is no .npz, or not whole; other pickles than lists of episodes'):
        import_episodes(tmp_path / 'mine.data')
    assert 'it ran' not in capsys.readouterr().out


def test_files_that_are_not_there_or_damaged_are_named(tmp_path):
    with pytest.raises(InputError, match=r'absent.npz is not there'):
        import_episodes(tmp_path / 'absent.npz')
    with pytest.raises(InputError, match='holds no episodes'):
        import_episodes(tmp_path)
    imported(tmp_path, episode(500))
    content = (tmp_path / 'mine.npz').read_bytes()
    for cut in np.linspace(0, len(content) - 1, 10).astype(int):
        (tmp_path / 'mine.npz').write_bytes(content[:cut])
        with pytest.raises(InputError, match=r'mine.npz is no .npz, or not whole'):
            import_episodes(tmp_path / 'mine.npz')
    rng = np.random.default_rng(0)
    for place in rng.integers(len(content), size=60):
        damaged = bytearray(content)
        damaged[place] ^= rng.integers(1, 256)
        (tmp_path / 'mine.npz').write_bytes(damaged)
        try:
            found = import_episodes(tmp_path / 'mine.npz')
        except InputError:
            continue
        for name, column in episode(500).items():
            if name != 'timeouts':
                np.testing.assert_array_equal(found[name], column)
