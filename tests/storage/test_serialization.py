"""Files appear whole or not at all, and what is missing or damaged is named together with its remedy."""
import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from trajectory.utils import (
    Config,
    InputError,
    get_latest_epoch,
    load_args,
    load_config,
    load_from_config,
    load_model,
    mkdir,
    read_json,
    save_state,
    write_atomically,
    write_json,
)

SMALL = dict(
    vocab_size=5, block_size=39, observation_dim=1, action_dim=1, transition_dim=4,
    n_layer=1, n_head=1, n_embd=8, embd_pdrop=0.1, resid_pdrop=0.1, attn_pdrop=0.1,
    action_weight=5, reward_weight=1, value_weight=1,
)


def save_run(folder, epochs=(2, 10), **changes):
    """Write the recipe of a small model and, for each epoch, other weights; return the last model."""
    config = Config(
        'trajectory.models.transformers:GPT', verbose=False, savepath=folder / 'model_config.json',
        **{**SMALL, **changes},
    )
    models = [config() for _ in epochs]
    for epoch, model in zip(epochs, models, strict=True):
        save_state(model, folder / f'state_{epoch}.pt')
    return models[-1] if models else None


def names(folder):
    return sorted(path.name for path in folder.iterdir())

# -------------------------------- writing --------------------------------- #

def test_mkdir_makes_parents_and_is_content_with_what_is_there(tmp_path):
    assert mkdir(tmp_path / 'a' / 'b') is True
    assert (tmp_path / 'a' / 'b').is_dir()
    assert mkdir(str(tmp_path / 'a' / 'b')) is False


def test_a_folder_that_cannot_be_made_is_an_error_that_names_the_flag(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match=r'cannot make the folder .*logs: Not a directory.\n.*--logbase'):
        mkdir(tmp_path / 'file' / 'logs')


def test_a_file_is_whole_once_it_has_its_name(tmp_path):
    path = tmp_path / 'x.npz'
    with write_atomically(path) as partial:
        np.savez(partial, x=1)      # which would append .npz to a name that ends otherwise
        assert not path.exists()
        assert partial.parent == tmp_path
    assert np.load(path)['x'] == 1
    assert names(tmp_path) == ['x.npz']


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_a_writer_that_fails_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / 'x.txt'
    path.write_text('old')

    def write_half():
        with write_atomically(path) as partial:
            partial.write_text('ne')
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == 'old'
    assert names(tmp_path) == ['x.txt']


def test_two_writers_of_one_file_do_not_mix(tmp_path):
    path = tmp_path / 'x.txt'
    with write_atomically(path) as first:
        first.write_text('first')
        with write_atomically(path) as second:
            second.write_text('second')
        assert path.read_text() == 'second'
    assert path.read_text() == 'first'


def test_a_new_file_is_as_readable_as_any_other(tmp_path):
    (tmp_path / 'usual').touch()
    write_json(tmp_path / 'x.json', 1)
    assert (tmp_path / 'x.json').stat().st_mode == (tmp_path / 'usual').stat().st_mode


def test_a_killed_writer_leaves_no_half_file_under_the_name(tmp_path):
    probe = (
        'import os, signal; from trajectory.utils import write_atomically\n'
        f'with write_atomically({str(tmp_path / "state_3.pt")!r}) as partial:\n'
        '    partial.write_text("half"); os.kill(os.getpid(), signal.SIGKILL)'
    )
    assert subprocess.run([sys.executable, '-c', probe]).returncode == -9
    assert not (tmp_path / 'state_3.pt').exists()
    with pytest.raises(InputError, match=r'holds no state_'):
        get_latest_epoch(tmp_path)

# ---------------------------------- JSON ---------------------------------- #

def test_json_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / 'x.json'
    write_json(path, {'n': np.float32(0.5), 'x': np.arange(3), 'at': Path('logs'), 'no': 'größe', 'k': None})
    assert read_json(path) == {'n': 0.5, 'x': [0, 1, 2], 'at': 'logs', 'no': 'größe', 'k': None}
    assert path.read_text().endswith('\n')


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path):
    write_json(tmp_path / 'x.json', 1)
    with pytest.raises(TypeError, match=r'JSON has no form for .*, a object'):
        write_json(tmp_path / 'x.json', object())
    assert read_json(tmp_path / 'x.json') == 1


@pytest.mark.parametrize('content', [b'{"a": 1', b'', b'\xff\xfe\x00'])
def test_damaged_json_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / 'args.json').write_bytes(content)
    with pytest.raises(InputError, match=r'args.json is not valid JSON: [\s\S]*Restore'):
        read_json(tmp_path / 'args.json')


def test_a_folder_in_the_place_of_a_file_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r'cannot read .*: Is a directory'):
        read_json(tmp_path)


def test_a_missing_file_is_an_error_that_says_what_is_there_instead(tmp_path):
    with pytest.raises(InputError, match=r'x\.json does not exist\. Its folder is empty'):
        read_json(tmp_path / 'x.json')
    with pytest.raises(InputError, match=r'x\.json does not exist\. Its folder does not exist either'):
        read_json(tmp_path / 'logs' / 'x.json')
    for n in range(20):
        (tmp_path / f'{n:02d}').touch()
    with pytest.raises(InputError, match=r'Its folder holds 00, 01, .*, 11 and 8 more'):
        read_json(tmp_path / 'x.json')


def test_the_settings_of_a_run_are_attributes(tmp_path):
    write_json(tmp_path / 'args.json', {'horizon': 15, 'k_act': None})
    args = load_args(str(tmp_path.parent), tmp_path.name)
    assert (args.horizon, args.k_act) == (15, None)

# --------------------------------- models --------------------------------- #

def test_the_latest_epoch_is_the_largest_number_not_the_last_name(tmp_path):
    epochs = random.Random(0).sample(range(31), 31)
    others = ['state_best.pt', '.1a2b.state_99.pt', 'state_99.pt.old', 'state_of_state_99.pt']
    for name in [f'state_{epoch}.pt' for epoch in epochs] + others:
        (tmp_path / name).touch()
    assert get_latest_epoch(tmp_path.parent, tmp_path.name) == 30


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


def test_weights_cut_short_or_garbled_are_an_error_with_a_remedy(tmp_path):
    save_run(tmp_path, epochs=[1])
    path = tmp_path / 'state_1.pt'
    whole = path.read_bytes()
    rng = random.Random(0)
    damaged = [b'', b'not weights', whole[:-1]] + [whole[:rng.randrange(len(whole))] for _ in range(20)]
    damaged += [rng.randbytes(200) for _ in range(50)]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r'state_1.pt [\s\S]*(copy or download it again|torch.save)'):
            load_model(tmp_path)


def test_one_flipped_bit_of_the_weights_is_found(tmp_path):
    model = save_run(tmp_path, epochs=[1])
    path = tmp_path / 'state_1.pt'
    whole = bytearray(path.read_bytes())
    whole[whole.index(model.head.weight.detach().numpy().tobytes())] ^= 1
    path.write_bytes(whole)
    with pytest.raises(InputError, match=r'state_1.pt cannot be read as weights: the checksum of'):
        load_model(tmp_path)


def test_weights_that_would_run_code_are_refused_unrun(tmp_path, capsys):
    class Payload:
        def __reduce__(self):
            return print, ('this must never run',)

    save_run(tmp_path, epochs=[1])
    torch.save({'head.weight': Payload()}, tmp_path / 'state_1.pt')
    with pytest.raises(InputError, match='cannot be read as weights'):
        load_model(tmp_path)
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('other', [torch.zeros(2), {'model': {'head.weight': torch.zeros(2)}}, [1]])
def test_a_file_of_something_else_is_not_weights(tmp_path, other):
    save_run(tmp_path, epochs=[1])
    torch.save(other, tmp_path / 'state_1.pt')
    with pytest.raises(InputError, match=r'holds a \w+, not a state dict of tensors'):
        load_model(tmp_path)


def test_a_recipe_is_plain_enough_to_be_edited_by_hand(tmp_path):
    save_run(tmp_path, epochs=[])
    recipe = json.loads((tmp_path / 'model_config.json').read_text())
    assert recipe['settings'] == SMALL
