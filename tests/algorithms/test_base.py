"""Algorithms are found by the names of their folders."""

import pytest

from trajectory.algorithms import ALGORITHMS, Algorithm, find_algorithm
from trajectory.utils.errors import InputError


@pytest.mark.parametrize('name', ALGORITHMS)
def test_every_folder_holds_an_algorithm(name):
    algorithm = find_algorithm(name)
    assert issubclass(algorithm, Algorithm)
    assert not algorithm.__abstractmethods__


def test_an_unknown_algorithm_is_refused():
    with pytest.raises(InputError, match="there is no algorithm 'trajectory_transformr'"):
        find_algorithm('trajectory_transformr')
