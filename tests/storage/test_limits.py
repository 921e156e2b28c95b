"""What a file may say of a model and of a dataset, and what it may not."""

import pytest

from tests.storage.test_weights import SMALL
from trajectory.storage.limits import DATA, MODEL, check_data_settings, check_model_settings
from trajectory.utils.errors import InputError

GOOD = {
    'env': 'hopper-medium-v2',
    'N': 100,
    'penalty': -100,
    'sequence_length': 10,
    'step': 1,
    'discount': 0.99,
    'max_path_length': 1000,
    'discretizer': 'QuantileDiscretizer',
}


def test_what_training_writes_is_admitted():
    check_model_settings(SMALL, 'x.json')
    check_data_settings(GOOD, 'x.json')
    check_data_settings({**GOOD, 'penalty': None, 'max_path_length': None, 'device': 'cpu'}, 'x.json')
    check_data_settings({name: value for name, value in GOOD.items() if name != 'max_path_length'}, 'x.json')


@pytest.mark.parametrize('name', MODEL)
@pytest.mark.parametrize('value', ['4', None, True, -1, float('nan'), [4], 10**30])
def test_a_setting_that_no_model_has_is_named(name, value):
    with pytest.raises(InputError, match=rf'x.json: {name} is .*, expected a .*number from'):
        check_model_settings({**SMALL, name: value}, 'x.json')


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('env', 3),
        ('N', 0),
        ('penalty', 'low'),
        ('sequence_length', None),
        ('discount', 1.5),
        ('discretizer', None),
        ('max_path_length', 0.5),
        ('device', 7),
    ],
)
def test_a_setting_that_no_data_set_has_is_named(name, value):
    with pytest.raises(InputError, match=rf'x.json: {name} is .*, expected a '):
        check_data_settings({**GOOD, name: value}, 'x.json')


@pytest.mark.parametrize(
    ('check', 'good', 'table'),
    [
        (check_model_settings, SMALL, MODEL),
        (check_data_settings, GOOD, DATA),
    ],
)
def test_missing_settings_are_named(check, good, table):
    with pytest.raises(InputError, match=f'x.json says nothing of {next(iter(table))}'):
        check({name: value for name, value in good.items() if name != next(iter(table))}, 'x.json')


def test_a_setting_that_no_data_set_is_made_with_is_named():
    with pytest.raises(InputError, match=r"x.json has the setting 'savepath', which no dataset is made with"):
        check_data_settings({**GOOD, 'savepath': 'x'}, 'x.json')


def test_a_model_too_large_to_be_meant_is_refused_unbuilt():
    with pytest.raises(InputError, match=r'x.json describes a model of [\d,]+ numbers; the largest'):
        check_model_settings({**SMALL, 'n_layer': 1000, 'n_embd': 2**14}, 'x.json')
