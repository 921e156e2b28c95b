"""Train a Trajectory Transformer on recorded episodes.

    python scripts/train.py --dataset hopper-medium-v2
    python scripts/train.py --dataset mine --dataset_path mine.hdf5 --n_epochs 10
    torchrun --nproc_per_node=4 scripts/train.py --dataset hopper-medium-v2

The same command goes on where a run was stopped or killed.
"""
import logging
import time

from plotting.curve import draw_learning_curve
from trajectory import utils
from trajectory.datasets import DiscretizedDataset, GoalDataset, load_environment
from trajectory.datasets.recovery import describe_source
from trajectory.models import GPT, ConditionalGPT
from trajectory.rollouts.evaluation import check_settings, plan_episodes
from trajectory.storage.limits import check_data_settings, check_model_settings
from trajectory.utils.errors import InputError

log = logging.getLogger(__name__)


class Parser(utils.Parser):
    dataset: str = 'halfcheetah-medium-expert-v2'  # data set to learn from
    config: str = 'config.offline'                 # module with the settings
    restart: bool = False                          # delete what an earlier run left in the folder, and start over


SAID = 'this command', 'Pass other values.'    # of settings that could not be read again

# a run may go on with other values of these; of all other settings, it may not
FREE_TO_CHANGE = {
    'restart', 'debug', 'config', 'experiment', 'savepath', 'logbase', 'exp_name', 'dataset_path', 'device', 'threads',
    'n_epochs', 'n_epochs_ref', 'n_saves', 'log_freq', 'save_minutes', 'save_steps', 'learning_rate', 'lr_decay',
    'tokens_on', 'tensorboard', 'wandb', 'compile', 'eval_every', 'eval_episodes', 'eval_steps',
}


def main(args):
    # ------------------------------- setup -------------------------------- #
    distributed, device = utils.connect(utils.resolve_device(args.device))
    utils.set_threads(args.threads)
    args.set_seed()
    for name in ('step', 'subsampled_sequence_length', 'n_layer', 'n_head', 'n_embd', 'batch_size', 'n_saves',
                 'log_freq', 'n_epochs', 'save_steps', 'eval_every', 'eval_episodes', 'eval_steps'):
        if getattr(args, name) is not None:
            utils.check_positive(name, getattr(args, name))
    plan_settings = utils.Parser().parse_args('plan', ['--dataset', args.dataset, '--config', args.config])
    if plan_settings.discount is None:
        plan_settings.discount = args.discount
    for name in [name for name in ('tensorboard', 'wandb') if getattr(args, name)]:
        utils.need(name)
    for name in ('discount', 'learning_rate'):
        utils.check_fraction(name, getattr(args, name), may_be_zero=False)
    for name in ('embd_pdrop', 'resid_pdrop', 'attn_pdrop', 'held_out'):
        utils.check_fraction(name, getattr(args, name))

    # ------------------------------- data --------------------------------- #
    started = time.perf_counter()
    env = load_environment(args.dataset, args.dataset_path, args.backend)
    if args.eval_every is not None and args.backend == 'd4rl':
        raise InputError("--eval_every plans in today's MuJoCo only.\n  Leave it out, or --backend d4rl.")
    recipe = {
        'env': args.dataset, 'N': args.N, 'penalty': args.termination_penalty,
        'sequence_length': args.subsampled_sequence_length * args.step, 'step': args.step,
        'discount': args.discount, 'max_path_length': args.max_path_length, 'discretizer': args.discretizer,
    }
    data_class, model_class = (GoalDataset, ConditionalGPT) if args.goal_conditioned else (DiscretizedDataset, GPT)
    data_config = utils.Config(data_class, verbose=False, **recipe)
    check_data_settings(data_config, *SAID)
    dataset = data_config(env=env, device='cpu')
    layout = dataset.layout
    windows, held_out = dataset.split(args.held_out, args.seed)
    log.info('%s transitions in %s episodes, return %.0f ± %.0f, from %s: tokens in %.1f s',
             f'{len(dataset.joined_raw):,}', f'{len(dataset.path_lengths):,}', dataset.path_returns.mean(),
             dataset.path_returns.std(), env.data_source, time.perf_counter() - started)

    # ------------------------------- model -------------------------------- #
    block_size = args.subsampled_sequence_length * layout.dim - 1
    model_config = utils.Config(
        model_class, verbose=False, vocab_size=args.N, block_size=block_size,
        n_layer=args.n_layer, n_head=args.n_head, n_embd=args.n_embd * args.n_head,
        observation_dim=layout.observation_dim, action_dim=layout.action_dim, transition_dim=layout.dim,
        action_weight=args.action_weight, reward_weight=args.reward_weight, value_weight=args.value_weight,
        embd_pdrop=args.embd_pdrop, resid_pdrop=args.resid_pdrop, attn_pdrop=args.attn_pdrop,
        **({'share_head': True} if args.share_head else {}),
    )
    check_model_settings(model_config, *SAID)
    model = model_config().to(device)
    if args.eval_every is not None:
        check_settings(plan_settings, model)

    # ------------------------------ trainer ------------------------------- #
    tokens_per_epoch = len(windows) * block_size
    n_epochs = utils.count_epochs(len(windows), args.n_epochs, args.n_epochs_ref)
    trainer_config = utils.Config(
        utils.Trainer, verbose=False, batch_size=args.batch_size, learning_rate=args.learning_rate, betas=(0.9, 0.95),
        grad_norm_clip=1.0, weight_decay=0.1, lr_decay=args.lr_decay, warmup_tokens=tokens_per_epoch,
        final_tokens=(20 if args.lr_schedule == 'reference' else n_epochs) * tokens_per_epoch, device=str(device),
        seed=args.seed, precision=args.precision, compile=args.compile,
    )
    trainer = trainer_config(distributed)
    if n_epochs < 1:
        raise InputError(f'{len(windows):,} windows and n_epochs_ref = {args.n_epochs_ref} make {n_epochs} epochs.\n'
                         '  Pass --n_epochs 1, or more.')
    save_freq = max(1, n_epochs // args.n_saves)
    n_updates = n_epochs * -(-len(windows) // args.batch_size)
    log.info('%s windows of %s tokens | %s epochs | %s updates | %.2fM parameters | on %s x %s, %s',
             f'{len(windows):,}', block_size, n_epochs, f'{n_updates:,}',
             sum(p.numel() for p in model.parameters()) / 1e6, distributed.world_size, device, trainer.arithmetic)

    # ------------------------------- folder ------------------------------- #
    folder = args.savepath
    settings = {name: value for name, value in args.as_dict().items() if name not in FREE_TO_CHANGE}
    settings['data'] = dataset.fingerprint()
    checkpoints = utils.Checkpoints(folder, settings, args.save_steps, args.save_minutes)
    state = None if args.restart else utils.find_checkpoint(folder, settings)
    distributed.broadcast_from_main(model)
    if distributed.rank:
        utils.set_seed(args.seed ^ distributed.rank)   # each process drops other units
    if state is not None:
        trainer.restore(model, state)
        log.info('going on after %s of %s updates, from %s (--restart starts over)', f'{trainer.n_updates:,}',
                 f'{n_updates:,}', checkpoints.path)
        if trainer.n_epochs >= n_epochs:
            log.info('nothing is left to do; --n_epochs %s would train for an epoch more', trainer.n_epochs + 1)
    if distributed.is_main:
        if args.restart:
            utils.clear_run(folder)
        args.prepare_folder()
        utils.remove_partials(folder)
        for config, name in ((data_config, 'data'), (model_config, 'model'), (trainer_config, 'trainer')):
            config.save(folder / f'{name}_config.json')
        dataset.discretizer.save(folder / 'discretizer.npz')
        utils.write_json(folder / 'source.json', describe_source(dataset))
    if args.tokens_on == 'disk' or (args.tokens_on == 'auto' and 2 * dataset.n_bytes > utils.free_memory(device)):
        dataset.keep_on_disk(folder)
        log.info('tokens are read from disk, beside the step before')
    else:
        dataset.move_to(device)
    if state is None:
        trainer.save(model, checkpoints)

    # ----------------------------- main loop ------------------------------ #
    def end_epoch(epoch):
        if distributed.is_main and (epoch % save_freq == 0 or epoch == n_epochs):
            utils.save_state(model, folder / f'state_{epoch}.pt')
        numbers = {}
        if len(held_out):
            heldout = trainer.evaluate(model, dataset, held_out)
            numbers.update({f'heldout_{name}': loss for name, loss in heldout.items()})
        if distributed.is_main and args.eval_every is not None and epoch % args.eval_every == 0:
            numbers.update(plan_episodes(
                model, dataset.discretizer, (env.id, env.physics, args.dataset, None, env.settings, env.references),
                args.eval_episodes, plan_settings, max_steps=args.eval_steps, seed=args.seed,
                hold=args.step, stop=stop,
            ))
        return numbers

    metrics = utils.Metrics(folder if distributed.is_main else None, trainer.logged, args.tensorboard, args.wandb,
                            settings)
    bar = utils.Progress if distributed.is_main else utils.Silent
    with metrics, bar(n_updates, name='training', done=trainer.n_updates) as progress, utils.catch_signals() as stop:
        trainer.train(model, dataset, n_epochs - trainer.n_epochs, args.log_freq, windows=windows,
                      on_log=metrics.write, on_epoch=end_epoch, progress=progress, checkpoints=checkpoints, stop=stop)
        trainer.save(model, checkpoints)
        progress.stamp()
    if not distributed.is_main:
        return

    # ------------------------------ results ------------------------------- #
    draw_learning_curve(folder / 'metrics.jsonl', folder / 'learning_curve.png')
    print(f'{trainer.n_tokens:,} tokens in {trainer.seconds:,.0f} s, {trainer.n_tokens / trainer.seconds:,.0f} a '
          f'second | at most {utils.peak_memory(device) / 2 ** 30:.1f} GB of memory\n'
          f'Weights, settings and learning_curve.png are in {folder}\n'
          f'Plan with them: python scripts/plan.py --dataset {args.dataset} --gpt_loadpath {args.exp_name}')


if __name__ == '__main__':
    utils.run(main, Parser, 'train')
