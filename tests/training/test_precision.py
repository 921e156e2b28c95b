"""Which arithmetic a device gets, and what it refuses."""

import pytest
import torch

from trajectory.training.precision import Arithmetic, arithmetic_of, choose_arithmetic
from trajectory.utils.errors import InputError


@pytest.mark.parametrize(
    ('device', 'expected'),
    [
        (('cpu', None), Arithmetic('cpu')),
        (('mps', None), Arithmetic('mps')),
        (('cuda', (7, 0)), Arithmetic('cuda')),
        (('cuda', (8, 0)), Arithmetic('cuda', tf32=True, compiled=True)),
        (('cuda', (9, 0), 'float32'), Arithmetic('cuda', compiled=True)),
        (('cuda', (9, 0), 'bfloat16', False), Arithmetic('cuda', tf32=True, bfloat16=True)),
        (('cpu', None, 'bfloat16'), Arithmetic('cpu', bfloat16=True)),
        (('cpu', None, 'auto', True), Arithmetic('cpu', compiled=True)),
    ],
)
def test_a_device_gets_the_fastest_it_knows(device, expected):
    assert choose_arithmetic(*device) == expected


@pytest.mark.parametrize(
    ('device', 'message'),
    [
        (('cpu', None, 'tf32'), 'TF32 is for CUDA devices of capability 8.0 or more, this is cpu'),
        (('cuda', (7, 5), 'tf32'), r'this is cuda \(7, 5\).\n  Pass --precision float32'),
        (('cuda', (7, 5), 'bfloat16'), 'has no bfloat16'),
    ],
)
def test_what_a_device_cannot_do_is_refused(device, message):
    with pytest.raises(InputError, match=message):
        choose_arithmetic(*device)


def test_sixteen_bits_are_used_where_they_are_asked_for_and_only_there():
    x = torch.ones(3, 3)
    with arithmetic_of(torch.device('cpu'), 'bfloat16').autocast():
        assert (x @ x).dtype == torch.bfloat16
    with arithmetic_of(torch.device('cpu')).autocast():
        assert (x @ x).dtype == torch.float32


def test_it_says_what_it_is():
    assert str(choose_arithmetic('cuda', (8, 0), 'bfloat16')) == 'bfloat16, compiled'
    assert str(choose_arithmetic('cuda', (8, 0))) == 'TF32, compiled'
    assert str(choose_arithmetic('cpu', None)) == 'float32'
