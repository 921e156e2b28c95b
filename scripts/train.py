"""Train a Trajectory Transformer on recorded episodes.

    python scripts/train.py --dataset hopper-medium-v2
    python scripts/train.py --dataset mine --dataset_path mine.hdf5 --n_epochs 10
"""
import json
import logging
import time

from plotting.curve import draw_learning_curve
from trajectory import utils
from trajectory.datasets import DiscretizedDataset, load_environment
from trajectory.datasets.recovery import describe_source
from trajectory.models import GPT
from trajectory.utils.errors import InputError

log = logging.getLogger(__name__)


class Parser(utils.Parser):
    dataset: str = 'halfcheetah-medium-expert-v2'  # data set to learn from
    config: str = 'config.offline'                 # module with the settings


def main(args):
    # ------------------------------- setup -------------------------------- #
    device = utils.resolve_device(args.device)
    utils.set_threads(args.threads)
    for name in ('step', 'subsampled_sequence_length', 'n_layer', 'n_head', 'n_embd', 'batch_size', 'n_saves',
                 'log_freq', 'n_epochs'):
        if getattr(args, name) is not None:
            utils.check_positive(name, getattr(args, name))
    for name in ('discount', 'learning_rate'):
        utils.check_share(name, getattr(args, name), may_be_zero=False)
    for name in ('embd_pdrop', 'resid_pdrop', 'attn_pdrop'):
        utils.check_share(name, getattr(args, name))

    # ------------------------------- data --------------------------------- #
    started = time.perf_counter()
    env = load_environment(args.dataset, args.dataset_path)
    recipe = {
        'env': args.dataset, 'N': args.N, 'penalty': args.termination_penalty,
        'sequence_length': args.subsampled_sequence_length * args.step, 'step': args.step,
        'discount': args.discount, 'max_path_length': args.max_path_length, 'discretizer': args.discretizer,
    }
    data_config = utils.Config(DiscretizedDataset, verbose=False, **recipe)
    dataset = data_config(env=env, device=device)
    layout = dataset.layout
    log.info('%s transitions in %s episodes, return %.0f ± %.0f, from %s: tokens in %.1f s',
             f'{len(dataset.joined_raw):,}', f'{len(dataset.path_lengths):,}', dataset.path_returns.mean(),
             dataset.path_returns.std(), env.data_source, time.perf_counter() - started)

    # ------------------------------- model -------------------------------- #
    block_size = args.subsampled_sequence_length * layout.dim - 1
    model_config = utils.Config(
        GPT, verbose=False, vocab_size=args.N, block_size=block_size,
        n_layer=args.n_layer, n_head=args.n_head, n_embd=args.n_embd * args.n_head,
        observation_dim=layout.observation_dim, action_dim=layout.action_dim, transition_dim=layout.dim,
        action_weight=args.action_weight, reward_weight=args.reward_weight, value_weight=args.value_weight,
        embd_pdrop=args.embd_pdrop, resid_pdrop=args.resid_pdrop, attn_pdrop=args.attn_pdrop,
    )
    model = model_config().to(device)

    # ------------------------------ trainer ------------------------------- #
    tokens_per_epoch = len(dataset) * block_size
    trainer_config = utils.Config(
        utils.Trainer, verbose=False, batch_size=args.batch_size, learning_rate=args.learning_rate, betas=(0.9, 0.95),
        grad_norm_clip=1.0, weight_decay=0.1, lr_decay=args.lr_decay, warmup_tokens=tokens_per_epoch,
        final_tokens=20 * tokens_per_epoch, device=str(device), seed=args.seed,
    )
    trainer = trainer_config()
    n_epochs = int(1e6 / len(dataset) * args.n_epochs_ref) if args.n_epochs is None else args.n_epochs
    if n_epochs < 1:
        raise InputError(f'{len(dataset):,} windows and n_epochs_ref = {args.n_epochs_ref} make {n_epochs} epochs.\n'
                         '  Pass --n_epochs 1, or more.')
    save_freq = max(1, n_epochs // args.n_saves)
    n_updates = n_epochs * -(-len(dataset) // args.batch_size)
    log.info('%s windows of %s tokens | %s epochs | %s updates | %.2fM parameters | on %s', f'{len(dataset):,}',
             block_size, n_epochs, f'{n_updates:,}', sum(p.numel() for p in model.parameters()) / 1e6, device)

    # ----------------------------- main loop ------------------------------ #
    args.prepare_folder()
    folder = args.savepath
    for config, name in ((data_config, 'data'), (model_config, 'model'), (trainer_config, 'trainer')):
        config.save(folder / f'{name}_config.json')
    dataset.discretizer.save(folder / 'discretizer.npz')
    utils.write_json(folder / 'source.json', describe_source(dataset))
    for stale in folder.glob('state_*.pt'):
        stale.unlink()
    with open(folder / 'metrics.jsonl', 'w') as metrics, utils.Progress(n_updates, name='training') as progress:

        def record(row):
            metrics.write(json.dumps(row) + '\n')
            metrics.flush()

        for epoch in range(1, n_epochs + 1):
            trainer.train(model, dataset, log_freq=args.log_freq, on_log=record, progress=progress)
            if epoch % save_freq == 0 or epoch == n_epochs:
                utils.save_state(model, folder / f'state_{epoch}.pt')
        progress.stamp()

    # ------------------------------ results ------------------------------- #
    draw_learning_curve(folder / 'metrics.jsonl', folder / 'learning_curve.png')
    print(f'Weights, settings and learning_curve.png are in {folder}\n'
          f'Plan with them: python scripts/plan.py --dataset {args.dataset} --gpt_loadpath {args.exp_name}')


if __name__ == '__main__':
    utils.run(main, Parser, 'train')
