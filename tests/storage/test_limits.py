"""What a file may say of a model and of a dataset, and what it may not."""

import pytest

from tests.storage.test_weights import SMALL
from trajectory.storage.limits import DATA, MODEL, check_data_settings, check_model_settings, check_record
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


TABLE = {'n': (int, 1, 9), 'mean': (list, 2, 2), 'kind': (('a', 'b'),), 'flag': (bool,), 'x': (float, 0, 1)}
WHOLE = {'n': 3, 'mean': [0.5, 1], 'kind': 'b', 'flag': False, 'x': 0.5}


def test_a_whole_record_passes():
    check_record(WHOLE, TABLE, 'x.json')


@pytest.mark.parametrize(('changes', 'message'), [
    ({'n': True}, "n is 'True', expected a whole number from 1 to 9"), ({'n': 10}, "n is '10'"),
    ({'mean': [1]}, 'expected a list of numbers, of a length from 2 to 2'), ({'mean': [1, None]}, 'mean is'),
    ({'mean': [1, 10**400]}, 'mean is'), ({'mean': [1, float('nan')]}, 'mean is'), ({'mean': 'ab'}, 'mean is'),
    ({'kind': 'c'}, "kind is 'c', expected one of a, b"), ({'kind': []}, 'kind is'), ({'flag': 1}, 'true or false'),
    ({'x': 'y'}, "x is 'y', expected a number from 0 to 1"), ({'x': None}, "x is 'None'"),
])  # fmt: skip
def test_what_is_not_as_the_table_says_is_named(changes, message):
    with pytest.raises(InputError, match=message):
        check_record({**WHOLE, **changes}, TABLE, 'x.json')


def test_what_is_missing_is_named_and_what_is_no_record_refused():
    with pytest.raises(InputError, match=r'x.json says nothing of kind'):
        check_record({name: value for name, value in WHOLE.items() if name != 'kind'}, TABLE, 'x.json')
    with pytest.raises(InputError, match=r'x.json holds a list, expected an object'):
        check_record([1], TABLE, 'x.json')
