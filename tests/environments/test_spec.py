"""A specification names an environment without a simulator, and makes it."""

import subprocess
import sys

import pytest

from trajectory.environments.spec import EnvironmentSpec


def test_a_record_gives_the_same_specification_back():
    spec = EnvironmentSpec('Hopper-v4', 'd4rl', 'mine', {'reset_noise_scale': 0.1}, (0.0, 10.0), 'a file')
    assert EnvironmentSpec.from_record(spec.record(), 'mine') == spec
    assert EnvironmentSpec('Hopper-v4').record() == {
        'environment': 'Hopper-v4',
        'physics': 'stock',
        'data_source': None,
    }


def test_scores_are_d4rls_or_the_datasets_own():
    assert EnvironmentSpec('Hopper-v4', name='hopper-medium-v2').normalized_score(3234.3) == pytest.approx(1, abs=1e-4)
    assert EnvironmentSpec('Hopper-v4', name='mine').normalized_score(3234.3) == pytest.approx(1, abs=1e-4)
    assert EnvironmentSpec('Hopper-v4', references=(0, 10)).normalized_score(5) == 0.5
    assert EnvironmentSpec('Pendulum-v1').normalized_score(5) is None


def test_it_makes_its_environment():
    env = EnvironmentSpec('Hopper-v4', 'd4rl', 'mine', {'reset_noise_scale': 0.0}, (0, 10), 'a file').make()
    assert (env.id, env.physics, env.name, env.data_source) == ('Hopper-v4', 'd4rl', 'mine', 'a file')
    assert env.get_normalized_score(5) == 0.5


def test_a_specification_loads_no_simulator():
    probe = (
        'import sys\nfrom trajectory.environments.spec import EnvironmentSpec\n'
        'EnvironmentSpec("Hopper-v4", "d4rl").normalized_score(1)\nprint("mujoco" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', probe], capture_output=True, text=True).stdout == 'False\n'
