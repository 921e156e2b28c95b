"""Actions become the original's tokens, and numbers again."""

import numpy as np
import pytest
import torch

from tests.support import golden
from trajectory.models.tokens import ActionTokens

NUMBERS = golden('continual/tokens')


def make(case, **options):
    low, high = (default if case[name] is None else case[name] for name, default in (('low', -1), ('high', 1)))
    return ActionTokens(case['bins'], case['kind'], low, high, case['shift'], **options)


@pytest.mark.parametrize('number', range(8))
def test_tokens_and_values_are_the_originals(number):
    case, key = NUMBERS['cases'][number], f'case{number}'
    tokens = make(case, midpoints=False)
    ours, decisive = tokens.encode(torch.tensor(NUMBERS['x'])).numpy(), NUMBERS[f'{key}/decisive']
    assert np.array_equal(ours[decisive], NUMBERS[f'{key}/tokens'][decisive])
    assert decisive.mean() > 0.5
    values = tokens.decode(torch.tensor(NUMBERS[f'{key}/tokens'])).numpy()
    assert values == pytest.approx(NUMBERS[f'{key}/values'], abs=1e-6)
    every = tokens.decode(torch.arange(case['bins']) + case['shift']).numpy()
    assert every == pytest.approx(NUMBERS[f'{key}/all_values'], abs=1e-6)


def test_middles_have_no_bias_and_left_edges_do():
    x = torch.linspace(-0.999, 0.999, 10_001)
    gaps = {middle: (ActionTokens(midpoints=middle).decode(ActionTokens().encode(x)) - x) for middle in (True, False)}
    assert abs(gaps[True].mean()) < 1e-3
    assert gaps[False].mean().item() == pytest.approx(-1 / 64, abs=1e-3)
    assert gaps[True].abs().max() <= 1 / 64 + 1e-6
