"""Minari's datasets, created through Minari itself: what was recorded is learned from, and planned in where it was."""

import json
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

pytest.importorskip('minari', reason='Minari is not installed: pip install -e .[minari]')

import minari
from minari.data_collector import EpisodeBuffer

from trajectory.algorithms.trajectory_transformer.recovery import describe_source
from trajectory.datasets import DiscretizedDataset, load_environment
from trajectory.datasets.minari import read_minari
from trajectory.utils.errors import InputError

NAME = 'minari:test/hopper/random-v0'


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Where Minari keeps its datasets; what is not there cannot be had."""
    monkeypatch.setenv('MINARI_DATASETS_PATH', str(tmp_path / 'minari'))
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    return tmp_path / 'minari'


def record(env, lengths=(20, 20, 20, 8)):
    """Episodes under random actions; the last is cut off by nothing that the environment did."""
    episodes = []
    for number, length in enumerate(lengths):
        env.action_space.seed(number)
        columns = [], [], [], []
        observations = [env.reset(seed=number)[0]]
        for _ in range(length):
            action = env.action_space.sample()
            observation, *outcome, _ = env.step(action)
            observations.append(observation)
            for column, value in zip(columns, (action, *outcome), strict=True):
                column.append(value)
            if outcome[1] or outcome[2]:
                break
        if isinstance(observations[0], dict):
            observations = {key: np.array([one[key] for one in observations]) for key in observations[0]}
        actions, rewards, terminations, truncations = columns
        episodes.append(
            EpisodeBuffer(
                id=number,
                observations=np.array(observations) if isinstance(observations, list) else observations,
                actions=np.array(actions),
                rewards=rewards,
                terminations=terminations,
                truncations=truncations,
            )
        )
    return episodes


def create(env, name=NAME, episodes=None, with_env=True, **metadata):
    """A dataset of this environment, which Minari writes.    returns : its episodes"""
    episodes = record(env) if episodes is None else episodes
    if not with_env:
        metadata.update(observation_space=env.observation_space, action_space=env.action_space)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # it advises to name another environment to evaluate in
        minari.create_dataset_from_buffers(
            name.removeprefix('minari:'),
            episodes,
            env=env if with_env else None,
            algorithm_name='random',
            author='nobody',
            author_email='nobody@localhost',
            code_permalink='none',
            description='random actions',
            requirements=['gymnasium'],
            **metadata,
        )
    return episodes


def make_hopper(**settings):
    return gymnasium.make('Hopper-v5', **{'max_episode_steps': 20, **settings})


@pytest.mark.usefixtures('root')
def test_what_was_recorded_is_laid_end_to_end():
    episodes = create(make_hopper())
    found = load_environment(NAME).get_dataset()
    np.testing.assert_array_equal(
        found['observations'], np.concatenate([one.observations[:-1] for one in episodes]).astype(np.float32)
    )
    np.testing.assert_array_equal(found['actions'], np.concatenate([one.actions for one in episodes]))
    np.testing.assert_array_equal(
        found['rewards'], np.concatenate([one.rewards for one in episodes]).astype(np.float32)
    )
    np.testing.assert_array_equal(found['terminals'], np.concatenate([one.terminations for one in episodes]))
    lengths = [len(one.rewards) for one in episodes]
    by_clock = [end - 1 for end, one in zip(np.cumsum(lengths), episodes, strict=True) if not one.terminations[-1]]
    assert list(np.flatnonzero(found['timeouts'])) == by_clock
    assert 0 < len(by_clock) < len(episodes), 'some fell, and some did not'
    assert found['observations'].dtype == found['rewards'].dtype == np.float32


@pytest.mark.usefixtures('root')
def test_a_step_that_ends_both_ways_is_both():
    one, *others = record(make_hopper())
    one.terminations[-1] = one.truncations[-1] = True
    create(make_hopper(), episodes=[one, *others])
    found = read_minari(NAME)
    last = len(one.rewards) - 1
    assert found['terminals'][last]
    assert found['timeouts'][last]


@pytest.mark.usefixtures('root')
def test_the_environment_is_the_one_it_was_recorded_in():
    env = make_hopper(reset_noise_scale=0.3, render_mode='rgb_array', healthy_z_range=(0.6, 9.0))
    create(env)
    found = load_environment(NAME)
    assert (found.name, found.id, found.physics, found.data_source) == (
        NAME,
        'Hopper-v5',
        'stock',
        'Minari test/hopper/random-v0',
    )
    assert found.max_episode_steps == 20
    np.testing.assert_array_equal(found.reset(seed=3)[0], env.reset(seed=3)[0])
    action = np.full(3, 0.5)
    for _ in range(5):
        np.testing.assert_array_equal(found.step(action)[0], env.step(action)[0])
    assert found.unwrapped._healthy_z_range == [0.6, 9.0]


@pytest.mark.usefixtures('root')
def test_its_own_reference_returns_score_it_and_else_d4rls():
    create(make_hopper(), ref_min_score=10.0, ref_max_score=30.0)
    assert load_environment(NAME).get_normalized_score(20) == 0.5
    create(make_hopper(), 'minari:test/hopper/other-v0')
    assert load_environment('minari:test/hopper/other-v0').get_normalized_score(3234.3) == pytest.approx(1)


@pytest.mark.usefixtures('root')
def test_it_is_learned_from_and_its_source_tells_all_that_planning_needs():
    create(make_hopper(reset_noise_scale=0.3), ref_min_score=10.0, ref_max_score=30.0)
    dataset = DiscretizedDataset(load_environment(NAME), sequence_length=3, step=1, N=10)
    assert dataset.layout.dim == 11 + 3 + 2
    source = json.loads(json.dumps(describe_source(dataset)))
    assert source['environment_settings'] == {'reset_noise_scale': 0.3, 'max_episode_steps': 20}
    assert source['reference_returns'] == [10, 30]


# --------------------------- what cannot be learned from --------------------------- #


class Other(gymnasium.Env):
    """An environment of other spaces than robots have."""

    def __init__(self, observation_space=None, action_space=None):
        self.observation_space = observation_space or Box(-1, 1, (2,))
        self.action_space = action_space or Box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed, options=options)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.mark.usefixtures('root')
def test_dictionaries_and_choices_are_refused():
    spaces = gymnasium.spaces.Dict(observation=Box(-1, 1, (2,)), achieved_goal=Box(-1, 1, (2,)))
    for number, (env, message) in enumerate(
        (
            (
                Other(observation_space=spaces),
                'observations of .* are a Dict of achieved_goal, observation, expected rows',
            ),
            (
                Other(observation_space=Box(0, 1, (2, 2))),
                r'observations of .* are a Box of shape \(2, 2\), expected rows',
            ),
            (Other(action_space=Discrete(3)), 'actions of .* are a Discrete, expected rows of numbers'),
        )
    ):
        create(env, f'minari:test/other-v{number}', with_env=False)
        with pytest.raises(InputError, match=message + r'(.|\n)*import_data.py'):
            load_environment(f'minari:test/other-v{number}')


@pytest.mark.usefixtures('root')
def test_an_environment_that_cannot_be_made_is_named():
    create(make_hopper(), with_env=False)
    with pytest.raises(InputError, match='does not say which environment it was recorded in'):
        load_environment(NAME)
    create(gymnasium.make('Pendulum-v1'), 'minari:test/pendulum-v0')
    with pytest.raises(InputError, match="'Pendulum-v1' is no robot of MuJoCo's"):
        load_environment('minari:test/pendulum-v0')
    create(gymnasium.wrappers.ClipReward(make_hopper(), 0, 1), 'minari:test/clipped-v0')
    with pytest.raises(InputError, match='was recorded in Hopper-v5 through ClipReward, which are not made here'):
        load_environment('minari:test/clipped-v0')


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'xml_file': '/etc/hopper.xml'}, "made with xml_file = '/etc/hopper.xml'; only numbers can be set"),
        ({'reset_noise': 3}, "'Hopper-v5' is not an environment that Gymnasium can make here: .*reset_noise"),
    ],
)
def test_settings_that_are_not_the_environments_are_refused(root, settings, message):
    create(make_hopper())
    change_spec(root, kwargs=settings)
    with pytest.raises(InputError, match=message):
        load_environment(NAME)


def change_spec(root, **changes):
    """Let the dataset say something else of its environment."""
    path = root / 'test/hopper/random-v0/data/metadata.json'
    metadata = json.loads(path.read_text())
    spec = {**json.loads(metadata['env_spec']), **changes}
    path.write_text(json.dumps({**metadata, 'env_spec': json.dumps(spec)}))


@pytest.mark.parametrize(
    ('changes', 'id'),
    [
        ({'entry_point': 'antigravity:fly'}, 'Hopper-v5'),
        ({'id': 'antigravity:Hopper-v5'}, None),
    ],
)
def test_no_data_set_chooses_what_runs(root, changes, id):
    create(make_hopper())
    change_spec(root, **changes)
    if id is None:
        with pytest.raises(InputError, match="'antigravity:Hopper-v5' is not an environment"):
            load_environment(NAME)
    else:
        assert load_environment(NAME).id == id
    assert 'antigravity' not in sys.modules


@pytest.mark.usefixtures('root')
@pytest.mark.parametrize('name', ['test/absent-v0', '../../etc-v0', '/etc/x-v0', 'no version', 'v', ''])
def test_a_name_that_is_not_there_is_refused_with_where_to_put_it(name):
    with pytest.raises(InputError, match=r'cannot be had: (.|\n)*minari list remote(.|\n)*MINARI_DATASETS_PATH'):
        load_environment(f'minari:{name}')


def test_a_damaged_data_set_is_named(root):
    create(make_hopper())
    env = load_environment(NAME)
    path = root / 'test/hopper/random-v0/data/main_data.hdf5'
    content = path.read_bytes()
    for cut in (0, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(InputError, match=f'{NAME} cannot be read: .*\n  Delete {root}/test/hopper/random-v0'):
            env.get_dataset()
    (path.parent / 'metadata.json').write_text('{')
    with pytest.raises(InputError, match=f'{NAME} cannot be read'):
        load_environment(NAME)


@pytest.mark.usefixtures('root')
def test_another_file_beside_it_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"names Minari's data, and .*x.hdf5 other"):
        load_environment(NAME, tmp_path / 'x.hdf5')
