"""The user's errors are told from ours by their class."""

import pytest

from trajectory.utils.errors import InputError, did_you_mean


def test_an_input_error_is_caught_by_those_who_expect_a_value_error():
    with pytest.raises(ValueError, match='found 3, expected 4'):
        raise InputError('found 3, expected 4')


def test_an_assertion_of_ours_is_not_the_users_fault():
    assert not issubclass(AssertionError, InputError)


def test_a_near_name_is_suggested_and_a_far_one_is_not():
    assert did_you_mean('hamer-v3', ('push-v3', 'hammer-v3')) == " Did you mean 'hammer-v3'?"
    assert did_you_mean('something', {'push-v3': 1}) == ''
    assert did_you_mean(None, ('push-v3',)) == ''
