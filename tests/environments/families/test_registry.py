"""The families are found by their ids, and are environments as Gymnasium wants them."""

import subprocess
import sys
import warnings

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env

from trajectory.environments.families.registry import FAMILIES, find_family, register
from trajectory.utils.errors import InputError


@pytest.mark.parametrize('id', FAMILIES)
def test_gymnasiums_own_checks_pass(id):
    register()
    env = gymnasium.make(id)
    assert env.spec.max_episode_steps == FAMILIES[id].max_episode_steps
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*A Box observation space')
        check_env(env.unwrapped, skip_render_check=True)
        env.reset(seed=0)
        env.step(env.action_space.sample())  # whose wrapper checks it too


def test_gymnasium_knows_the_families_once_they_are_registered():
    code = (
        'import gymnasium\n'
        'from trajectory.environments.families.registry import register\n'
        "register(); register()\nprint(gymnasium.make('2DNavigation-v0').spec.id)"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ['2DNavigation-v0']


def test_an_unknown_family_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"no family of tasks '2DNavigaton-v0'\. Did you mean '2DNavigation-v0'"):
        find_family('2DNavigaton-v0')
