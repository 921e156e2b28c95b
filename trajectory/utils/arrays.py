"""Move numbers between numpy, torch, devices and pictures."""

import os
import sys

import numpy as np
import torch

from trajectory.utils.errors import InputError


def to_np(x) -> np.ndarray:
    """Return a tensor, wherever it is, as an array; anything else as `np.asarray` does."""
    return x.detach().cpu().numpy() if torch.is_tensor(x) else np.asarray(x)


def to_torch(x, dtype=None, device=None):
    """Copy numbers, or a dict of them, into tensors: 32-bit floats unless `dtype` says otherwise."""
    if isinstance(x, dict):
        return {key: to_torch(value, dtype, device) for key, value in x.items()}
    if torch.is_tensor(x):
        return x.to(device=device, dtype=dtype or torch.float32)
    return torch.tensor(np.asarray(x), dtype=dtype or torch.float32, device=device)


def to_device(*things, device=None):
    """Move every tensor of nests of tuples, lists and dicts; what is no tensor stays as it is.

    device  : where to; also as the last of the things, `to_device(x, 'cpu')`
    returns : one thing as it came; several in a list
    """
    if device is None and isinstance(things[-1], str | torch.device):
        *things, device = things
    moved = [_to_device(x, device) for x in things]
    return moved[0] if len(moved) == 1 else moved


def _to_device(x, device):
    if torch.is_tensor(x):
        return x.to(device)
    if isinstance(x, dict):
        return {key: _to_device(value, device) for key, value in x.items()}
    if isinstance(x, tuple | list):
        moved = [_to_device(value, device) for value in x]
        named = hasattr(x, '_fields')  # a named tuple takes its values one by one
        return type(x)(*moved) if named else type(x)(moved)
    return x


def normalize(x):
    """Scale to [ 0, 1 ], the least number to 0 and the largest to 1; a constant becomes 0."""
    x = x - x.min()
    largest = x.max()
    return x / (largest if largest > 0 else 1)


def to_img(x) -> np.ndarray:
    """Turn numbers of any range into a picture.

    x       : [ C x H x W ] or [ H x W x C ]; a first dimension of 1, 3 or 4 is taken for the channels
    returns : [ H x W x C ], bytes
    """
    picture = to_np(normalize(x))
    if picture.shape[0] in (1, 3, 4):
        picture = picture.transpose(1, 2, 0)
    return (picture * 255).astype(np.uint8)


def resolve_device(name) -> torch.device:
    """Return the device of this name, or for 'auto' the fastest one here; one that is missing is an error."""
    present = ['cpu'] + [f'cuda:{index}' for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        present.append('mps')
    name = str(name)
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    name = {'cuda': 'cuda:0', 'cpu:0': 'cpu', 'mps:0': 'mps'}.get(name, name)
    if name not in present:
        raise InputError(
            f'there is no device {name!r} here; there is {", ".join(present)}.\n'
            f'  Pass --device {present[-1]}, or --device auto for the fastest.'
        )
    return torch.device(name)


def free_memory(device: torch.device) -> float:
    """Bytes that a CUDA device has left; of any other no limit is known."""
    return torch.cuda.mem_get_info(device)[0] if device.type == 'cuda' else float('inf')


def physical_memory() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def peak_memory(device: torch.device) -> int:
    """The most bytes that this process has held at once: on a CUDA device, or in the machine's memory."""
    import resource  # not on Windows

    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == 'darwin' else 1024 * largest


def set_device(device) -> torch.device:
    """Make a device the one on which torch creates tensors, if it is here, and return it."""
    device = resolve_device(device)
    torch.set_default_device(device)
    return device
