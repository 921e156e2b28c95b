"""Time an update of MAML-TRPO against the original algorithm's shape, in one process each.

    python -m benchmarks.bench_meta [--tasks 30] [--repeats 3] [--threads 1]

The original's shape: episodes of one task after the other, environments stepped one by one, a policy call a step for
the 20 of a task; each product with the Hessian adapts anew to every task and differentiates twice through it; so does
each try of the line search. Both get the same settings: 2-D navigation, 20 episodes a task, a network of 100-100.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.distributions import kl_divergence

from trajectory.algorithms.maml.baseline import LinearFeatureBaseline, masked_mean, normalize
from trajectory.algorithms.maml.learner import MetaLearner
from trajectory.algorithms.maml.trpo import conjugate_gradient, line_search, step_size
from trajectory.models.policies import NormalMLPPolicy, flatten, sample_actions
from trajectory.rollouts.batch_episodes import BatchEpisodes
from trajectory.rollouts.sampler import BatchSampler
from trajectory.utils.runtime import tune_malloc

ENV, N_EPISODES, GAMMA, TAU, FAST_LR = '2DNavigation-v0', 20, 0.95, 1.0, 0.1


class OriginalShape:
    """The original algorithm, step by step, with the formulas of this package: slow, and an oracle for its numbers."""

    def __init__(self, policy, first_order=False):
        self.policy, self.first_order = policy, first_order

    def sample(self, task, seed, params=None) -> BatchEpisodes:
        """Episodes of one task."""
        sampler = BatchSampler(ENV, N_EPISODES)
        envs = [sampler.family.make() for _ in range(N_EPISODES)]
        for k, env in enumerate(envs):
            env.unwrapped.reset_task(task)
            env.reset(seed=seed + k)
        generator = torch.Generator().manual_seed(seed)
        seen, steps, over = np.zeros((N_EPISODES, 2), dtype=np.float32), [], np.zeros(N_EPISODES, dtype=bool)
        while not over.all():
            with torch.no_grad():
                actions = sample_actions(self.policy(torch.as_tensor(seen), params), generator).numpy()
            before, was_over, rewards = seen.copy(), over.copy(), np.zeros(N_EPISODES)
            for k in np.flatnonzero(~over):
                seen[k], rewards[k], terminated, truncated, _ = envs[k].step(actions[k])
                over[k] = terminated or truncated
            steps.append((before * ~was_over[:, None], actions * ~was_over[:, None], rewards, ~was_over))
        columns = [torch.as_tensor(np.stack(column)) for column in zip(*steps, strict=True)]
        return BatchEpisodes(columns[0], columns[1], columns[2].float(), columns[3].sum(0))

    def rate(self, episodes, baseline):
        advantages = baseline.advantages(episodes, GAMMA, TAU)
        return normalize(advantages, episodes.mask.double()).to(episodes.observations.dtype)

    def adapt(self, train, first_order=None):
        """Parameters after an inner step, through which gradients flow."""
        baseline = LinearFeatureBaseline(train.observations.shape[-1])
        baseline.fit(train, GAMMA)
        log_probs = self.policy(train.observations).log_prob(train.actions)
        loss = -masked_mean(log_probs * self.rate(train, baseline), train.mask)
        first_order = self.first_order if first_order is None else first_order
        return baseline, self.policy.update_params(loss, FAST_LR, first_order)

    def objective(self, episodes, old=None):
        """Surrogate loss and divergence, means over the tasks."""
        losses, divergences, distributions = [], [], []
        for m, (train, valid) in enumerate(episodes):
            baseline, params = self.adapt(train)
            new = self.policy(valid.observations, params)
            with torch.no_grad():
                before = self.policy(valid.observations, {name: value.detach() for name, value in params.items()})
            before = before if old is None else old[m]
            distributions.append(before)
            ratio = torch.exp(new.log_prob(valid.actions) - before.log_prob(valid.actions))
            losses.append(-masked_mean(ratio * self.rate(valid, baseline), valid.mask))
            divergences.append(masked_mean(kl_divergence(new, before), valid.mask))
        return torch.stack(losses).mean(), torch.stack(divergences).mean(), distributions

    def product(self, episodes, damping=1e-5) -> Callable:
        """v -> ∇²KL v + damping · v, by differentiating twice through the adaptation."""
        parameters = list(self.policy.parameters())

        def product(vector):
            _, divergence, _ = self.objective(episodes)
            gradients = torch.autograd.grad(divergence, parameters, create_graph=True)
            dot = torch.cat([gradient.flatten() for gradient in gradients]) @ vector.to(gradients[0])
            second = torch.autograd.grad(dot, parameters)
            return torch.cat([gradient.flatten() for gradient in second]).double() + damping * vector

        return product

    def step(self, episodes):
        """A step of TRPO."""
        loss, _, old = self.objective(episodes)
        gradient = flatten(dict(enumerate(torch.autograd.grad(loss, list(self.policy.parameters())))))
        product = self.product(episodes)
        direction, _ = conjugate_gradient(product, gradient)
        step = direction / step_size(direction, product(direction), 0.01).lagrange_multiplier
        before = flatten(self.policy.params).detach()

        def evaluate(parameters):
            torch.nn.utils.vector_to_parameters(parameters, self.policy.parameters())
            loss, divergence, _ = self.objective(episodes, old)
            return loss.item(), divergence.item()

        after, _ = line_search(evaluate, before, step, loss.item(), 0.01)
        torch.nn.utils.vector_to_parameters(after, self.policy.parameters())

    def update(self, tasks, seed):
        episodes = []
        for m, task in enumerate(tasks):
            train = self.sample(task, seed + 1000 * m)
            _, params = self.adapt(train, first_order=True)
            episodes.append((train, self.sample(task, seed + 1000 * m + 500, params)))
        sampled = time.perf_counter()
        self.step(episodes)
        return sampled


class Ours:
    """An update as the algorithm makes it."""

    def __init__(self, policy):
        self.learner, self.sampler = MetaLearner(policy, GAMMA, TAU, FAST_LR), BatchSampler(ENV, N_EPISODES)

    def update(self, tasks, seed):
        learner, policy = self.learner, self.learner.policy
        train = self.sampler.sample(policy, tasks, (seed, 1))
        baseline = learner.fit_baseline(train)
        rated = learner.rate(train, baseline)
        params = learner.adapt(rated, learner.expand(policy.params, len(tasks)))
        valid = learner.rate(self.sampler.sample(policy, tasks, (seed, 2), params), baseline)
        sampled = time.perf_counter()
        learner.step([rated], valid)
        return sampled


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tasks', type=int, default=30)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tune_malloc()
    tasks = BatchSampler(ENV, 1).sample_tasks(args.tasks, (0,))
    seconds = {OriginalShape: [], Ours: []}
    for repeat in range(args.repeats + 1):  # the first warms up
        for shape, kept in seconds.items():
            torch.manual_seed(repeat)
            method = shape(NormalMLPPolicy(2, 2, (100, 100)))
            started = time.perf_counter()
            sampled = method.update(tasks, 10**6 * repeat)
            kept.append((sampled - started, time.perf_counter() - sampled))
    print(f'{args.tasks} tasks x {N_EPISODES} episodes x 100 steps, {args.threads} threads, n = {args.repeats}')
    print(f'{"":16}{"sampling, s":>16}{"step, s":>16}{"update, s":>16}')
    for shape, kept in seconds.items():
        rows = np.array(kept[1:])
        columns = (*rows.T, rows.sum(1))
        print(f'{shape.__name__:16}' + ''.join(f'{c.mean():9.2f} ± {c.std():4.2f}' for c in columns))
    ratios = np.array(seconds[OriginalShape][1:]).sum(1) / np.array(seconds[Ours][1:]).sum(1)
    print(f'an update is {ratios.mean():.1f} ± {ratios.std():.1f} times as fast')


if __name__ == '__main__':
    main()
