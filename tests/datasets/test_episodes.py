"""Episodes as numbers: where they begin, which are best, and how they are shared."""

import numpy as np
import pytest

from tests.datasets.test_sources import steps
from trajectory.datasets.episodes import Episodes
from trajectory.datasets.source import DataSource
from trajectory.environments.spec import EnvironmentSpec
from trajectory.utils.errors import InputError


def episodes_of(lengths, returns):
    n = sum(lengths)
    rewards = np.repeat(np.array(returns) / lengths, lengths).astype(np.float32)
    rows = np.arange(n, dtype=np.float32)[:, None]
    return Episodes(rows, rows, rewards, np.zeros(n, bool), lengths)


def test_they_are_read_from_a_source_and_end_where_it_says():
    episodes = Episodes.read(DataSource('mine', EnvironmentSpec('Hopper-v4', 'd4rl'), read=steps))
    assert episodes.lengths.tolist() == [2, 2, 1]  # a fall, a step limit, and the end of the data
    assert episodes.starts.tolist() == [0, 2, 4]
    assert episodes.returns.tolist() == [10, 50, 40]
    assert episodes.terminals.tolist() == [False, True, False, False, False]


def test_columns_of_another_robot_are_refused():
    with pytest.raises(InputError, match="'observations' of mine has 11 columns, those of its environment Walker2d"):
        Episodes.read(DataSource('mine', EnvironmentSpec('Walker2d-v4', 'd4rl'), read=steps))


def test_the_best_are_those_of_highest_return_within_a_share_of_the_steps():
    episodes = episodes_of([10, 10, 10, 70], [5, 9, 7, 1])
    assert episodes.best(0.1).returns.tolist() == pytest.approx([9])
    assert episodes.best(0.19).returns.tolist() == pytest.approx([9])
    assert episodes.best(0.2).observations[:, 0].tolist() == list(range(10, 30))
    assert episodes.best_numbers(0.3).tolist() == [0, 2, 1]
    assert len(episodes.best(0.001)) == 1
    assert episodes.best(1) is episodes


def test_an_episode_is_on_one_side_only():
    episodes = episodes_of([3] * 10, list(range(10)))
    learned, held_out = episodes.split(0.2, seed=0)
    assert sorted([*learned.observations[:, 0], *held_out.observations[:, 0]]) == list(range(30))
    assert len(held_out) == 2
    assert not np.array_equal(held_out.observations, episodes.split(0.2, seed=1)[1].observations)
    assert episodes.split(0, seed=0) == (episodes, None)
    with pytest.raises(InputError, match='a single episode cannot be shared'):
        episodes_of([3], [1]).split(0.5, 0)


def test_other_data_has_another_fingerprint():
    first = episodes_of([3, 3], [1, 2])
    assert first.fingerprint() == episodes_of([3, 3], [1, 2]).fingerprint()
    assert (
        len({first.fingerprint(), episodes_of([3, 3], [1, 3]).fingerprint(), episodes_of([2, 4], [1, 2]).fingerprint()})
        == 3
    )


def two_episodes():
    """One that ends in a terminal step, and one that a step limit ended."""
    column = np.arange(6, dtype=np.float32)[:, None]
    terminals = np.array([False, False, True, False, False, False])
    return Episodes(column, -column, 10 * column[:, 0], terminals, [3, 3])


def test_transitions_end_where_what_follows_is_unknown_and_nothing_counts_after_a_terminal():
    episodes = two_episodes()
    observations, actions, sums, following, discounts = episodes.transitions(episodes.rewards, 0.5)
    assert observations[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert (actions == -observations).all()
    assert sums.tolist() == [0, 10, 20, 30, 40]
    assert following[discounts > 0, 0].tolist() == [1, 2, 4, 5]
    assert discounts.tolist() == [0.5, 0.5, 0, 0.5, 0.5]


@pytest.mark.parametrize('n_steps', [1, 2, 3, 9])
def test_transitions_of_several_steps_are_those_of_a_loop(n_steps):
    rng = np.random.default_rng(0)
    lengths = [5, 1, 7, 4]
    n = sum(lengths)
    terminals = np.zeros(n, bool)
    terminals[[4, 12]] = True
    episodes = Episodes(rng.normal(size=(n, 2)), rng.normal(size=(n, 1)), rng.normal(size=n), terminals, lengths)
    expected = []
    for start, length in zip(episodes.starts, lengths, strict=True):
        last = start + length - 1
        for t in range(start, last + 1):
            total, factor, place = 0.0, 1.0, t
            while place - t < n_steps and (place < last or terminals[last]) and factor:
                total += factor * episodes.rewards[place]
                factor *= 0 if terminals[place] else 0.9
                place += 0 if terminals[place] else 1
            if factor < 1:
                expected.append((t, total, factor, place))
    found = episodes.transitions(episodes.rewards, 0.9, n_steps)
    np.testing.assert_array_equal(found[0], episodes.observations[[t for t, *_ in expected]])
    np.testing.assert_allclose(found[2], [total for _, total, _, _ in expected])
    np.testing.assert_allclose(found[4], [factor for _, _, factor, _ in expected])
    alive = found[4] > 0
    places = np.array([place for *_, place in expected])
    np.testing.assert_array_equal(found[3][alive], episodes.observations[places[alive]])
