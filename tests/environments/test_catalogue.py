"""D4RL's catalogue: every row whole, and the returns that scores are made of."""

import pytest

from trajectory.environments.catalogue import ROBOTS, d4rl_catalogue, reference_returns, robot_of


def test_every_row_is_whole():
    for name, record in d4rl_catalogue().items():
        assert record.name == name
        assert record.url.startswith('http')
        assert record.file.endswith('.hdf5')
        assert (record.ref_min is None) == (record.ref_max is None)
        assert record.ref_min is None or record.ref_min < record.ref_max


@pytest.mark.parametrize('robot', ROBOTS)
def test_robots_have_six_data_sets_of_one_scale(robot):
    records = [record for name, record in d4rl_catalogue().items() if robot_of(name) == robot]
    assert len(records) == 6
    assert len({(record.ref_min, record.ref_max) for record in records}) == 1
    assert len({record.file for record in records}) == 6
    for record in records:
        assert record.bytes > 1_000_000
        assert len(record.sha256) == 64


@pytest.mark.parametrize(
    ('robot', 'low', 'high'),
    [  # d4rl/infos.py, REF_MIN_SCORE and REF_MAX_SCORE
        ('hopper', -20.272305, 3234.3),
        ('halfcheetah', -280.178953, 12135.0),
        ('walker2d', 1.629008, 4592.3),
        ('ant', -325.6, 3879.7),
    ],
)
def test_scores_are_between_d4rls_random_and_its_expert(robot, low, high):
    assert reference_returns(f'{robot}-medium-replay-v2') == (low, high)
    assert reference_returns(f'{robot}-ours') == (low, high)
    assert reference_returns(f'{ROBOTS[robot]}-v4') == (low, high)


def test_what_d4rl_never_scored_has_no_reference():
    assert reference_returns('Swimmer-v4') == (None, None)
    assert reference_returns('') == (None, None)
    assert reference_returns('kitchen-mixed-v0') == (0, 4)


@pytest.mark.parametrize(
    ('name', 'robot'),
    [
        ('hopper-medium-v2', 'hopper'),
        ('Hopper-v4', 'hopper'),
        ('HalfCheetah-v4', 'halfcheetah'),
        ('ant', 'ant'),
        ('antmaze-umaze-v0', None),
        ('hopperlike-v0', None),
        ('', None),
    ],
)
def test_a_robot_is_the_first_word_of_a_name(name, robot):
    assert robot_of(name) == robot
