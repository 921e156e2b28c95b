"""Measure training: our step beside a plain one that does what the reference does, and beside the machine's arithmetic.

    python benchmarks/bench_train.py [--batch_size 64] [--threads 1] [--repeats 5] [--precision bfloat16]

Full-size network, halfcheetah's shape, random data. The plain form discretizes each window when it is asked for,
attends in the textbook's four lines, and keeps a copy of every attention map. The forms take turns, so that what
else the machine does hits all of them. Prints one JSON line for each; times are medians, with their range.
"""

import argparse
import json
import platform
import statistics
import time
from types import SimpleNamespace

import numpy as np
import torch
from bench_plan import matrix_rate, rounded
from plain import FusedGPT, PlainGPT
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from trajectory.datasets import DiscretizedDataset
from trajectory.models import GPT
from trajectory.utils import Config, Trainer, peak_memory, resolve_device, set_threads

OBSERVATION_DIM, ACTION_DIM, TRANSITIONS, N = 17, 6, 10, 100
DIM = OBSERVATION_DIM + ACTION_DIM + 2
N_TOKENS = TRANSITIONS * DIM - 1


class PlainWindows(torch.utils.data.Dataset):
    """Windows as the reference makes them: cut from padded doubles and discretized one by one."""

    def __init__(self, dataset):
        self.segmented, self.past = dataset.joined_segmented, dataset.termination_flags
        self.indices, self.thresholds = dataset.indices, dataset.discretizer.thresholds
        self.last_step = dataset.max_path_length - dataset.step

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, index):
        path, start, end = self.indices[index]
        above = self.segmented[path, start:end][None] >= self.thresholds[:, None]  # [ N + 1 x steps x D ]
        tokens = len(above) - 1 - np.argmax(np.flip(above, 0), axis=0)
        tokens = np.clip(np.where(above.any(axis=0), tokens, -1), 0, N - 1)
        tokens[self.past[path, start:end]] = N
        tokens = torch.from_numpy(tokens).reshape(-1)
        mask = (torch.arange(start, end) <= self.last_step).repeat_interleave(self.segmented.shape[-1])
        return tokens[:-1], tokens[1:], mask[:-1]


def make_data(n_episodes=20, n_steps=500):
    rng = np.random.default_rng(0)
    n = n_episodes * n_steps
    ends = np.arange(1, n + 1) % n_steps == 0
    raw = {
        'observations': rng.normal(size=(n, OBSERVATION_DIM)),
        'actions': rng.normal(size=(n, ACTION_DIM)),
        'rewards': rng.normal(size=n),
        'terminals': np.zeros(n, dtype=bool),
        'timeouts': ends,
    }
    env = SimpleNamespace(name='benchmark', get_dataset=lambda: raw)
    return DiscretizedDataset(env, N=N, sequence_length=TRANSITIONS, step=1)


def make_model(kind, device, attn_pdrop):
    torch.manual_seed(0)
    model = kind(
        SimpleNamespace(
            vocab_size=N,
            block_size=N_TOKENS,
            n_layer=4,
            n_head=4,
            n_embd=128,
            observation_dim=OBSERVATION_DIM,
            action_dim=ACTION_DIM,
            transition_dim=DIM,
            action_weight=5,
            reward_weight=1,
            value_weight=1,
            embd_pdrop=0.1,
            resid_pdrop=0.1,
            attn_pdrop=attn_pdrop,
        )
    )
    if kind is PlainGPT:
        model.drop = nn.Dropout(0.1)
        for block in model.blocks:
            block.attn.resid_drop, block.mlp[-1] = nn.Dropout(0.1), nn.Dropout(0.1)
    return model.to(device).train()


def plain_step(dataset, device, batch_size):
    """The reference's update, its data included."""
    model = make_model(PlainGPT, device, attn_pdrop=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), foreach=False)
    loader = torch.utils.data.DataLoader(PlainWindows(dataset), batch_size, shuffle=True)
    batches = iter(loader)

    def step():
        _, loss = model(*(column.to(device) for column in next(batches)))
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()

    return step


def our_step(dataset, device, batch_size, attn_pdrop, precision, compiled=None, kind=GPT):
    model = make_model(kind, device, attn_pdrop)
    trainer = Trainer(
        Config(
            Trainer,
            verbose=False,
            batch_size=batch_size,
            learning_rate=6e-4,
            betas=(0.9, 0.95),
            grad_norm_clip=1.0,
            weight_decay=0.1,
            lr_decay=False,
            device=str(device),
            precision=precision,
            compile=compiled,
        )
    )
    return lambda: trainer.update(model, dataset, torch.randint(len(dataset), (batch_size,)))


def main(args):
    device = resolve_device(args.device)
    set_threads(args.threads)
    dataset = make_data()
    steps = {'plain': plain_step(dataset, device, args.batch_size)}
    for precision in dict.fromkeys(['auto', args.precision]):
        for attn_pdrop in (0.1, 0.0):
            name = f'ours, attention dropout {attn_pdrop}' + (f', {precision}' if precision != 'auto' else '')
            steps[name] = our_step(dataset, device, args.batch_size, attn_pdrop, precision)
    for attn_pdrop in (0.1, 0.0):
        name = f'scaled_dot_product_attention, attention dropout {attn_pdrop}'
        steps[name] = our_step(dataset, device, args.batch_size, attn_pdrop, 'auto', kind=FusedGPT)
    if args.compile:
        steps['ours, compiled'] = our_step(dataset, device, args.batch_size, 0.1, 'auto', compiled=True)
    rate = matrix_rate(device)
    with FlopCounterMode(display=False) as counter:
        steps['plain']()
    taken = {name: [] for name in steps}
    for repeat in range(args.repeats + 1):
        for name, step in steps.items():
            taken[name].append(timed(step, device))
            if repeat == 0:  # a warm-up
                taken[name].clear()
    batch = timed(lambda: dataset.gather(torch.randint(len(dataset), (args.batch_size,))), device, n=20)

    plain = statistics.median(taken['plain'])
    for name, times in taken.items():
        middle = statistics.median(times)
        print(
            json.dumps(
                {
                    'form': name,
                    'machine': platform.processor() or platform.machine(),
                    'device': str(device),
                    'threads': torch.get_num_threads(),
                    'torch': torch.__version__,
                    'batch_size': args.batch_size,
                    'n': args.repeats,
                    'step_s': rounded(times),
                    'tokens_per_s': round(args.batch_size * N_TOKENS / middle),
                    'ratio': round(plain / middle, 2),
                    'ratio_of_fastest': round(min(taken['plain']) / min(times), 2),
                    'gflop_of_plain_step': round(counter.get_total_flops() / 1e9, 1),
                    'machine_gflop_per_s': round(rate / 1e9, 1),
                    'fraction_of_machine': round(counter.get_total_flops() / middle / rate, 3),
                    'batch_share_of_step': None if name == 'plain' else round(batch / middle, 4),
                    'peak_memory_gb': round(peak_memory(device) / 2**30, 2),
                }
            ),
            flush=True,
        )


def timed(work, device, n=1):
    started = time.perf_counter()
    for _ in range(n):
        work()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / n


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='auto')
    parser.add_argument('--threads', type=int, help='CPU threads torch uses; by default, as many as it likes')
    parser.add_argument('--batch_size', type=int, default=64)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--compile', action='store_true', help='also measure the network compiled by torch.compile')
    parser.add_argument('--precision', default='auto', help='also measure this one: float32, tf32, bfloat16')
    main(parser.parse_args())
