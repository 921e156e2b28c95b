"""On-policy sampling: all episodes of all tasks of a meta-batch side by side."""

from collections.abc import Sequence

import numpy as np
import torch

from trajectory.environments.families.registry import find_family
from trajectory.models.policies import Params, Policy, sample_actions
from trajectory.rollouts.batch_episodes import BatchEpisodes
from trajectory.rollouts.simulators import check_workers, make_simulators


class BatchSampler:
    """Samples episodes of tasks of one family.

    env_name    : id of the family
    batch_size  : episodes of each task, B
    num_workers : processes that simulate robots; what is sampled does not depend on it
    """

    def __init__(self, env_name: str, batch_size: int, num_workers: int = 1):
        self.family = find_family(env_name)
        self.batch_size, self.num_workers = batch_size, num_workers
        self.env = self.family.make()
        self._simulators, self._n = None, 0

    def sample_tasks(self, num_tasks: int, seed: Sequence[int]) -> list[dict]:
        """Draw tasks.    seed : whole numbers; the k-th task is the same however many are drawn"""
        tasks = []
        for child in np.random.SeedSequence(seed).spawn(num_tasks):
            self.env.unwrapped.np_random = np.random.default_rng(child)
            tasks += self.env.unwrapped.sample_tasks(1)
        return tasks

    @torch.no_grad()
    def sample(self, policy: Policy, tasks: list[dict], seed: Sequence[int], params: Params | None = None):
        """Act in B episodes of each task, to the end of the longest.

        tasks   : M of them
        seed    : whole numbers; equal ones give equal episodes
        params  : of each task, [ M x ... ] by name; the policy's own for all, if none are given
        returns : `BatchEpisodes` with a leading dimension [ M ], on the CPU
        """
        n, shape = len(tasks) * self.batch_size, (len(tasks), self.batch_size)
        of_simulators, of_actions = np.random.SeedSequence(seed).spawn(2)
        simulators = self._room_for(n)
        generator = torch.Generator().manual_seed(int(of_actions.generate_state(1)[0]))
        like = next(policy.parameters())
        ended, steps = np.zeros(n, dtype=bool), []
        try:
            seen = simulators.reset([task for task in tasks for _ in range(self.batch_size)], of_simulators)
            while not ended.all():
                observations = torch.as_tensor(seen).view(*shape, -1).to(like)
                heads = policy.forward_tasks(observations, params) if params else policy(observations)
                actions = sample_actions(heads, generator).cpu().flatten(0, 1).numpy()
                before, taken = seen, ~ended
                seen, rewards, ended = simulators.step(actions)
                steps.append((before, actions, rewards, taken))
        except (EOFError, ConnectionError, BrokenPipeError) as error:
            raise check_workers(error) from error
        return _stack(steps, shape)

    def _room_for(self, n):
        if self._simulators is None or (self._n != n and not self.family.is_batched):
            self.close()
            self._simulators, self._n = make_simulators(self.family, n, self.num_workers), n
        return self._simulators

    def close(self) -> None:
        """End the worker processes; they also end with this one."""
        if self._simulators is not None:
            self._simulators.close()
            self._simulators = None


def _stack(steps, shape):
    """Steps of N = M · B rows as `BatchEpisodes`, zeros beyond each end."""
    observations, actions, rewards, taken = (np.stack(column) for column in zip(*steps, strict=True))

    def arrange(values):  # [ T x N x ... ] -> [ M x T x B x ... ]
        kept = values * taken.reshape(*taken.shape, *(1,) * (values.ndim - 2)).astype(values.dtype)
        return torch.as_tensor(kept).unflatten(1, shape).movedim(1, 0).contiguous()

    return BatchEpisodes(
        arrange(observations),
        arrange(actions),
        arrange(rewards),
        torch.as_tensor(taken.sum(axis=0)).unflatten(0, shape),
    )
