"""A run as the original code left it plans: its bins are made from the data once, and kept."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.scripts.test_train_and_plan import TINY_PLAN, random_episodes, refused, start
from tests.support import GOLDEN
from trajectory.algorithms.trajectory_transformer.recovery import (
    describe_source,
    published_data_recipe,
    recover,
    save_beside,
    spec_of_model,
)
from trajectory.datasets import DiscretizedDataset, load_environment
from trajectory.datasets.hdf5 import write_episodes
from trajectory.utils import InputError, TrainedModel

DATASET = 'hopper-medium-v2'
PLAN = ('--dataset', DATASET, '--gpt_loadpath', 'gpt/pretrained', *TINY_PLAN)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Where D4RL's files lie, with a small one that has the name and the layout of hopper-medium's."""
    folder = tmp_path / 'd4rl'
    folder.mkdir()
    write_episodes(folder / 'hopper_medium-v2.hdf5', random_episodes(), {})
    monkeypatch.setenv('D4RL_DATASET_DIR', str(folder))
    return folder / 'hopper_medium-v2.hdf5'


@pytest.fixture
def logs(tmp_path):
    """The reference's run where `pretrained.sh` puts it."""
    shutil.copytree(GOLDEN / 'reference_run', tmp_path / 'logs' / DATASET / 'gpt/pretrained')
    return tmp_path / 'logs'


def rollout_of(logs, prefix):
    return (logs / DATASET / f'plans/{prefix}/freq1_H2_beam4/0/rollout.json').read_bytes()


def test_a_published_run_plans_and_needs_its_data_once(data, logs):
    start('plan', *PLAN, '--logbase', logs, '--prefix', 'plans/first/')
    rollout = json.loads(rollout_of(logs, 'first'))
    assert (rollout['environment'], rollout['physics'], rollout['gpt_epoch']) == ('Hopper-v4', 'd4rl', 50)
    assert rollout['data_source'] == 'D4RL hopper-medium-v2'

    folder = logs / DATASET / 'gpt/pretrained'
    env = load_environment(DATASET)
    expected = DiscretizedDataset(env, N=20, penalty=-100, sequence_length=4, step=1, discount=0.99)
    edges = np.load(folder / 'discretizer.npz')['thresholds']
    np.testing.assert_array_equal(edges, expected.discretizer.thresholds)
    assert json.loads((folder / 'source.json').read_text()) == pytest.approx(describe_source(expected))

    data.unlink()
    start('plan', *PLAN, '--logbase', logs, '--prefix', 'plans/second/')
    assert rollout_of(logs, 'second') == rollout_of(logs, 'first')


def test_the_data_may_lie_elsewhere(data, logs, tmp_path):
    start('plan', *PLAN, '--logbase', logs, '--dataset_path', data.rename(tmp_path / 'mine.hdf5'))
    source = json.loads((logs / DATASET / 'gpt/pretrained/source.json').read_text())
    assert source['data_source'] == 'mine.hdf5'


def test_missing_data_is_named_with_where_to_fetch_it(data, logs, capfd):
    data.unlink()
    said = refused(capfd, logs, 'plan', *PLAN, '--logbase', logs)
    assert 'the model comes without discretizer.npz or source.json, and they cannot be made from its data:' in said
    assert f'put it here: {data};' in said
    assert '--dataset_path FILE.hdf5' in said


def test_data_of_another_width_is_named(data):
    columns = random_episodes()
    wide = {**columns, 'observations': np.pad(columns['observations'], ((0, 0), (0, 6)))}
    write_episodes(data.with_name('walker2d_medium-v2.hdf5'), {**wide, 'actions': np.zeros((300, 6))}, {})
    trained = TrainedModel.from_pretrained(GOLDEN / 'reference_run')
    recipe = published_data_recipe('walker2d-medium-v2', trained.model)
    with pytest.raises(InputError, match=r'walker2d_medium-v2.hdf5 has 20 bins for 25 columns, .* 20 for 16'):
        recover(replace(trained, data=recipe), DATASET)


@pytest.mark.usefixtures('data')
def test_a_model_that_says_nothing_of_its_data_is_taken_for_a_published_one(caplog):
    caplog.set_level('INFO', 'trajectory')
    bare = replace(TrainedModel.from_pretrained(GOLDEN / 'reference_run'), data=None)
    whole = recover(bare, DATASET)
    said = recover(TrainedModel.from_pretrained(GOLDEN / 'reference_run'), DATASET)
    np.testing.assert_array_equal(whole.discretizer.thresholds, said.discretizer.thresholds)
    assert dict(whole.data) == dict(said.data)
    assert 'taking the settings of the published models, and hopper-medium-v2' in caplog.text
    assert recover(whole, 'unknown') is whole


@pytest.mark.usefixtures('data')
def test_a_folder_that_cannot_be_written_to_is_no_hindrance(tmp_path, caplog):
    whole = recover(TrainedModel.from_pretrained(GOLDEN / 'reference_run'), DATASET)
    save_beside(whole, tmp_path / 'absent')
    assert re.search('they cannot be kept in .*absent: .*No such file or directory', caplog.text)


@pytest.mark.usefixtures('data')
@pytest.mark.parametrize(
    ('change', 'cause'),
    [
        ({'environment': 'Hoper-v4', 'physics': 'stock'}, "'Hoper-v4' is not an environment"),
        ({'environment': 'os:Hopper-v4', 'physics': 'stock'}, 'an id names no module'),
        ({'environment': 'Walker2d-v4'}, "'observations' of hopper-medium-v2 has 11 columns, those of its environment"),
        ({'physics': 'newton'}, "unknown physics 'newton'"),
    ],
)
def test_a_source_that_is_not_the_models_is_named(change, cause):
    whole = recover(TrainedModel.from_pretrained(GOLDEN / 'reference_run'), DATASET)
    with pytest.raises(InputError, match=r'source.json names an environment that is none of its own: ') as raised:
        spec_of_model(replace(whole, source={**whole.source, **change}), DATASET)
    assert cause in str(raised.value)
