"""A run's folder: one owner while it is written, and results that say what made them."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from trajectory.storage.run_folder import clear_plan, hash_file, hash_model, hash_recipe, identity_of, lock_folder
from trajectory.utils.errors import InputError

HOLD = (
    'import sys, time\nfrom trajectory.storage.run_folder import lock_folder\n'
    'with lock_folder(sys.argv[1]):\n    print("owned", flush=True)\n    time.sleep(60)\n'
)


@pytest.fixture
def owner(tmp_path):
    """Another process that owns the folder."""
    process = subprocess.Popen([sys.executable, '-c', HOLD, str(tmp_path / 'run')], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == 'owned\n'
    yield process
    process.kill()
    process.wait()


def test_the_second_is_told_who_owns_the_folder(tmp_path, owner):
    with (
        pytest.raises(InputError, match=rf'run is being written by process {owner.pid} on .*, since 20'),
        lock_folder(tmp_path / 'run'),
    ):
        pass


def test_a_killed_owner_leaves_nothing_in_the_way(tmp_path, owner):
    owner.kill()
    owner.wait()
    with lock_folder(tmp_path / 'run') as folder:
        assert json.loads((folder / '.owner.json').read_text())['pid'] == os.getpid()


def test_a_folder_is_released_without_a_trace(tmp_path):
    with lock_folder(tmp_path / 'run') as folder:
        (folder / 'args.json').write_text('{}')
    assert [path.name for path in folder.iterdir()] == ['args.json']
    with lock_folder(tmp_path / 'other'):
        pass
    assert not (tmp_path / 'other').exists()  # nothing was written there


def test_a_plan_begins_by_clearing_what_is_its_own(tmp_path):
    mine = ['rollout.json', 'rollout.mp4', 'rollout.png', 'timing.json', '0_plan.mp4', '150_plan.png']
    others = ['args.json', 'notes.txt', 'my_plan.mp4', 'rollout.json.bak', 'state_3.pt']
    for name in mine + others:
        (tmp_path / name).write_text('x')
    clear_plan(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_a_file_is_hashed_again_once_it_changes(tmp_path):
    path = tmp_path / 'data'
    path.write_bytes(b'one')
    before = hash_file(path)
    assert before == hash_file(path)
    time.sleep(0.01)
    path.write_bytes(b'two')
    assert hash_file(path) != before


def test_a_model_is_its_weights_and_its_bins():
    weights = {'a': torch.arange(6.0).view(2, 3), 'b': torch.ones(2)}
    first = hash_model(weights, np.arange(3.0))
    assert first == hash_model(dict(reversed(weights.items())), np.arange(3.0))
    others = [
        ({**weights, 'b': torch.zeros(2)}, np.arange(3.0)),
        (weights, np.arange(4.0)),
        ({'a': weights['a'].view(3, 2), 'b': weights['b']}, np.arange(3.0)),
        ({'a': weights['a'].double(), 'b': weights['b']}, np.arange(3.0)),
    ]
    assert len({first, *(hash_model(*other) for other in others)}) == 5


def test_an_identity_is_of_the_model_and_the_settings():
    first = identity_of('a', {'horizon': 1, 'beam_width': 2})
    assert first == identity_of('a', {'beam_width': 2, 'horizon': 1})
    assert len({first, identity_of('b', {'horizon': 1, 'beam_width': 2}), identity_of('a', {'horizon': 3})}) == 3


def test_a_recipe_is_settings_and_data_but_not_the_seed(tmp_path):
    def write(**changes):
        settings = {'seed': 1, 'learning_rate': 0.1, 'exp_name': 'a', 'data': 'x', **changes}
        (tmp_path / 'args.json').write_text(json.dumps({k: v for k, v in settings.items() if k != 'data'}))
        (tmp_path / 'source.json').write_text(json.dumps({'dataset_sha256': settings['data']}))
        return hash_recipe(tmp_path)

    assert hash_recipe(tmp_path) is None
    first = write()
    assert write(seed=2, exp_name='b') == first
    assert len({first, write(learning_rate=0.2), write(data='y')}) == 3
