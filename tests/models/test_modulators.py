"""Modulators change a GPT-2 as the original's do, and change nothing where they begin or are off."""

import numpy as np
import pytest
import torch

from tests.support import golden, state_of
from trajectory.models.modulators import IA3, MODULATORS, Adapters, LoRA, Prefix, Prompts
from trajectory.models.multi_domain import Encoder


@pytest.fixture(scope='module')
def base():
    """The encoder, its inputs and their mask."""
    numbers = golden('continual/encoder')
    config = numbers['config']
    encoder = Encoder(config['n_embd'], config['n_layer'], config['n_head']).eval()
    encoder.load_state_dict({name: torch.tensor(value) for name, value in state_of(numbers).items()})
    return encoder, torch.tensor(numbers['inputs']), torch.tensor(numbers['mask']), numbers['output']


def fill(modulator, values):
    """Give a modulator these values; a lone one's get their leading dimension."""
    own = dict(modulator.named_parameters())
    given = {name: torch.tensor(value) for name, value in values.items()}
    modulator.load_state_dict(
        {name: value if value.ndim == own[name].ndim else value[None] for name, value in given.items()}
    )
    return modulator


@torch.no_grad()
def differs(base, expected, modulator=None, ids=None):
    encoder, inputs, mask, _ = base
    ids = None if ids is None else torch.tensor(ids).long()
    gap = encoder(inputs, mask, modulator, ids) - torch.tensor(np.asarray(expected))
    return float(gap.abs()[mask > 0].max())


def test_the_base_is_the_originals(base):
    assert differs(base, base[3]) < 1e-4


@pytest.mark.parametrize('targets', ['qv', 'qvff', 'qkvff', 'ff'])
def test_lora_is_the_originals(base, targets):
    numbers = golden('continual/lora')
    names = [name for name in ('q', 'k', 'v', 'ff') if f'{targets}/A_{name}' in numbers]
    values = {f'{part}_{name}': numbers[f'{targets}/{part}_{name}'] for part in 'AB' for name in names}
    assert differs(base, numbers[f'{targets}/output'], fill(LoRA(24, 2, 1, names, 3, 6), values)) < 1e-4


def test_pooled_lora_is_the_originals(base):
    numbers, names = golden('continual/lora'), ('q', 'v', 'ff')
    values = {f'{part}_{name}': numbers[f'pool/{part}_{name}'] for part in 'AB' for name in names}
    modulator = fill(LoRA(24, 2, 5, names, 3, 6), values)
    assert differs(base, numbers['pool/output'], modulator, numbers['pool/ids']) < 1e-4
    assert differs(base, numbers['pool/output'], modulator, numbers['pool/ids'][::-1].copy()) > 1e-2


@pytest.mark.parametrize(
    ('prefix', 'targets', 'before_gelu', 'output'),
    [
        ('', ('v', 'k', 'ff'), False, 'output'),
        ('', ('v', 'k', 'ff'), True, 'output_ff_before_gelu'),
        ('with_q/', ('v', 'k', 'ff', 'q'), False, 'with_q/output'),
        ('with_out/', ('v', 'k', 'ff', 'out'), False, 'with_out/output'),
    ],
)
def test_ia3_is_the_originals(base, prefix, targets, before_gelu, output):
    numbers = golden('continual/ia3')
    values = {f'l_{name}': numbers[f'{prefix}{name}'] for name in targets}
    assert differs(base, numbers[output], fill(IA3(24, 2, 1, targets, before_gelu), values)) < 1e-4


def test_pooled_ia3_is_the_originals(base):
    numbers = golden('continual/ia3')
    modulator = fill(IA3(24, 2, 5), {f'l_{name}': numbers[f'pool/{name}'] for name in ('v', 'k', 'ff')})
    assert differs(base, numbers['pool/output'], modulator, numbers['pool/ids']) < 1e-4


def test_prompts_prefixes_and_adapters_are_the_originals(base):
    numbers = golden('continual/prompts')
    shallow = fill(Prompts(24, 2, 1, 4), {'tokens': numbers['input/prompt'][None]})
    assert differs(base, numbers['input/output'], shallow) < 1e-4
    deep = fill(Prompts(24, 2, 1, 4, deep=True), {'tokens': numbers['layers/prompt']})
    assert differs(base, numbers['layers/output'], deep) < 1e-4
    keys, values = numbers['prefix/keys'], numbers['prefix/values']
    assert differs(base, numbers['prefix/output'], fill(Prefix(24, 2, 1, 4), {'keys': keys, 'values': values})) < 1e-4
    first = fill(Prefix(24, 1, 1, 4), {'keys': keys[:1], 'values': values[:1]})
    assert differs(base, numbers['prefix_first/output'], first) < 1e-4
    own = {name: value for name, value in state_of(numbers, 'adapter').items() if name != 'output'}
    assert differs(base, numbers['adapter/output'], fill(Adapters(24, 2, 1, 4), own)) < 1e-4


@pytest.mark.parametrize('name', ['lora', 'ia3', 'adapter'])
def test_a_modulator_begins_as_nothing_and_minus_one_is_none(base, name):
    """Bit for bit."""
    encoder, inputs, mask, _ = base
    modulator = MODULATORS[name](24, 2, 3)
    with torch.no_grad():
        plain = encoder(inputs, mask)
        assert torch.equal(encoder(inputs, mask, modulator), plain)
        for parameter in modulator.parameters():
            parameter.normal_()
        off, on = torch.full((4,), -1), torch.tensor([-1, 0, 1, 2])
        assert torch.equal(encoder(inputs, mask, modulator, off), plain)
        mixed = encoder(inputs, mask, modulator, on)
        assert torch.equal(mixed[0], plain[0])
        assert not torch.allclose(mixed[1:], plain[1:])


def test_peft_computes_the_same_lora():
    """On separate q and v, with alpha of twice the rank."""
    peft = pytest.importorskip('peft')

    class Layers(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.v = torch.nn.Linear(24, 24), torch.nn.Linear(24, 24)

        def forward(self, x):
            return self.q(x), self.v(x)

    torch.manual_seed(0)
    plain = Layers()
    lora = peft.get_peft_model(plain, peft.LoraConfig(r=3, lora_alpha=6, target_modules=['q', 'v'], lora_dropout=0.0))
    ours, x = LoRA(24, 1, 1, ('q', 'v'), 3, 6), torch.randn(2, 5, 24)
    with torch.no_grad():
        for name in 'qv':
            layer = getattr(lora.base_model.model, name)
            layer.lora_B.default.weight.normal_()
            getattr(ours, f'A_{name}').copy_(layer.lora_A.default.weight.T[None, None])
            getattr(ours, f'B_{name}').copy_(layer.lora_B.default.weight.T[None, None])
        theirs = lora(x)
        base_q, base_v = (getattr(lora.base_model.model, name).base_layer(x) for name in 'qv')
        q, _, v = ours.attention_inputs(0, x, base_q, base_q, base_v, torch.zeros(2, dtype=torch.long))
    assert torch.allclose(theirs[0], q, atol=1e-6)
    assert torch.allclose(theirs[1], v, atol=1e-6)
