"""Check and measure a CUDA machine: `bash benchmarks/gpu.sh OUT`. On a CPU the same parts run, smaller.

Each part is a process of its own with a time limit; one that fails is recorded, and the others go on.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from trajectory.datasets.discretization import QuantileDiscretizer
from trajectory.models import GPT
from trajectory.search import beam_plan, beam_search
from trajectory.search.graphs import Graphs
from trajectory.search.sampling import inverse_cdf

EPISODES = (1, 15, 64)
N_EPOCHS = 4  # of the run that is killed and resumed


def device_of():
    return torch.device('cuda' if torch.cuda.is_available() else 'cpu')


class StoredUniforms:
    """Draws as the golden plans were drawn: by stored numbers, and by none where every row is certain."""

    def __init__(self, uniforms, device):
        self.uniforms = torch.tensor(uniforms, device=device)

    def __call__(self, probs):
        if ((probs > 0).sum(dim=-1) == 1).all():
            return probs.argmax(dim=-1, keepdim=True)
        now, self.uniforms = self.uniforms[: len(probs)], self.uniforms[len(probs) :]
        return inverse_cdf(probs, now)


# ---------------------------------- parts --------------------------------- #


def machine(_):
    """The device, its copy bandwidth and its matrix rates."""
    device = device_of()
    found = {
        'device': torch.cuda.get_device_name() if device.type == 'cuda' else 'cpu',
        'torch': torch.__version__,
        'cpus': os.cpu_count(),
    }
    size = 8192 if device.type == 'cuda' else 512
    for dtype, tf32 in ((torch.float32, False), (torch.float32, True), (torch.bfloat16, True)):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = torch.randn(2, size, size, device=device, dtype=dtype)
        seconds = best_of(lambda a=a, b=b: a @ b, device, 5)
        name = 'tf32' if tf32 and dtype == torch.float32 else str(dtype).removeprefix('torch.')
        found[f'{name}_tflop_per_s'] = 2 * size**3 / seconds / 1e12
    x = torch.randn(2 ** (30 if device.type == 'cuda' else 22), device=device)
    found['copy_tb_per_s'] = 2 * x.nbytes / best_of(x.clone, device, 5) / 1e12
    return found


def golden(_):
    """Golden logits, searches and plans on this device."""
    from tests.support import golden as load
    from tests.support import make_gpt, state_of

    device = device_of()
    torch.backends.cuda.matmul.allow_tf32 = False
    arrays = load('gpt')
    with torch.no_grad():
        logits = make_gpt(arrays['config'], state_of(arrays)).to(device)(torch.tensor(arrays['tokens']).to(device))[0]
    found = {'largest_difference_of_logits': float(np.abs(logits.cpu().numpy() - arrays['logits']).max())}
    arrays = load('search')
    model = make_gpt(arrays['config'], state_of(arrays)).to(device)
    discretizer = QuantileDiscretizer(arrays['discretizer_data'], model.vocab_size)
    for case, settings in enumerate(arrays['cases']):
        plan = beam_plan(
            model,
            lambda probs: discretizer.value_fn(probs, 'mean'),
            torch.tensor(arrays[f'plan{case}_prefix'], device=device),
            observation_dim=3,
            action_dim=2,
            verbose=False,
            draw=StoredUniforms(arrays['uniforms'], device),
            **settings,
        )
        found[f'plan{case}'] = bool((plan.cpu().numpy() == arrays[f'plan{case}_sequence']).all())
    for case in (1, 2):
        tokens, _ = beam_search(
            model, torch.tensor(arrays['beam_prefix'], device=device), **arrays['beam_args'][case - 1]
        )
        found[f'beam{case}'] = bool((tokens.cpu().numpy() == arrays[f'beam{case}']).all())
    return found


def full_size(setting, device):
    """A planner at full size on random weights: returns a function of the number of episodes and options."""
    from bench_plan import CONTEXT, SETTINGS, N

    observation_dim, action_dim, beam_width, horizon, _ = SETTINGS[setting]
    if device.type == 'cpu':
        beam_width, horizon = 4, 2
    dim = observation_dim + action_dim + 2
    torch.manual_seed(0)
    model = (
        GPT(
            SimpleNamespace(
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
        )
        .to(device)
        .eval()
    )
    discretizer = QuantileDiscretizer(np.random.default_rng(0).normal(size=(10_000, dim)), N)
    prefixes = torch.randint(N, (max(EPISODES), CONTEXT * dim + observation_dim), device=device)

    def plan(n_episodes=1, graphs=None, seed=0, **options):
        generators = [torch.Generator(device).manual_seed(seed + k) for k in range(n_episodes)]
        return beam_plan(
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
            generator=generators,
            graphs=graphs,
            **options,
        )

    return plan


def graphs(_):
    """Plans with CUDA graphs equal plans without."""
    plan, recorded = full_size('halfcheetah', device_of()), Graphs()
    equal = all(torch.equal(plan(n, seed=seed), plan(n, recorded, seed=seed)) for seed in (0, 100) for n in (1, 3))
    return {'equal': equal, 'recorded': len(recorded.recorded), 'works': recorded.works, 'why_not': recorded.why_not}


def sync(_):
    """A plan never waits for the device."""
    plan = full_size('halfcheetah', device_of())
    plan()
    if torch.cuda.is_available():
        torch.cuda.set_sync_debug_mode('error')
    try:
        result = plan()
    finally:
        if torch.cuda.is_available():
            torch.cuda.set_sync_debug_mode('default')
    return {'waits': False, 'tokens': int(result.numel())}


def plan(args):
    """Seconds a plan at each setting, for several episodes in one batch; the uncached planner beside one."""
    device, rows = device_of(), {}
    for setting in args.settings:
        make = full_size(setting, device)
        recorded = Graphs()
        for n_episodes in EPISODES if device.type == 'cuda' else EPISODES[:1]:
            torch.cuda.reset_peak_memory_stats() if device.type == 'cuda' else None
            row = {'eager_s': best_of(lambda: make(n_episodes), device, 2)}  # noqa: B023
            row['graphs_s'] = best_of(lambda: make(n_episodes, recorded), device, 3)  # noqa: B023
            row['works'], row['why_not'] = recorded.works, recorded.why_not
            if n_episodes == 1 and setting == 'halfcheetah':
                row['uncached_s'] = best_of(lambda: make(cached=False), device, 1)  # noqa: B023
            row['peak_gb'] = torch.cuda.max_memory_allocated() / 2**30 if device.type == 'cuda' else None
            rows[f'{setting} x {n_episodes}'] = row
            print(json.dumps({f'{setting} x {n_episodes}': row}), flush=True)
    return rows


def train(args):
    """Tokens a second of training in each precision, compiled and not, beside the plain form."""
    from bench_train import N_TOKENS, make_data, our_step, plain_step

    device = device_of()
    batch_size = 256 if device.type == 'cuda' else 4
    dataset = make_data()
    dataset.move_to(device)
    forms = {'plain': lambda: plain_step(make_data(), device, batch_size)}
    for precision in ('float32', 'tf32', 'bfloat16') if device.type == 'cuda' else ('float32', 'bfloat16'):
        for compiled in (False, True) if device.type == 'cuda' else (False,):
            name = f'{precision}{", compiled" if compiled else ""}'
            forms[name] = lambda precision=precision, compiled=compiled: our_step(
                dataset, device, batch_size, args.attn_pdrop, precision, compiled
            )
    rows = {}
    for name, make in forms.items():
        started = time.perf_counter()
        step = make()
        for _ in range(3):
            step()
        torch.cuda.reset_peak_memory_stats() if device.type == 'cuda' else None
        first = time.perf_counter() - started
        seconds = best_of(lambda: [step() for _ in range(5)], device, 3) / 5  # noqa: B023
        rows[name] = {
            'step_s': seconds,
            'tokens_per_s': batch_size * N_TOKENS / seconds,
            'first_steps_s': first,
            'peak_gb': torch.cuda.max_memory_allocated() / 2**30 if device.type == 'cuda' else None,
        }
        print(json.dumps({name: rows[name]}), flush=True)
    for row in rows.values():
        row['ratio_to_plain'] = rows['plain']['step_s'] / row['step_s']
    return rows


def resume(args):
    """A run that is killed -9 and goes on ends with the weights of one that was not."""
    folder = Path(args.out) / 'resume'
    command = [sys.executable, __file__, '--out', str(folder), '--part']
    for name in ('whole', 'killed'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    subprocess.run([*command, 'learn', '--run', 'whole'], check=True)
    child = subprocess.Popen([*command, 'learn', '--run', 'killed'])
    while child.poll() is None and not (folder / 'killed' / 'resume.pt').exists():
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    killed = child.wait() == -signal.SIGKILL
    subprocess.run([*command, 'learn', '--run', 'killed'], check=True)
    one, two = (torch.load(folder / name / 'weights.pt', weights_only=True) for name in ('whole', 'killed'))
    return {
        'was_killed': killed,
        'equal': all(torch.equal(one[name], two[name]) for name in one),
        'largest_difference': max(float((one[name] - two[name]).abs().max()) for name in one),
    }


def learn(args):
    """The run that `resume` kills: a few epochs on random data, a checkpoint every two updates."""
    from bench_train import make_data, make_model

    from trajectory.storage.checkpoints import Checkpoints, find_checkpoint
    from trajectory.storage.config import Config
    from trajectory.training.loop import TrainingLoop
    from trajectory.training.trainer import Trainer, WindowLearner

    device, folder = device_of(), Path(args.out) / args.run
    torch.backends.cudnn.deterministic = True
    torch.manual_seed(0)
    dataset = make_data(n_episodes=2, n_steps=100 if device.type == 'cuda' else 40)
    dataset.move_to(device)
    model = make_model(GPT, device, 0.1)
    trainer = Trainer(
        Config(
            Trainer,
            verbose=False,
            batch_size=32,
            learning_rate=6e-4,
            betas=(0.9, 0.95),
            grad_norm_clip=1.0,
            weight_decay=0.1,
            lr_decay=False,
            device=str(device),
            compile=False,
        )
    )
    learner = WindowLearner(trainer, model, dataset, n_epochs=N_EPOCHS)
    loop = TrainingLoop(learner, checkpoints=Checkpoints(folder, {}, steps=2))
    if (state := find_checkpoint(folder, {})) is not None:
        loop.load_state_dict(state)
    loop.run()
    torch.save({name: value.cpu() for name, value in model.state_dict().items()}, folder / 'weights.pt')
    return {}


def ranks(_):
    """Two processes on two devices all-reduce."""
    if torch.cuda.device_count() < 2:
        return {'devices': torch.cuda.device_count()}
    code = (
        'import torch, torch.distributed as d, os; d.init_process_group("nccl"); r = int(os.environ["LOCAL_RANK"]);'
        'torch.cuda.set_device(r); x = torch.ones(1, device="cuda"); d.all_reduce(x); print(x.item());'
        'd.destroy_process_group()'
    )
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'torch.distributed.run',
            '--standalone',
            '--nproc_per_node=2',
            '--no-python',
            sys.executable,
            '-c',
            code,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return {'devices': torch.cuda.device_count(), 'sums': done.stdout.split()}


PARTS = {  # and the seconds that each may take
    machine: 30,
    golden: 40,
    graphs: 60,
    sync: 40,
    resume: 90,
    ranks: 60,
    plan: 150,
    train: 150,
}

# ---------------------------------- frame --------------------------------- #


def best_of(work, device, repeats):
    """The least seconds of some repeats, after one that warms up."""
    taken = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def main(args):
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    if args.part:
        found = {part.__name__: part for part in (*PARTS, learn)}[args.part](args)
        (out / f'part_{args.part}.json').write_text(json.dumps(found))
        return
    started, results = time.monotonic(), {}
    for part, limit in PARTS.items():
        left = args.seconds - (time.monotonic() - started)
        results[part.__name__] = run_part(part.__name__, min(limit, left), args) if left > 5 else 'no time was left'
        (out / 'gpu.json').write_text(json.dumps(results, indent=2))
    (out / 'gpu.md').write_text(table(results))
    print(table(results))


def run_part(name, limit, args):
    """What a part found; or how it failed."""
    started = time.monotonic()
    command = [
        sys.executable,
        __file__,
        '--out',
        args.out,
        '--part',
        name,
        '--attn_pdrop',
        str(args.attn_pdrop),
        '--settings',
        *args.settings,
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as child:
        try:
            output = child.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            output = child.communicate()[0] + f'\nstopped after {limit:.0f} s'
    path = Path(args.out) / f'part_{name}.json'
    found = json.loads(path.read_text()) if path.exists() else {'failed': output[-3000:]}
    path.unlink(missing_ok=True)
    return {**found, 'seconds': round(time.monotonic() - started, 1)}


def table(results):
    """The results as Markdown."""
    lines = ['| part | what | value |', '| --- | --- | --- |']
    for part, found in results.items():
        for what, value in found.items() if isinstance(found, dict) else [('', found)]:
            if isinstance(value, dict):
                value = ', '.join(f'{name} {_short(number)}' for name, number in value.items() if number is not None)
            lines.append(f'| {part} | {what} | {_short(value)} |')
    return '\n'.join(lines) + '\n'


def _short(value):
    return f'{value:.4g}' if isinstance(value, float) else ' '.join(str(value).split()).replace('|', '¦')


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', required=True, help='folder to write to')
    parser.add_argument('--seconds', type=float, default=float(os.environ.get('GPU_SECONDS', 540)))
    parser.add_argument('--settings', nargs='+', default=['halfcheetah', 'hopper', 'ant'])
    parser.add_argument('--attn_pdrop', type=float, default=0.1)
    parser.add_argument('--part', help='run this part alone')
    parser.add_argument('--run', help='the name of the run that `learn` continues')
    main(parser.parse_args())
