"""Numbers arrive unchanged on the other side, and a missing device is an error that names those here."""

from collections import namedtuple

import numpy as np
import pytest
import torch

from trajectory.utils import (
    InputError,
    normalize,
    resolve_device,
    set_device,
    to_device,
    to_img,
    to_np,
    to_torch,
)

Pair = namedtuple('Pair', 'left right')


def test_numbers_survive_the_way_to_torch_and_back():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(to_np(to_torch(x)), x)
    np.testing.assert_array_equal(to_np([1, 2]), [1, 2])


def test_a_tensor_that_needs_gradients_becomes_an_array():
    assert to_np(torch.ones(2, requires_grad=True)).tolist() == [1, 1]


@pytest.mark.parametrize('x', [np.array([1, 2]), [1, 2], torch.tensor([1, 2])], ids=type)
def test_to_torch_makes_floats_unless_told_otherwise(x):
    assert to_torch(x).dtype == torch.float32
    assert to_torch(x, dtype=torch.long).dtype == torch.int64


def test_to_torch_copies_so_that_the_array_may_change_or_be_read_only():
    x = np.zeros(2, dtype=np.float32)
    x.flags.writeable = False
    to_torch(x)[0] = 1
    assert x[0] == 0


def test_to_torch_reads_a_dict_entry_by_entry():
    assert to_torch({'a': [1], 'b': {'c': 2}})['b']['c'] == torch.tensor(2.0)


def test_to_device_keeps_the_shape_of_the_nest():
    nest = ({'a': torch.zeros(1), 'b': [torch.zeros(2), 'word']}, Pair(torch.zeros(3), None))
    moved = to_device(nest, 'meta')
    assert isinstance(moved, tuple)
    assert moved[0]['a'].device.type == moved[0]['b'][0].device.type == moved[1].left.device.type == 'meta'
    assert moved[0]['b'][1] == 'word'
    assert isinstance(moved[1], Pair)
    assert moved[1].right is None


@pytest.mark.parametrize('make', [np.array, torch.tensor])
def test_normalize_spans_zero_to_one(make):
    assert normalize(make([2, 4, 6])).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize('make', [np.array, torch.tensor])
def test_normalize_makes_a_constant_zero(make):
    assert normalize(make([3.0, 3.0])).tolist() == [0, 0]


@pytest.mark.parametrize(
    ('shape', 'picture'),
    [
        ((3, 5, 6), (5, 6, 3)),
        ((1, 5, 6), (5, 6, 1)),
        ((5, 6, 3), (5, 6, 3)),
    ],
)
def test_to_img_puts_the_channels_last(shape, picture):
    image = to_img(torch.arange(float(np.prod(shape))).reshape(shape))
    assert image.shape == picture
    assert image.dtype == np.uint8
    assert (image.min(), image.max()) == (0, 255)


def test_a_pixel_keeps_its_place_when_the_channels_move():
    x = torch.zeros(3, 5, 6)
    x[2, 1, 4] = 1
    assert np.argwhere(to_img(x)).tolist() == [[1, 4, 2]]


def test_auto_is_a_device_that_computes():
    assert torch.ones(2, device=resolve_device('auto')).sum() == 2


def test_cuda_without_a_number_is_the_first_if_there_is_one():
    if torch.cuda.is_available():
        assert resolve_device('cuda') == resolve_device(torch.device('cuda', 0)) == torch.device('cuda:0')
    else:
        with pytest.raises(InputError, match="no device 'cuda:0' here"):
            resolve_device('cuda')


@pytest.mark.parametrize('name', ['cuda:99', 'gpu', 'meta', ''])
def test_a_missing_device_is_an_error_that_names_those_here(name):
    with pytest.raises(InputError, match=rf"no device '{name}' here; there is cpu.*\n.*--device .*auto"):
        resolve_device(name)


def test_set_device_is_where_tensors_are_made_from_then_on():
    before = torch.get_default_device()
    try:
        assert set_device('cpu') == torch.device('cpu')
        torch.set_default_device('meta')
        set_device('cpu')
        assert torch.zeros(1).device.type == 'cpu'
    finally:
        torch.set_default_device(before)
