"""A file of episodes is described as it is, and each thing that is wrong with it is named with its rows."""

import re

import numpy as np
import pytest

from tests.datasets.test_hdf5 import recorded, write_raw
from trajectory.datasets.hdf5 import write_episodes
from trajectory.datasets.inspection import inspect_file
from trajectory.environments.catalogue import reference_returns
from trajectory.utils.errors import InputError


def episodes(lengths=(5, 3, 4), ends='TF.'):
    """Episodes of a hopper that earn 1 a step; they end by time-out (T), fall (F), both (B) or not (.)."""
    n_steps, last = sum(lengths), np.cumsum(lengths) - 1
    columns = recorded(n_steps)
    columns['rewards'] = np.ones(n_steps, dtype=np.float32)
    columns['terminals'], columns['timeouts'] = np.zeros((2, n_steps), dtype=bool)
    columns['terminals'][[row for row, end in zip(last, ends, strict=True) if end in 'FB']] = True
    columns['timeouts'][[row for row, end in zip(last, ends, strict=True) if end in 'TB']] = True
    return columns


def inspect(folder, columns, **metadata):
    write_episodes(folder / 'mine.hdf5', columns, metadata)
    return inspect_file(folder / 'mine.hdf5')


def test_episodes_are_counted_and_scored(tmp_path):
    found = inspect(tmp_path, episodes(ends='TFF'), env='Hopper-v4')
    np.testing.assert_array_equal(found.lengths, [5, 3, 4])
    np.testing.assert_array_equal(found.returns, [5, 3, 4])
    low, high = reference_returns('Hopper-v4')
    np.testing.assert_allclose(found.scores, (np.array([5, 3, 4]) - low) / (high - low))
    assert (found.env.id, found.env.physics) == ('Hopper-v4', 'stock')
    assert found.violations == found.remarks == []


def test_ranges_are_of_each_column_and_a_constant_has_no_deviation(tmp_path):
    columns = episodes()
    columns['observations'][:, 4] = 0.1
    columns['actions'][:, 1] = np.linspace(-1, 0.5, 12)
    ranges = {name: numbers for name, *numbers in inspect(tmp_path, columns, env='Hopper-v4').ranges()}
    assert len(ranges) == 11 + 3 + 3
    assert ranges['observations[4]'][-1] == 0
    assert ranges['rewards'] == [1, 1, 1, 0]
    np.testing.assert_allclose(ranges['actions[1]'], [-1, -0.25, 0.5, columns['actions'][:, 1].std()], rtol=1e-5)


def words(violations):
    return [(violation.text.partition(',')[0], list(violation.rows)) for violation in violations]


def test_what_is_peculiar_is_remarked_with_its_rows(tmp_path):
    columns = episodes(lengths=(5, 1, 2, 4), ends='TFB.')
    columns['actions'][[2, 9], 1] = 1.5, -7
    assert words(inspect(tmp_path, columns, env='Hopper-v4').remarks) == [
        ("'actions' pass the environment's bounds in 2 rows", [2, 9]),
        ('the robot fell as the clock ran out in 1 rows', [7]),
        ('the last episode is cut off by the end of the file', [8]),
        ('1 episodes have one step', [5]),
    ]
    columns = episodes(lengths=(10, 1001), ends='TT')
    assert words(inspect(tmp_path, columns, env='Hopper-v4').remarks) == [('1 episodes have more than 1', [10])]


@pytest.mark.parametrize(
    ('metadata', 'message'),
    [
        ({}, r"does not say which environment it was recorded in \(metadata/env\), and 'mine' is no D4RL name"),
        ({'env': 'Hoper-v4'}, "'Hoper-v4' is not an environment that Gymnasium can make"),
        ({'env': 'Walker2d-v4'}, "'observations' of mine has 11 columns, those of its environment Walker2d-v4 17"),
        ({'env': 'Ant-v4'}, 'expected an ant observation of 111 columns .* found 11'),
        ({'env': 'Hopper-v4', 'physics': 'lunar'}, "unknown physics 'lunar'"),
    ],
)
def test_an_environment_that_does_not_fit_is_a_violation(tmp_path, metadata, message):
    found = inspect(tmp_path, episodes(), **metadata)
    assert len(found.violations) == 1
    assert re.search(message, found.violations[0].text)
    assert found.violations[0].remedy
    assert len(found.lengths) == 3


def test_a_file_is_taken_for_what_it_is_called_or_said_to_be(tmp_path):
    write_episodes(tmp_path / 'hopper_medium-v2.hdf5', episodes(), {})
    assert inspect_file(tmp_path / 'hopper_medium-v2.hdf5').env.name == 'hopper-medium-v2'
    write_episodes(tmp_path / 'mine.hdf5', episodes(), {})
    assert inspect_file(tmp_path / 'mine.hdf5', 'hopper-expert-v2').env.physics == 'd4rl'


def test_a_file_that_lacks_columns_is_described_as_far_as_it_goes(tmp_path):
    found = inspect_file(
        write_raw(
            tmp_path / 'mine.hdf5',
            **{**recorded(), 'rewards': None, 'terminals': ['no'] * 400, 'metadata/env': 'Hopper-v4'},
        )
    )
    assert [violation.text.partition(';')[0] for violation in found.violations] == [
        "it has no 'rewards'",
        "'terminals' holds object, expected numbers",
    ]
    assert (found.lengths, found.returns, found.scores) == (None, None, None)
    assert {name.partition('[')[0] for name, *_ in found.ranges()} == {'observations', 'actions', 'timeouts'}


def test_empty_columns_are_described(tmp_path):
    found = inspect(tmp_path, {name: column[:0] for name, column in recorded().items()}, env='Hopper-v4')
    assert [violation.text for violation in found.violations] == ['it holds no steps']
    assert found.lengths is None
    assert found.ranges() == []


def test_what_is_no_hdf5_file_is_refused_at_once(tmp_path):
    (tmp_path / 'mine.hdf5').write_text('no')
    with pytest.raises(InputError, match='not a whole HDF5 file'):
        inspect_file(tmp_path / 'mine.hdf5')


@pytest.mark.parametrize(
    ('lengths', 'ends', 'warns'),
    [
        ((1000, 1000, 300), 'FFF', True),
        ((1000, 1000, 300), 'TTF', False),
        ((1000, 900, 300), 'FFF', False),
        ((1000, 1000, 300), 'FFT', False),
    ],
)
def test_falls_at_the_step_limit_are_time_outs_with_another_name(tmp_path, lengths, ends, warns):
    found = inspect(tmp_path, episodes(lengths, ends), env='Hopper-v4')
    assert not found.violations
    texts = [remark.text for remark in found.remarks if 'exactly at the step limit of 1,000' in remark.text]
    assert bool(texts) is warns
    if warns:
        assert texts[0].startswith('2 episodes end as falls')
