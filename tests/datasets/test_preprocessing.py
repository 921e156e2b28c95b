"""Observations less what carries nothing, one at a time or many at once."""

import numpy as np
import pytest

from trajectory.datasets.preprocessing import (
    ant_preprocess_fn,
    dataset_preprocess_functions,
    get_preprocess_fn,
    kitchen_preprocess_fn,
    preprocess_dataset,
    preprocess_functions,
    vmap,
)
from trajectory.environments.catalogue import d4rl_catalogue
from trajectory.utils.errors import InputError


def numbered(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    ('name', 'n_all', 'n_kept'),
    [
        ('ant-medium-v2', 111, 27),
        ('ant-ours', 111, 27),
        ('Ant-v4', 111, 27),
        ('kitchen-mixed-v0', 60, 30),
    ],
)
def test_what_carries_nothing_is_left_out(name, n_all, n_kept):
    preprocess = get_preprocess_fn(name)
    many = numbered(5, n_all)
    np.testing.assert_array_equal(preprocess(many), many[:, :n_kept])
    np.testing.assert_array_equal(preprocess(many[2]), many[2, :n_kept])
    np.testing.assert_array_equal(preprocess(preprocess(many)), many[:, :n_kept])


@pytest.mark.parametrize('name', ['hopper-medium-v2', 'Hopper-v4', 'antmaze-umaze-v0', 'mine'])
def test_most_observations_stay_as_they_are(name):
    observations = numbered(5, 29)
    assert get_preprocess_fn(name)(observations) is observations


def test_every_ant_and_kitchen_of_d4rl_has_its_function():
    expected = {name for name in d4rl_catalogue() if name.startswith(('ant-', 'kitchen-'))}
    assert set(preprocess_functions) == set(dataset_preprocess_functions) == expected
    assert len(expected) == 9


def test_a_data_set_is_changed_in_its_observations_alone_and_the_given_one_is_not():
    data = {'observations': numbered(4, 111), 'next_observations': numbered(4, 111) + 1, 'rewards': numbered(4, 1)}
    found = preprocess_dataset(ant_preprocess_fn)(data)
    np.testing.assert_array_equal(found['observations'], data['observations'][:, :27])
    np.testing.assert_array_equal(found['next_observations'], data['next_observations'][:, :27])
    assert found['rewards'] is data['rewards']
    assert data['observations'].shape == (4, 111)
    assert set(preprocess_dataset(ant_preprocess_fn)({'observations': numbered(4, 111)})) == {'observations'}


@pytest.mark.parametrize(
    ('preprocess', 'message'),
    [
        (ant_preprocess_fn, r'expected an ant observation of 111 columns \(or the first 27 of them\), found 29'),
        (kitchen_preprocess_fn, r'expected a kitchen observation of 60 columns \(or the first 30 of them\), found 29'),
    ],
)
def test_an_observation_of_another_width_is_refused(preprocess, message):
    with pytest.raises(InputError, match=message):
        preprocess(numbered(5, 29))
    with pytest.raises(InputError, match=message):
        vmap(preprocess)(numbered(29))
