"""Let several processes train one model: each takes a share of every batch, and all take the same step.

Started alone, a process is a team of one, and nothing is sent. `torchrun` starts the others:

    torchrun --nproc_per_node=2 scripts/train.py --dataset hopper-medium-v2
"""
import os
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist

from trajectory.utils.errors import InputError

PATIENCE = timedelta(hours=12)      # while the first plans episodes or saves, the others wait


@dataclass(frozen=True)
class Team:
    """Who we are among the processes that train.    rank : 0 writes the files    size : how many there are"""

    rank: int = 0
    size: int = 1

    @property
    def writes(self) -> bool:
        return self.rank == 0

    def share(self, indices: Tensor) -> Tensor:
        """This process' part of a batch; of a small one it may be empty.    indices : [ B ]"""
        return indices.tensor_split(self.size)[self.rank]

    def add_up(self, tensors: list[Tensor]) -> None:
        """Replace each tensor by its sum over the processes."""
        if self.size == 1:
            return
        joined = torch.cat([tensor.flatten() for tensor in tensors])    # one message for all
        dist.all_reduce(joined)
        for tensor, part in zip(tensors, joined.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, *facts: bool) -> list[bool]:
        """Which of these hold for at least one process."""
        if self.size == 1:
            return list(facts)
        agreed = torch.tensor(facts, dtype=torch.uint8)
        dist.all_reduce(agreed, dist.ReduceOp.MAX)
        return agreed.bool().tolist()

    def gather(self, item) -> list:
        """What each process has, in the order of their ranks."""
        if self.size == 1:
            return [item]
        items = [None] * self.size
        dist.all_gather_object(items, item)
        return items

    def copy_from_first(self, model) -> None:
        """Give every process the weights of the first, once all are here."""
        if self.size > 1:
            self.any(True)
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, src=0)


def join_team(device: torch.device) -> tuple[Team, torch.device]:
    """Find the other processes, if `torchrun` started some.

    returns : the team, and the device of this process: of several on one machine each has a card of its own
    """
    size, local_rank = (int(os.environ.get(name, default)) for name, default in (('WORLD_SIZE', 1), ('LOCAL_RANK', 0)))
    if size == 1:
        return Team(), device
    if device.type == 'cuda':
        if local_rank >= torch.cuda.device_count():
            raise InputError(f'process {local_rank} of this machine finds {torch.cuda.device_count()} CUDA devices.\n'
                             f'  Pass --nproc_per_node={torch.cuda.device_count()} to torchrun, or --device cpu here.')
        device = torch.device('cuda', local_rank)
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group('cpu:gloo,cuda:nccl' if device.type == 'cuda' else 'gloo', timeout=PATIENCE)
    return Team(dist.get_rank(), size), device


def leave_team() -> None:
    """Part from the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()
