"""The user's errors are told from ours by their class."""

import pytest

from trajectory.utils.errors import InputError


def test_an_input_error_is_caught_by_those_who_expect_a_value_error():
    with pytest.raises(ValueError, match='found 3, expected 4'):
        raise InputError('found 3, expected 4')


def test_an_assertion_of_ours_is_not_the_users_fault():
    assert not issubclass(AssertionError, InputError)
