"""A sweep becomes command lines that the scripts would accept, and what is wrong with it is said before it starts."""

import json
import shutil
from pathlib import Path

import h5py
import pytest
import torch

from scripts import plan, train
from trajectory import utils
from trajectory.algorithms.base import find_algorithm
from trajectory.storage.run_folder import hash_file
from trajectory.sweeps.description import Sweep, expand
from trajectory.utils.errors import InputError

ROOT = Path(__file__).parents[2]
NAME = 'hopper-mixed-ppo'
DATA = ROOT / f'data/{NAME}.hdf5'


def test_every_combination_is_a_command_line():
    models = [(1, 'gpt/a'), (2, 'gpt/b')]
    sweep = Sweep(
        {'dataset': ['ant-medium-v2', 'hopper-medium-v2'], ('seed', 'exp_name'): models},
        {'termination_penalty': None, 'learning_rate': 1e-4, 'lr_decay': False},
    )
    variants = expand(train, sweep)
    rest = '--termination_penalty None --learning_rate 0.0001 --lr_decay False'
    assert [variant.command_line for variant in variants] == [
        f'python scripts/train.py --dataset ant-medium-v2 --seed 1 --exp_name gpt/a {rest}',
        f'python scripts/train.py --dataset ant-medium-v2 --seed 2 --exp_name gpt/b {rest}',
        f'python scripts/train.py --dataset hopper-medium-v2 --seed 1 --exp_name gpt/a {rest}',
        f'python scripts/train.py --dataset hopper-medium-v2 --seed 2 --exp_name gpt/b {rest}',
    ]
    assert [str(variant.folder) for variant in variants[:2]] == ['logs/ant-medium-v2/gpt/a', 'logs/ant-medium-v2/gpt/b']
    assert [variants[k].settings['batch_size'] for k in (0, 2)] == [128, 256], "the dataset's block counts too"


def test_a_default_gives_way_and_braces_are_filled_in():
    sweep = Sweep({'seed': [1, 2]}, {'seed': 3, 'exp_name': 'gpt/{dataset}_{seed}', 'dataset': 'hopper-medium-v2'})
    assert [variant.folder.name for variant in expand(train, sweep)] == ['hopper-medium-v2_1', 'hopper-medium-v2_2']


def test_a_plan_names_the_folder_of_each_episode_and_the_model_it_needs():
    (variant,) = expand(plan, Sweep({}, {'dataset': 'hopper-medium-v2', 'n_episodes': 3, 'suffix': 6}))
    assert [folder.name for folder in variant.results] == ['6', '7', '8']
    assert variant.needs == (Path('logs/hopper-medium-v2/gpt/azure'),)


@pytest.mark.parametrize(
    ('sweep', 'message'),
    [
        (
            Sweep({'horizn': [1]}),
            r'scripts/plan.py --horizn 1\n  would be refused: unrecognized arguments: --horizn 1. '
            r'Did you mean --horizon\?',
        ),
        (
            Sweep({'horizon': [5, 'far']}),
            "--horizon far\n  would be refused: argument --horizon: expected int, got 'far'",
        ),
        (Sweep({'k_act': [1, 2]}), 'two variants would write to logs/.*/0:\n  .*--k_act 1\n  .*--k_act 2\n  Give each'),
        (Sweep({'suffix': [0, 1]}, {'n_episodes': 2}), 'two variants would write to .*/1:'),
        (Sweep({}, {'prefix': 'plans/{sed}/'}), r"prefix is 'plans/\{sed\}/', and braces name settings of the"),
        (Sweep({'seed': [-1]}), 'would be refused: a seed is between 0'),
        (Sweep({}, {'restart': True}), 'takes no --restart'),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(sweep, message):
    with pytest.raises(InputError, match=message):
        expand(plan, sweep)


def test_values_can_be_changed():
    sweep = Sweep({'seed': [1, 2], ('a', 'b'): [(1, 2)]}, {'c': 1})
    changed = sweep.change({'seed': [7], 'c': [1, 2]})
    assert changed.combinations() == [{'a': 1, 'b': 2, 'c': 1, 'seed': 7}, {'a': 1, 'b': 2, 'c': 2, 'seed': 7}]
    with pytest.raises(InputError, match='b changes together with a'):
        sweep.change({'b': [1]})


# -------------------------------- finished -------------------------------- #


@pytest.fixture
def trained(tmp_path):
    """A function that makes a variant, and what its run leaves after so many epochs."""

    def make(epochs, **settings):
        settings = {'dataset': NAME, 'logbase': str(tmp_path), **settings}
        (variant,) = expand(train, Sweep({}, settings))
        folder = variant.folder
        utils.mkdir(folder)
        utils.write_json(folder / 'args.json', {**variant.settings, 'device': 'elsewhere'})
        utils.write_json(folder / 'source.json', {'dataset_sha256': hash_file(DATA)})
        utils.write_json(folder / 'finished.json', {'epoch': epochs})
        (folder / f'state_{epochs}.pt').touch()
        return variant

    return make


def test_a_training_run_is_finished_when_it_says_so_and_its_weights_are_there(trained):
    variant = trained(7, n_epochs=7)
    assert variant.is_finished()
    (variant.folder / 'state_7.pt').unlink()
    assert not variant.is_finished()


@pytest.mark.parametrize('changes', [{'learning_rate': 1e-5}, {'n_epochs': 8}, {'n_epochs_ref': 3}, {'seed': 1}])
def test_a_run_of_other_settings_is_not_this_one(trained, changes):
    folder = trained(7, n_epochs=7).folder
    (other,) = expand(train, Sweep({}, {'dataset': NAME, 'logbase': str(folder.parents[2]), 'n_epochs': 7, **changes}))
    assert other.folder == folder
    assert not other.is_finished()


def test_a_run_on_other_data_is_not_this_one(trained, tmp_path):
    mine = shutil.copy(DATA, tmp_path / 'mine.hdf5')
    variant = trained(7, n_epochs=7, dataset_path=str(mine))
    assert variant.is_finished()
    with h5py.File(mine, 'r+') as file:
        file['rewards'][0] += 1
    assert not variant.is_finished()


def test_what_was_run_with_other_settings_or_is_damaged_is_not_finished(trained):
    variant = trained(7, n_epochs=7)
    args = variant.folder / 'args.json'
    before = args.read_text()
    utils.write_json(args, {**json.loads(before), 'seed': 1})
    assert not variant.is_finished()
    args.write_text(before[:100])
    assert not variant.is_finished()
    args.write_text(before)
    assert variant.is_finished()
    (variant.folder / 'finished.json').unlink()
    assert not variant.is_finished()


def test_a_plan_is_finished_when_every_episode_is_there_of_the_model_as_it_is_now(tmp_path):
    model = tmp_path / NAME / 'gpt/bundled'
    shutil.copytree(ROOT / 'data' / NAME / 'gpt/bundled', model)
    (variant,) = expand(plan, Sweep({}, {'dataset': NAME, 'logbase': str(tmp_path), 'n_episodes': 2}))
    identity = find_algorithm('trajectory_transformer').load(model).identity()
    for folder in variant.results:
        assert not variant.is_finished()
        utils.mkdir(folder)
        utils.write_json(folder / 'rollout.json', {'model': identity, 'identity': 'x'})
        utils.write_json(folder / 'args.json', variant.settings)
    assert variant.is_finished()
    utils.write_json(folder / 'rollout.json', {'model': identity, 'identity': 'of other settings'})
    assert not variant.is_finished()
    utils.write_json(folder / 'rollout.json', {'model': identity, 'identity': 'x'})
    (path,) = model.glob('state_*.pt')
    weights = torch.load(path, weights_only=True)
    weights['pos_emb'] += 1
    torch.save(weights, path)
    assert not variant.is_finished()
