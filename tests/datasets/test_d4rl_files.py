"""Where D4RL's files lie; their download is tested with the sources."""

from pathlib import Path

from trajectory.datasets.d4rl_files import d4rl_folder, explain_missing, find_d4rl, locate
from trajectory.environments.catalogue import d4rl_catalogue


def test_a_file_lies_in_d4rls_folder(tmp_path, monkeypatch):
    monkeypatch.setenv('D4RL_DATASET_DIR', str(tmp_path))
    assert d4rl_folder() == tmp_path
    assert locate('hopper-medium-v2') == tmp_path / 'hopper_medium-v2.hdf5'
    assert locate('mine') is None


def test_only_d4rls_names_are_d4rls_data():
    source = find_d4rl('ant-medium-v2', None, 'mujoco')
    assert (source.spec.id, source.spec.physics, source.data_source) == ('Ant-v4', 'd4rl', 'D4RL ant-medium-v2')
    assert find_d4rl('maze2d-umaze-v1', None, 'mujoco').spec.physics == 'stock'
    assert find_d4rl('mine', None, 'mujoco') is None
    assert find_d4rl('hopper-medium-v2', Path('x.hdf5'), 'mujoco').data_source == 'x.hdf5'


def test_what_is_missing_is_explained(tmp_path):
    words = explain_missing(tmp_path / 'x.hdf5', d4rl_catalogue()['hopper-medium-v2'])
    assert f'put it here: {tmp_path / "x.hdf5"}' in words
    assert 'D4RL_MIRROR' in words
