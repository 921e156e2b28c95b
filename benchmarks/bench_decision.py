"""Time how a Decision Transformer acts: many episodes in one batch beside the original's loop over one at a time.

    python -m benchmarks.bench_decision [--episodes 1 20 64] [--steps 200] [--threads 1]

The network is the original's (3 layers of 128, K 20), its weights random, the robot a hopper's in width; nothing is
simulated. Every row is of full windows, as all but the first K steps of an episode are. Keys and values are not cached,
because that is inexact once the window slides; rows of a window of one step are the least that a cache could cost.
"""

import argparse
import time

import numpy as np
import torch

from trajectory.algorithms.decision_transformer.agent import ReturnConditionedAgent
from trajectory.models.decision_transformer import DecisionTransformer

K, STATE_DIM, ACT_DIM = 20, 11, 3


def act(model, n_episodes, n_steps, n_window=K):
    """Seconds that steps of some episodes take, once their windows are full."""
    agent = ReturnConditionedAgent(model, n_window, np.zeros(STATE_DIM), np.ones(STATE_DIM), 1000.0, 3600.0)
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(n_window + n_steps, n_episodes, STATE_DIM)).astype(np.float32)
    rewards, over = np.ones(n_episodes), np.zeros(n_episodes, dtype=bool)
    agent.reset(observations[0], list(range(n_episodes)))
    for step, seen in enumerate(observations):
        if step == n_window:
            started = time.perf_counter()
        agent.observe(agent.act(seen), rewards, seen, over)
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--episodes', type=int, nargs='+', default=[1, 20, 64])
    parser.add_argument('--steps', type=int, default=200)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--threads', type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = DecisionTransformer(STATE_DIM, ACT_DIM, 128, 3, 1, 1000)
    ways = {'one at a time': (1, K)} | {f'{n} in a batch': (n, K) for n in args.episodes if n > 1}
    ways |= {f'{n} in a batch, windows of one step': (n, 1) for n in args.episodes}
    rates = {name: [] for name in ways}
    for _ in range(args.repeats):  # in turn, so that noise of the machine is shared
        for name, (n, window) in ways.items():
            rates[name].append(n * args.steps / act(model, n, args.steps, window))
    print(f'steps a second of a Decision Transformer, 3 x 128, K {K}, {args.threads} threads, n = {args.repeats}')
    alone = np.array(rates['one at a time'])
    for name, found in rates.items():
        ratios = np.array(found) / alone
        print(f'{name:40}{np.mean(found):10,.0f} ± {np.std(found):6,.0f}  {ratios.mean():6.1f} ± {ratios.std():.1f} x')


if __name__ == '__main__':
    main()
