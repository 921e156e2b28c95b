"""Choose how precisely, and how, a device computes: the fastest way that it knows and the user allows."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch

from trajectory.utils.errors import InputError

PRECISIONS = ('auto', 'float32', 'tf32', 'bfloat16')
AMPERE = (8, 0)  # the first CUDA devices with TF32 and bfloat16


@dataclass(frozen=True)
class Arithmetic:
    """How to compute.

    device_type : 'cpu', 'cuda', 'mps'
    tf32        : matrix products of 32-bit floats may round their factors to 10 bits
    bfloat16    : the network computes in 16 bits, where that is safe; weights and optimizer keep 32
    compiled    : the network is compiled first
    """

    device_type: str
    tf32: bool = False
    bfloat16: bool = False
    compiled: bool = False

    def autocast(self):
        """The context to run the network in."""
        return torch.autocast(self.device_type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def prepare(self, function):
        """The function, compiled if it is to be; matrix products from here on as chosen."""
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.tf32
        return torch.compile(function) if self.compiled else function

    def __str__(self):
        number = 'bfloat16' if self.bfloat16 else 'TF32' if self.tf32 else 'float32'
        return number + (', compiled' if self.compiled else '')


def choose_arithmetic(
    device_type: str, capability: tuple[int, int] | None, precision: str = 'auto', compiled: bool | None = None
) -> Arithmetic:
    """What a device is to do.

    capability : of a CUDA device, (8, 0) for an A100; None for others
    precision  : 'auto' is TF32 where there is such a thing, as the reference had it, else float32
    compiled   : None compiles on CUDA devices that can, where it pays; on a processor it does not
    """
    modern = device_type == 'cuda' and capability is not None and capability >= AMPERE
    if precision == 'tf32' and not modern:
        found = f'{device_type} {capability}' if capability else device_type
        raise InputError(
            f'TF32 is for CUDA devices of capability 8.0 or more, this is {found}.\n'
            '  Pass --precision float32, or --precision auto.'
        )
    if precision == 'bfloat16' and device_type == 'cuda' and not modern:
        raise InputError(f'a CUDA device of capability {capability} has no bfloat16.\n  Pass --precision float32.')
    return Arithmetic(
        device_type,
        tf32=modern and precision in ('auto', 'tf32', 'bfloat16'),
        bfloat16=precision == 'bfloat16',
        compiled=modern if compiled is None else compiled,
    )


def arithmetic_of(device: torch.device, precision: str = 'auto', compiled: bool | None = None) -> Arithmetic:
    """`choose_arithmetic` for the device at hand."""
    capability = torch.cuda.get_device_capability(device) if device.type == 'cuda' else None
    return choose_arithmetic(device.type, capability, precision, compiled)
