"""The published scores are complete, and average to the published averages."""

import pytest

from plotting.scores import (
    BUFFERS,
    ENVIRONMENTS,
    SETTINGS,
    SETTINGS_WITHOUT_ANT,
    UNIFORM,
    average,
    errors,
    means,
    uniform_means,
)


@pytest.mark.parametrize(
    ('algorithm', 'published'),
    [
        ('BC', 47.7),
        ('MBOP', 47.8),
        ('BRAC', 36.9),
        ('CQL', 77.6),
        ('DT', 74.7),
        ('TT', 78.9),
    ],
)
def test_the_nine_settings_without_ant_average_to_the_published_number(algorithm, published):
    assert round(average(means, algorithm, SETTINGS_WITHOUT_ANT), 1) == published


def test_all_twelve_settings_of_tt_average_to_the_published_number():
    assert round(average(means, 'TT'), 1) == 82.2


def test_the_uniform_discretizer_averages_to_the_published_number():
    assert round(average(uniform_means, UNIFORM, SETTINGS_WITHOUT_ANT), 1) == 72.6


def test_an_average_over_a_missing_setting_does_not_exist():
    assert average(means, 'CQL', SETTINGS) is None


def test_every_setting_is_there_and_every_algorithm_but_tt_lacks_ant():
    others = {'BC', 'MBOP', 'MOPO', 'BRAC', 'CQL', 'DT'}
    for buffer in BUFFERS:
        assert tuple(means[buffer]) == tuple(errors[buffer]) == ENVIRONMENTS
        for environment in ENVIRONMENTS:
            assert set(means[buffer][environment]) == ({'TT'} if environment == 'ant' else {*others, 'TT'})
            assert set(errors[buffer][environment]) == {'TT'}
