"""Data-parallel training: shard each batch, all-reduce gradients.

A process that is started alone has a world size of 1, and sends nothing. `torchrun` starts several:

    torchrun --nproc_per_node=2 scripts/train.py --dataset hopper-medium-v2
"""

import atexit
import logging
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist

from trajectory.utils.errors import InputError

TIMEOUT = timedelta(hours=12)  # while rank 0 evaluates or saves, the others wait


@dataclass(frozen=True)
class Distributed:
    """The processes that train one model.    rank : of this one    world_size : how many there are"""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process, of rank 0, writes the files."""
        return self.rank == 0

    def shard(self, indices: Tensor) -> Tensor:
        """This rank's part of a batch; of a small one it may be empty.    indices : [ B ]"""
        return indices.tensor_split(self.world_size)[self.rank]

    def all_reduce(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its sum over the ranks."""
        if self.world_size == 1:
            return
        joined = torch.cat([tensor.flatten() for tensor in tensors])  # one message for all
        dist.all_reduce(joined)
        for tensor, part in zip(tensors, joined.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, *facts: bool) -> list[bool]:
        """Which of these hold on at least one rank."""
        if self.world_size == 1:
            return list(facts)
        agreed = torch.tensor(facts, dtype=torch.uint8)
        dist.all_reduce(agreed, dist.ReduceOp.MAX)
        return agreed.bool().tolist()

    def all_gather(self, item) -> list:
        """What each rank has, in the order of the ranks."""
        if self.world_size == 1:
            return [item]
        items = [None] * self.world_size
        dist.all_gather_object(items, item)
        return items

    def broadcast_from_main(self, model) -> None:
        """Copy the weights of rank 0 to all."""
        if self.world_size > 1:
            self.any(True)
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, src=0)


@contextmanager
def processes(device: torch.device):
    """Join the other processes, if `torchrun` started some, and leave them in step.

    yields : the `Distributed` processes, and the device of this one: of several on one machine each has its own GPU
    """
    distributed, device = connect(device)
    if distributed.world_size == 1:
        yield distributed, device
        return
    atexit.register(end := _End())
    try:
        yield distributed, device
        dist.barrier()  # else a rank may end while the transport's threads of another still serve it
        end.is_clean = True
    finally:
        dist.destroy_process_group()


class _End:
    """Ends a process whose work is done without tearing down the interpreter.

    A thread of gloo may still be about to drop a tensor, which takes the interpreter's lock; while that is torn down,
    such a thread aborts the process, and torchrun takes the run for failed.
    """

    is_clean = False

    def __call__(self):
        if self.is_clean:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


def connect(device: torch.device) -> tuple[Distributed, torch.device]:
    """Find the other processes, if `torchrun` started some.

    returns : the processes, and the device of this process: of several on one machine each has a card of its own
    """
    size, local_rank = (int(os.environ.get(name, default)) for name, default in (('WORLD_SIZE', 1), ('LOCAL_RANK', 0)))
    if size == 1:
        return Distributed(), device
    if device.type == 'cuda':
        if local_rank >= torch.cuda.device_count():
            raise InputError(
                f'process {local_rank} of this machine finds {torch.cuda.device_count()} CUDA devices.\n'
                f'  Pass --nproc_per_node={torch.cuda.device_count()} to torchrun, or --device cpu here.'
            )
        device = torch.device('cuda', local_rank)
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group('cpu:gloo,cuda:nccl' if device.type == 'cuda' else 'gloo', timeout=TIMEOUT)
    return Distributed(dist.get_rank(), size), device
