"""A data source: its environment's facts and its columns, without a simulator."""

import subprocess
import sys

import numpy as np
import pytest

from tests.datasets.test_sources import steps
from trajectory.datasets.hdf5 import write_episodes
from trajectory.datasets.source import DataSource
from trajectory.environments.spec import EnvironmentSpec
from trajectory.utils.errors import InputError

PROBE = """
import sys
from trajectory.datasets import DiscretizedDataset, find_source
from trajectory.models import GPT
from types import SimpleNamespace
dataset = DiscretizedDataset(find_source('mine', sys.argv[1]), sequence_length=3, step=1, N=4)
D = dataset.layout.dim
model = GPT(SimpleNamespace(vocab_size=4, block_size=3 * D - 1, n_layer=1, n_head=1, n_embd=8, observation_dim=11,
            action_dim=3, transition_dim=D, action_weight=5, reward_weight=1, value_weight=1, embd_pdrop=0,
            resid_pdrop=0, attn_pdrop=0))
print(float(model(*dataset.gather(__import__('torch').arange(2)))[1].detach()))
print([name for name in sys.modules if name.split('.')[0] in ('mujoco', 'glfw', 'gymnasium_robotics')])
"""


def test_a_transition_reaches_the_loss_without_a_simulator(tmp_path):
    write_episodes(tmp_path / 'mine.hdf5', steps(40), {'env': 'Hopper-v4', 'physics': 'd4rl'})
    done = subprocess.run([sys.executable, '-c', PROBE, tmp_path / 'mine.hdf5'], capture_output=True, text=True)
    assert not done.stderr, done.stderr
    loss, loaded = done.stdout.split('\n')[:2]
    assert float(loss) > 0
    assert loaded == '[]'


def test_a_source_without_data_says_so():
    source = DataSource('Hopper-v4', EnvironmentSpec('Hopper-v4'))
    assert (source.id, source.data_source) == ('Hopper-v4', None)
    with pytest.raises(InputError, match='Hopper-v4 names no recorded data; pass a file'):
        source.get_dataset()


def test_its_simulator_serves_the_same_data():
    source = DataSource('mine', EnvironmentSpec('Hopper-v4', 'd4rl', data_source='here'), read=steps)
    env = source.make()
    assert (env.id, env.physics, env.data_source) == ('Hopper-v4', 'd4rl', 'here')
    np.testing.assert_array_equal(env.get_dataset()['rewards'], source.get_dataset()['rewards'])
