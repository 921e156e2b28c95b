"""Datasets by name: their environments, their files, and what is said of a name that is none."""

import contextlib
import hashlib
import os
from dataclasses import replace

import numpy as np
import pytest

from tests.support import serve
from trajectory.datasets import load_environment, sources
from trajectory.datasets.d4rl_files import d4rl_folder, locate
from trajectory.datasets.hdf5 import write_episodes
from trajectory.datasets.sources import find_run, known_names
from trajectory.environments.catalogue import ROBOTS, d4rl_catalogue
from trajectory.environments.d4rl_gym import suppress_output
from trajectory.utils.errors import InputError

QUALITIES = ('random', 'medium', 'expert', 'medium-replay', 'medium-expert', 'full-replay')


def steps(n_steps=5, observation_dim=11, action_dim=3):
    numbers = np.arange(n_steps)
    return {
        'observations': np.repeat(numbers[:, None], observation_dim, axis=1).astype(np.float32),
        'actions': np.repeat(numbers[:, None], action_dim, axis=1).astype(np.float32) / 10,
        'rewards': 10 * numbers.astype(np.float32),
        'terminals': numbers == 1,
        'timeouts': numbers == 3,
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('D4RL_DATASET_DIR', str(tmp_path))
    return tmp_path


# ------------------------------ environments ------------------------------- #


@pytest.mark.parametrize('robot', ROBOTS)
@pytest.mark.parametrize('quality', QUALITIES)
def test_every_name_of_the_paper_is_known(robot, quality, folder):
    name = f'{robot}-{quality}-v2'
    assert name in known_names()
    assert locate(name) == folder / d4rl_catalogue()[name].file


@pytest.mark.parametrize(
    ('name', 'id', 'width'),
    [
        ('hopper-medium-v2', 'Hopper-v4', 11),
        ('halfcheetah-full-replay-v2', 'HalfCheetah-v4', 17),
        ('walker2d-medium-expert-v2', 'Walker2d-v4', 17),
        ('ant-random-v2', 'Ant-v4', 111),
    ],
)
def test_a_d4rl_name_means_d4rls_physics_and_scores(folder, name, id, width):
    env = load_environment(name)
    assert (env.name, env.id, env.physics, env.data_source) == (name, id, 'd4rl', f'D4RL {name}')
    assert env.dataset_path == folder / d4rl_catalogue()[name].file
    assert env.observation_space.shape == (width,)
    assert env.get_normalized_score(d4rl_catalogue()[name].ref_max) == pytest.approx(1)


def test_a_gymnasium_id_means_the_stock_environment():
    env = load_environment('Hopper-v4')
    assert (env.name, env.id, env.physics, env.data_source) == ('Hopper-v4', 'Hopper-v4', 'stock', None)


@pytest.mark.parametrize('name', ['mine', 'walker2d-medium-v2'])
def test_a_file_that_names_its_environment_is_taken_at_its_word(tmp_path, name):
    path = tmp_path / 'mine.hdf5'
    write_episodes(path, steps(), {'env': 'Hopper-v4'})
    env = load_environment(name, path)
    assert (env.name, env.id, env.physics, env.data_source) == (name, 'Hopper-v4', 'stock', 'mine.hdf5')
    assert len(env.get_dataset()['rewards']) == 5

    write_episodes(path, steps(), {'env': 'Hopper-v4', 'physics': 'd4rl', 'sources': ['half of this', 'half of that']})
    env = load_environment(name, str(path))
    assert (env.id, env.physics, env.data_source) == ('Hopper-v4', 'd4rl', 'half of this, half of that')


def test_d4rls_own_file_in_its_folder_is_taken_at_its_word_too(folder):
    write_episodes(folder / 'hopper_medium-v2.hdf5', steps(), {'env': 'Hopper-v4', 'sources': 'recorded here'})
    env = load_environment('hopper-medium-v2')
    assert (env.name, env.physics, env.data_source) == ('hopper-medium-v2', 'stock', 'recorded here')


def test_a_silent_file_is_what_its_name_says(tmp_path):
    path = tmp_path / 'elsewhere.hdf5'
    write_episodes(path, steps(), {})
    env = load_environment('hopper-medium-v2', path)
    assert (env.id, env.physics, env.data_source) == ('Hopper-v4', 'd4rl', 'elsewhere.hdf5')
    assert load_environment('Hopper-v4', path).physics == 'stock'
    with pytest.raises(InputError, match=r"does not say which environment .*'mine' is no D4RL name.\n  Add meta"):
        load_environment('mine', path)


def test_files_of_ours_are_known_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, 'BUNDLED', tmp_path)
    write_episodes(tmp_path / 'hopper-ours.hdf5', steps(), {'env': 'Hopper-v4', 'physics': 'd4rl'})
    assert 'hopper-ours' in known_names()
    env = load_environment('hopper-ours')
    assert (env.id, env.physics, env.dataset_path) == ('Hopper-v4', 'd4rl', tmp_path / 'hopper-ours.hdf5')


@pytest.mark.parametrize(
    ('metadata', 'message'),
    [
        ({'env': 'Hoper-v4'}, "'Hoper-v4' is not an environment"),
        ({'env': 'Hopper-v4', 'physics': 'mujoco'}, "unknown physics 'mujoco' for Hopper-v4"),
    ],
)
def test_a_file_that_names_what_is_not_there_is_refused(tmp_path, metadata, message):
    path = tmp_path / 'odd.hdf5'
    write_episodes(path, steps(), metadata)
    with pytest.raises(InputError, match=message):
        load_environment('hopper-medium-v2', path)


# ---------------------------------- files ---------------------------------- #


def test_a_file_that_cannot_be_had_says_what_to_fetch_and_where_to_put_it(folder):
    with pytest.raises(InputError) as refused:
        load_environment('hopper-medium-v2').get_dataset()
    record = d4rl_catalogue()['hopper-medium-v2']
    for fact in (
        'hopper-medium-v2 cannot be had from http://127.0.0.1:9/d4rl/hopper_medium-v2.hdf5: ',
        f'put it here: {folder / "hopper_medium-v2.hdf5"};',
        record.url,
        f'{record.bytes:,} bytes',
        f'sha256 {record.sha256}',
        'D4RL_DATASET_DIR',
        'D4RL_MIRROR',
        '--dataset_path',
    ):
        assert fact in str(refused.value)
    assert list(folder.iterdir()) == []


@pytest.fixture
def published(monkeypatch):
    """Publish a file under D4RL's name, with the facts that the catalogue then has of it; returns the server."""
    with contextlib.ExitStack() as stack:

        def publish(name, content, mirrors=1, **known):
            server = stack.enter_context(serve(content))
            monkeypatch.setenv('D4RL_MIRROR', f'{server.url}/ ' * mirrors)
            record = replace(d4rl_catalogue()[name], **{'bytes': None, 'sha256': None, **known})
            monkeypatch.setitem(d4rl_catalogue(), name, record)
            return server

        yield publish


def content_of(folder):
    write_episodes(folder / 'made.hdf5', steps(), {})
    content = (folder / 'made.hdf5').read_bytes()
    (folder / 'made.hdf5').unlink()
    return content


def test_a_missing_file_is_fetched_once_when_its_steps_are_asked_for(folder, published):
    content = content_of(folder)
    server = published('hopper-medium-v2', content, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    env = load_environment('hopper-medium-v2')
    assert server.paths == []
    for _ in range(2):
        np.testing.assert_array_equal(env.get_dataset()['rewards'], steps()['rewards'])
    assert server.paths == ['/file/hopper_medium-v2.hdf5']
    assert [path.name for path in folder.iterdir()] == ['hopper_medium-v2.hdf5']


def test_mirrors_are_asked_in_turn(folder, published):
    server = published('hopper-medium-v2', content_of(folder), mirrors=2)
    server.errors = [404]
    assert len(load_environment('hopper-medium-v2').get_dataset()['rewards']) == 5
    assert len(server.paths) == 2


def test_a_file_with_another_checksum_is_never_kept(folder, published):
    content = content_of(folder)
    published('hopper-medium-v2', content, bytes=len(content), sha256='0' * 64)
    with pytest.raises(InputError, match=f'its sha256 is [0-9a-f]*, expected {"0" * 64}'):
        load_environment('hopper-medium-v2').get_dataset()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize('cut', [0, 100, -500, -1])
def test_a_file_of_unknown_checksum_that_is_not_whole_is_never_kept(folder, published, cut):
    published('hopper-medium-v2', content_of(folder)[:cut])
    with pytest.raises(InputError, match='is not a whole HDF5 file'):
        load_environment('hopper-medium-v2').get_dataset()
    assert list(folder.iterdir()) == []


def test_a_path_that_was_named_is_never_fetched(folder, published):
    server = published('hopper-medium-v2', content_of(folder))
    with pytest.raises(InputError, match=r'elsewhere.hdf5 is not there'):
        load_environment('hopper-medium-v2').get_dataset(folder / 'elsewhere.hdf5')
    assert server.paths == []


def test_d4rls_folder_is_in_the_home_unless_said_otherwise(folder, monkeypatch):
    assert d4rl_folder() == folder
    monkeypatch.delenv('D4RL_DATASET_DIR')
    monkeypatch.setenv('HOME', str(folder / 'home'))
    assert d4rl_folder() == folder / 'home/.d4rl/datasets'


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r'absent.hdf5 is not there.\n.*--dataset_path'):
        load_environment('hopper-medium-v2', tmp_path / 'absent.hdf5')


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('hoper-medium-v2', r"unknown dataset 'hoper-medium-v2'; did you mean hopper-medium-v2\?"),
        ('hopper-medum-expert-v2', r'did you mean hopper-medium-expert-v2\?'),
        ('something-else', r"unknown dataset 'something-else'.\n  There are ant-expert-v2, (.|\n)*--dataset_path FILE"),
        ('', "unknown dataset ''"),
    ],
)
def test_a_name_that_is_not_known_suggests_the_nearest(name, message):
    with pytest.raises(InputError, match=message):
        load_environment(name)


def test_a_run_is_looked_for_among_the_bundled_ones_last(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, 'BUNDLED', tmp_path / 'bundled')
    (tmp_path / 'bundled/hopper-ours/gpt/azure').mkdir(parents=True)

    def found(name):
        return find_run(f'{tmp_path}/logs', 'hopper-ours', name)

    assert found('gpt/azure') == (tmp_path / 'bundled', 'hopper-ours', 'gpt/azure')
    assert found('gpt/mine') == (tmp_path / 'logs', 'hopper-ours', 'gpt/mine')
    (tmp_path / 'logs/hopper-ours/gpt/azure').mkdir(parents=True)
    assert found('gpt/azure') == (tmp_path / 'logs', 'hopper-ours', 'gpt/azure')


# ---------------------------------- quiet ---------------------------------- #


def test_what_is_printed_is_silenced_even_below_python(capfd):
    with suppress_output():
        print('from Python', flush=True)
        os.write(1, b'from compiled code')
        os.write(2, b'and to the other stream')
    print('heard', flush=True)
    os.write(2, b'again')
    assert capfd.readouterr() == ('heard\n', 'again')


def test_the_voice_returns_after_an_error(capfd):
    with pytest.raises(KeyError), suppress_output():
        raise KeyError
    os.write(1, b'still here')
    assert capfd.readouterr().out == 'still here'
