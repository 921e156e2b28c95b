"""Models that come back from a run's folder, and what does not fit."""

import json
import pickle

import pytest
import torch

from tests.storage.test_weights import SMALL, save_run
from trajectory.utils import (
    InputError,
    get_latest_epoch,
    load_args,
    load_config,
    load_from_config,
    load_model,
    mkdir,
    write_json,
)


def test_the_settings_of_a_run_are_attributes(tmp_path):
    write_json(tmp_path / 'args.json', {'horizon': 15, 'k_act': None})
    args = load_args(str(tmp_path.parent), tmp_path.name)
    assert (args.horizon, args.k_act) == (15, None)


# --------------------------------- models --------------------------------- #


@pytest.mark.parametrize('load', [get_latest_epoch, load_model])
def test_a_run_without_weights_says_how_to_get_some(tmp_path, load):
    folder = tmp_path / 'hopper-medium-v2' / 'gpt/mine'
    mkdir(folder)
    save_run(folder, epochs=[])
    with pytest.raises(InputError) as raised:
        load(str(tmp_path), 'hopper-medium-v2', 'gpt/mine')
    assert str(raised.value).splitlines() == [
        f'{folder} holds no state_*.pt.',
        '  Train one:       python scripts/train.py --dataset hopper-medium-v2 --exp_name gpt/mine',
        '  Or download one: ./pretrained.sh, then pass --gpt_loadpath gpt/pretrained',
    ]


@pytest.mark.parametrize(('epoch', 'expected'), [('latest', 10), (None, 10), (2, 2), (10, 10)])
def test_a_model_comes_back_with_the_weights_of_its_epoch(tmp_path, epoch, expected):
    save_run(tmp_path)
    model, loaded = load_model(tmp_path.parent, tmp_path.name, epoch=epoch)
    assert loaded == expected
    assert not model.training
    weights = torch.load(tmp_path / f'state_{expected}.pt', weights_only=True)
    assert weights.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0)
        assert value.device == torch.device('cpu')


def test_the_weights_of_two_epochs_differ(tmp_path):
    save_run(tmp_path)
    early, late = load_model(tmp_path, epoch=2)[0], load_model(tmp_path, epoch=10)[0]
    assert not torch.equal(early.head.weight, late.head.weight)


def test_a_published_run_is_loaded_through_its_pickled_recipe(tmp_path):
    model = save_run(tmp_path)
    pickled = pickle.dumps(load_config(tmp_path, 'model_config.json'), protocol=4)
    (tmp_path / 'model_config.json').unlink()
    (tmp_path / 'model_config.pkl').write_bytes(pickled)
    loaded, _ = load_model(tmp_path)
    assert torch.equal(loaded.head.weight, model.head.weight)


def test_load_from_config_builds_what_the_recipe_says(tmp_path):
    save_run(tmp_path, epochs=[], n_layer=3)
    assert len(load_from_config(tmp_path, 'model_config.json').blocks) == 3


def test_a_run_without_a_recipe_says_what_it_has(tmp_path):
    save_run(tmp_path)
    (tmp_path / 'model_config.json').unlink()
    with pytest.raises(InputError, match=r'no model_config.json. Its folder holds state_10.pt.*\n.*train.py'):
        load_model(tmp_path)


def test_a_run_that_does_not_exist_says_so(tmp_path):
    with pytest.raises(InputError, match=r'no model_config.json. Its folder does not exist .*\n.*train.py'):
        load_model(tmp_path, 'hopper-medium-v2', 'gpt/none')


def test_a_missing_epoch_lists_those_there_are(tmp_path):
    save_run(tmp_path)
    with pytest.raises(InputError, match=r'holds no state_3.pt; the epochs there are: 2, 10.\n.*--gpt_epoch'):
        load_model(tmp_path, epoch=3)


def test_weights_of_another_architecture_are_an_error_that_says_where_they_part(tmp_path):
    save_run(tmp_path)
    save_run(tmp_path, epochs=[], n_layer=2)
    with pytest.raises(InputError, match=r'state_10.pt does not fit [\s\S]*blocks.1.[\s\S]*different runs'):
        load_model(tmp_path)


def test_a_recipe_is_plain_enough_to_be_edited_by_hand(tmp_path):
    save_run(tmp_path, epochs=[])
    recipe = json.loads((tmp_path / 'model_config.json').read_text())
    assert recipe['settings'] == SMALL
