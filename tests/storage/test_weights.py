"""Weights in a run's folder: the latest, and what is refused."""

import random

import pytest
import torch

from trajectory.storage.weights import build_with_weights
from trajectory.utils import (
    Config,
    InputError,
    get_latest_epoch,
    load_model,
    save_state,
)

SMALL = dict(
    vocab_size=5,
    block_size=39,
    observation_dim=1,
    action_dim=1,
    transition_dim=4,
    n_layer=1,
    n_head=1,
    n_embd=8,
    embd_pdrop=0.1,
    resid_pdrop=0.1,
    attn_pdrop=0.1,
    action_weight=5,
    reward_weight=1,
    value_weight=1,
)


def save_run(folder, epochs=(2, 10), **changes):
    """Write the recipe of a small model and, for each epoch, other weights; return the last model."""
    config = Config(
        'trajectory.models.transformers:GPT',
        verbose=False,
        savepath=folder / 'model_config.json',
        **{**SMALL, **changes},
    )
    models = [config() for _ in epochs]
    for epoch, model in zip(epochs, models, strict=True):
        save_state(model, folder / f'state_{epoch}.pt')
    return models[-1] if models else None


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_latest_epoch_is_the_largest_number_not_the_last_name(tmp_path):
    epochs = random.Random(0).sample(range(31), 31)
    others = ['state_best.pt', '.1a2b.state_99.pt', 'state_99.pt.old', 'state_of_state_99.pt']
    for name in [f'state_{epoch}.pt' for epoch in epochs] + others:
        (tmp_path / name).touch()
    assert get_latest_epoch(tmp_path.parent, tmp_path.name) == 30


def test_weights_cut_short_or_garbled_are_an_error_with_a_remedy(tmp_path):
    save_run(tmp_path, epochs=[1])
    path = tmp_path / 'state_1.pt'
    whole = path.read_bytes()
    rng = random.Random(0)
    damaged = [b'', b'not weights', whole[:-1]] + [whole[: rng.randrange(len(whole))] for _ in range(20)]
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


def test_a_network_is_built_of_what_its_weights_hold_and_nothing_more(tmp_path):
    made = torch.nn.Linear(3, 2)
    built = build_with_weights(lambda: torch.nn.Linear(3, 2), made.state_dict(), tmp_path / 'x.pt')
    assert torch.equal(built.weight, made.weight)
    assert built.weight.requires_grad
    half = build_with_weights(lambda: torch.nn.Linear(3, 2), made.half().state_dict(), tmp_path / 'x.pt')
    assert half.weight.dtype == torch.float32
    with pytest.raises(InputError, match=r'x.pt does not fit the recipe beside it'):  # 4 TB, if it were made
        build_with_weights(lambda: torch.nn.Linear(10**6, 10**6), made.state_dict(), tmp_path / 'x.pt')
