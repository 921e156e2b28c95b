"""Train any method of `trajectory/algorithms`; the config module chooses it, by default the Trajectory Transformer.

    python scripts/train.py --dataset hopper-medium-v2
    python scripts/train.py --dataset mine --dataset_path mine.hdf5 --n_epochs 10
    python scripts/train.py --config config.behavior_cloning --dataset hopper-medium-v2
    torchrun --nproc_per_node=4 scripts/train.py --dataset hopper-medium-v2

The same command goes on where a run was stopped or killed.
"""

import logging
from contextlib import nullcontext

from plotting.curve import draw_learning_curve
from trajectory import utils
from trajectory.algorithms.base import find_algorithm
from trajectory.storage.run_folder import FINISHED, lock_folder
from trajectory.training.distributed import processes
from trajectory.training.loop import TrainingLoop
from trajectory.utils.errors import InputError

log = logging.getLogger(__name__)


class Parser(utils.Parser):
    dataset: str = 'halfcheetah-medium-expert-v2'  # dataset to learn from
    config: str = 'config.offline'  # module with the settings
    restart: bool = False  # delete what an earlier run left in the folder, and start over


# a run may go on with other values of these, and of those that its method lists; of all other settings, it may not
FREE_TO_CHANGE = {
    'restart',
    'debug',
    'config',
    'experiment',
    'savepath',
    'logbase',
    'exp_name',
    'dataset_path',
    'device',
    'threads',
    'n_epochs',
    'n_saves',
    'log_freq',
    'save_minutes',
    'save_steps',
    'tensorboard',
    'wandb',
    'eval_every',
    'eval_episodes',
    'eval_steps',
}

NEUTRAL = {  # settings that change nothing in what is learned
    'restart',
    'debug',
    'config',
    'experiment',
    'savepath',
    'logbase',
    'exp_name',
    'dataset_path',
    'device',
    'threads',
    'n_saves',
    'log_freq',
    'save_minutes',
    'save_steps',
    'tensorboard',
    'wandb',
    'tokens_on',
    'compile',
}


def main(args):
    with processes(utils.resolve_device(args.device)) as (distributed, device):
        run(args, distributed, device)


def run(args, distributed, device):
    """Build the method, go on from a checkpoint if there is one, and train to the end."""
    utils.set_threads(args.threads)
    args.set_seed()
    check_settings(args)
    acting = read_acting_settings(args)

    method = find_algorithm(args.algorithm)
    algorithm = method.build(args, device, distributed)
    if acting is not None:
        algorithm.agent(acting)  # which refuses settings that it cannot act with
    if distributed.rank:
        utils.set_seed(args.seed ^ distributed.rank)  # each process drops other units

    folder = args.savepath
    fixed = {
        name: value for name, value in args.as_dict().items() if name not in FREE_TO_CHANGE | method.free_to_change
    }
    fixed['data'] = algorithm.fingerprint()
    with lock_folder(folder) if distributed.is_main else nullcontext():
        checkpoints = utils.Checkpoints(folder, fixed, args.save_steps, args.save_minutes)
        loop = TrainingLoop(algorithm, distributed, log_freq=args.log_freq, checkpoints=checkpoints)
        resume(args, loop, fixed)
        if distributed.is_main:
            if args.restart:
                utils.clear_run(folder)
            (folder / FINISHED).unlink(missing_ok=True)
            args.prepare_folder()
            utils.remove_partials(folder)
            algorithm.save_recipe(folder)
        algorithm.prepare(folder)
        if not loop.n_updates:
            loop.save()
        train(args, loop, acting, fixed)
        if distributed.is_main:
            report(args, loop, device)


def train(args, loop, acting, settings):
    """Run the loop to its end; at the end of each epoch evaluate, and at some save the weights."""
    algorithm, is_main = loop.algorithm, loop.distributed.is_main
    n_epochs = -(-algorithm.n_updates // algorithm.updates_per_epoch)
    save_freq = max(1, n_epochs // args.n_saves)

    def end_epoch(epoch):
        if is_main and (epoch % save_freq == 0 or epoch == n_epochs):
            algorithm.save(args.savepath, epoch)
        numbers = {f'heldout_{name}': number for name, number in algorithm.evaluate_held_out().items()}
        if is_main and acting is not None and epoch % args.eval_every == 0:
            numbers.update(algorithm.evaluate_policy(args, acting, stop))
        return numbers

    metrics = utils.Metrics(args.savepath if is_main else None, loop.logged, args.tensorboard, args.wandb, settings)
    bar = utils.Progress if is_main else utils.Silent
    with (
        metrics,
        bar(algorithm.n_updates, name='training', done=loop.n_updates) as progress,
        utils.catch_signals() as stop,
    ):
        loop.run(on_log=metrics.write, on_epoch=end_epoch, progress=progress, stop=stop)
        loop.save()
        progress.stamp()


def resume(args, loop, settings):
    """Go on from what an earlier run left in the folder, if it left something and is not to be deleted."""
    state = None if args.restart else utils.find_checkpoint(args.savepath, settings)
    if state is None:
        return
    try:
        loop.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError, TypeError, AttributeError, IndexError) as error:
        raise InputError(
            f'{loop.checkpoints.path} does not fit this run: {type(error).__name__}: '
            f'{str(error).partition(chr(10))[0]}\n  Restore it from a copy, or pass --restart to start '
            'over; its weights will be deleted.'
        ) from error
    log.info(
        'going on after %s of %s updates, from %s (--restart starts over)',
        f'{loop.n_updates:,}',
        f'{loop.algorithm.n_updates:,}',
        loop.checkpoints.path,
    )
    if loop.n_updates >= loop.algorithm.n_updates:
        log.info('nothing is left to do; --n_epochs %s would train for an epoch more', int(loop.n_epochs) + 1)


def check_settings(args):
    """Raise InputError for settings out of range, before any work."""
    for name in ('n_saves', 'log_freq', 'save_steps', 'eval_every', 'eval_episodes', 'eval_steps'):
        if getattr(args, name, None) is not None:
            utils.check_positive(name, getattr(args, name))
    for name in [name for name in ('tensorboard', 'wandb') if getattr(args, name)]:
        utils.require_package(name)
    if args.eval_every is not None and getattr(args, 'backend', 'mujoco') == 'd4rl':
        raise InputError("--eval_every acts in today's MuJoCo only.\n  Leave it out, or --backend d4rl.")


def read_acting_settings(args):
    """The settings of the experiment that acts, for evaluations while it trains; None where there are none."""
    if args.eval_every is None:
        return None
    return utils.Parser().parse_args('evaluate', ['--dataset', args.dataset, '--config', args.config])


def report(args, loop, device):
    """Draw the learning curve, and print what was done and what to do next."""
    folder, status = args.savepath, loop.algorithm.status()
    draw_learning_curve(folder / 'metrics.jsonl', folder / 'learning_curve.png')
    utils.write_json(
        folder / FINISHED,
        {
            'epoch': -(-loop.n_updates // loop.algorithm.updates_per_epoch),
            'updates': loop.n_updates,
            'seconds': loop.seconds,
        },
    )
    unit, done = ('tokens', status['tokens']) if 'tokens' in status else ('updates', loop.n_updates)
    print(
        f'{done:,} {unit} in {loop.seconds:,.0f} s, {done / max(loop.seconds, 1e-9):,.0f} a second | at most '
        f'{utils.peak_memory(device) / 2**30:.1f} GB of memory\n'
        f'Weights, settings and learning_curve.png are in {folder}\n{next_command(args)}'
    )


def next_command(args):
    """The command that acts with what was trained."""
    if args.acts_by == 'plan':
        return f'Plan with them: python scripts/plan.py --dataset {args.dataset} --gpt_loadpath {args.exp_name}'
    return (
        f'Evaluate them: python scripts/evaluate.py --config {args.config} --dataset {args.dataset} '
        f'--loadpath {args.exp_name}'
    )


if __name__ == '__main__':
    utils.run(main, Parser, 'train')
