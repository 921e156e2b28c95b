"""Measure planning: the cached planner beside the uncached one, and beside what the machine's arithmetic allows.

    python benchmarks/bench_plan.py [--settings halfcheetah hopper ant] [--threads 1] [--repeats 5]

Full-size network, random weights and prefixes, a context of 5 transitions, 2 expansions. Prints one JSON line for
each setting; times are medians, with the range of their repeats. `uncached` reads the window anew for every token;
`as_reference` does so with attention as the reference computes it, instead of in one fused kernel; both are left out
with `--uncached_repeats 0`. Alone, a plan has `--threads` of OpenMP to itself, and, in turns with that, threads that
share out its candidates (`cached_on_threads_s`); fifteen episodes share out as many among them.
"""

import argparse
import json
import platform
import statistics
import time
from types import SimpleNamespace

import numpy as np
import torch
from plain import PlainGPT
from torch.utils.flop_counter import FlopCounterMode

from trajectory.datasets.discretization import QuantileDiscretizer
from trajectory.models import GPT
from trajectory.search import beam_plan
from trajectory.search.graphs import Graphs
from trajectory.utils import resolve_device, set_threads, tune_malloc

N = 100
CONTEXT = 5
SETTINGS = {  # observation_dim, action_dim, beam_width, horizon, actions the robot takes in a second
    'halfcheetah': (17, 6, 32, 5, 20),
    'hopper': (11, 3, 128, 15, 125),
    'ant': (27, 8, 128, 5, 20),
}


def main(args):
    device = resolve_device(args.device)
    set_threads(args.threads)
    tune_malloc()
    rate = matrix_rate(device)
    for name in args.settings:
        print(json.dumps(measure(name, device, rate, args)), flush=True)


def measure(name, device, rate, args):
    """One setting's line.    rate : floating-point operations a second"""
    observation_dim, action_dim, beam_width, horizon, control_rate = SETTINGS[name]
    dim = observation_dim + action_dim + 2
    torch.manual_seed(0)
    config = SimpleNamespace(
        vocab_size=N,
        block_size=10 * dim - 1,
        n_layer=4,
        n_head=4,
        n_embd=128,
        observation_dim=observation_dim,
        action_dim=action_dim,
        transition_dim=dim,
        action_weight=5,
        reward_weight=1,
        value_weight=1,
        embd_pdrop=0.1,
        resid_pdrop=0.1,
        attn_pdrop=0.1,
    )
    ours = GPT(config).to(device).eval()
    plain = PlainGPT(config).to(device).eval()
    plain.load_state_dict(ours.state_dict())
    discretizer = QuantileDiscretizer(np.random.default_rng(0).normal(size=(10_000, dim)), N)
    prefixes = torch.randint(N, (15, CONTEXT * dim + observation_dim), device=device)

    graphs = Graphs()

    def plan(n_episodes=1, cached=True, n_threads=1, model=ours):
        beam_plan(
            model,
            lambda probs: discretizer.value_fn(probs, 'mean'),
            list(prefixes[:n_episodes]),
            horizon,
            beam_width,
            2,
            observation_dim,
            action_dim,
            max_context_transitions=CONTEXT,
            k_obs=1,
            cdf_act=0.6,
            verbose=False,
            cached=cached,
            n_threads=n_threads,
            generator=[torch.Generator(device).manual_seed(k) for k in range(n_episodes)],
            graphs=graphs,
        )

    with FlopCounterMode(display=False) as counter:
        plan()
    n_threads = args.together_threads if device.type == 'cpu' else 1
    cached, shared = taking_turns([plan, lambda: plan(n_threads=n_threads)], device, args.repeats)
    uncached = seconds(lambda: plan(cached=False), device, args.uncached_repeats, warm_up=False)
    as_reference = seconds(lambda: plan(cached=False, model=plain), device, args.uncached_repeats, warm_up=False)
    set_threads(1 if n_threads > 1 else args.threads)
    together = seconds(lambda: plan(n_episodes=15, n_threads=n_threads), device, max(2, args.repeats // 2))
    set_threads(args.threads)
    middle = statistics.median(cached)
    return {
        'setting': name,
        'machine': platform.processor() or platform.machine(),
        'device': str(device),
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'n': args.repeats,
        'as_reference_s': rounded(as_reference),
        'uncached_s': rounded(uncached),
        'cached_s': rounded(cached),
        'cached_on_threads_s': rounded(shared),
        'ratio_of_threads': rounded([alone / together for alone, together in zip(cached, shared, strict=True)]),
        'ratio_to_reference': round(statistics.median(as_reference) / middle, 1) if as_reference else None,
        'ratio': round(statistics.median(uncached) / middle, 1) if uncached else None,
        'plans_per_s_alone': round(1 / middle, 2),
        'plans_per_s_of_15': round(15 / statistics.median(together), 2),
        'threads_shared': n_threads,
        'gflop_a_plan': round(counter.get_total_flops() / 1e9, 1),
        'machine_gflop_per_s': round(rate / 1e9, 1),
        'fraction_of_machine': round(counter.get_total_flops() / middle / rate, 3),
        'control_rate_hz': control_rate,
        'keeps_up': bool(1 / middle >= control_rate),
    }


def seconds(work, device, repeats, warm_up=True):
    """What each of some repeats took."""
    if warm_up:
        work()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - started)
    return taken


def taking_turns(works, device, repeats):
    """What each of some repeats took, of each work; what else the machine does hits all of them."""
    rounds = [[seconds(work, device, 1, warm_up=not turn)[0] for work in works] for turn in range(repeats)]
    return [list(taken) for taken in zip(*rounds, strict=True)]


def matrix_rate(device, size=1024):
    """Floating-point operations a second of this machine's matrix product, the best of ten."""
    a, b = torch.randn(2, size, size, device=device)
    return 2 * size**3 / min(seconds(lambda: a @ b, device, 10))


def rounded(times):
    if not times:
        return None
    return {'median': round(statistics.median(times), 4), 'min': round(min(times), 4), 'max': round(max(times), 4)}


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--settings', nargs='+', choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument('--device', default='auto')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads of a plan alone')
    parser.add_argument(
        '--together_threads',
        type=int,
        default=torch.get_num_threads(),
        help='CPU threads that share out candidates, or fifteen episodes; by default, all cores',
    )
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--uncached_repeats', type=int, default=1)
    main(parser.parse_args())
