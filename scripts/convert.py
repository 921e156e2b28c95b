"""Convert a trained model from one format to another, and see that both compute the same.

    python scripts/convert.py --source logs/hopper-medium-v2/gpt/azure --target shared/hopper --format pretrained
    python scripts/convert.py --source CarlCochet/trajectory-transformer-hopper-medium-v2 --dataset hopper-medium-v2 \\
        --target logs/hopper-medium-v2/gpt/converted

The source is a folder of any format, or a model on the Hugging Face Hub; the target is a new folder:

    pretrained     config.json and model.safetensors, nothing pickled: for plan.py, and for others
    huggingface    what TrajectoryTransformerModel.from_pretrained of `transformers` reads
    reference      what the original code reads: pickled recipes and state_<n>.pt
    run            of a `DecisionTransformerModel`: a run's folder, for evaluate.py

The bins go with the model, where the source has them or its dataset is on this machine. A run of the Decision
Transformer becomes what DecisionTransformerModel.from_pretrained reads, and such a model a run:

    python scripts/convert.py --source logs/hopper-mixed-ppo/dt/default --target shared/dt --format huggingface
    python scripts/convert.py --source shared/dt --target logs/hopper-mixed-ppo/dt/shared --format run
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Literal

from trajectory import utils
from trajectory.algorithms.decision_transformer.huggingface import is_huggingface, load_huggingface, save_huggingface
from trajectory.algorithms.trajectory_transformer.pretrained import TrainedModel, check_same, save_as
from trajectory.algorithms.trajectory_transformer.recovery import published_data_recipe, recover
from trajectory.storage.config import load_args
from trajectory.storage.model_files import download_model
from trajectory.utils.errors import InputError

log = logging.getLogger(__name__)


class Parser(utils.Flags):
    source: str  # folder of the model to convert, or owner/name on the Hub
    target: str  # folder to write; it must not exist yet
    format: Literal['pretrained', 'huggingface', 'reference', 'run'] = 'pretrained'  # what to write
    epoch: int | Literal['latest'] = 'latest'  # which of the source's weights to take
    dataset: str | None = None  # dataset that the model learned from, where the source does not say
    dataset_path: str | None = None  # its HDF5 file, where it is not the one that the name stands for
    state_mean: list[float] | None = None  # of a DecisionTransformerModel: statistics of the data, see its card
    state_std: list[float] | None = None  # likewise
    scale: float | None = None  # likewise: what returns-to-go were divided by


def main(args):
    folder = Path(args.source) if Path(args.source).is_dir() else download_model(args.source)
    method = getattr(load_args(folder), 'algorithm', None) if (folder / 'args.json').exists() else None
    if method == 'decision_transformer' or is_huggingface(folder):
        convert_decision_transformer(args, folder)
        return
    check_method(folder, method, args.format)

    # -------------------------------- model ------------------------------- #
    trained = TrainedModel.from_pretrained(folder, epoch=args.epoch, flag='--epoch')
    if trained.data is None and args.dataset:
        trained = replace(trained, data=published_data_recipe(args.dataset, trained.model))
    if trained.data is not None:
        trained = with_bins(trained, args.dataset_path)

    # ------------------------------ conversion ---------------------------- #
    save_as(trained, args.target, args.format, check=lambda folder: check_same(trained, folder))

    # ------------------------------- results ------------------------------ #
    bins = 'with its bins' if trained.discretizer else 'without its bins'
    print(f'{args.target} holds the model in the format {args.format}, {bins}; its logits are those of {args.source}')


def convert_decision_transformer(args, folder):
    """A run to a folder that `transformers` reads, or such a folder to a run."""
    wanted = 'run' if is_huggingface(folder) else 'huggingface'
    if args.format != wanted:
        raise InputError(f'{folder} can be written in the format {wanted} only.\n  Pass --format {wanted}.')
    if wanted == 'huggingface':
        save_huggingface(folder, args.target, args.epoch)
        print(f'{args.target} holds the model as DecisionTransformerModel.from_pretrained reads it')
        return
    given = {name: getattr(args, name) for name in ('dataset', 'dataset_path', 'state_mean', 'state_std', 'scale')}
    load_huggingface(folder, args.target, **given)
    print(f'{args.target} holds a run, which scripts/evaluate.py --config config.decision evaluates')


def check_method(folder, method, format):
    """Refuse a run of a method whose weights have no other format here."""
    if method not in (None, 'trajectory_transformer'):
        raise InputError(
            f'{folder} holds a run of {method}, which has no other format.\n'
            '  Runs of the Trajectory Transformer and the Decision Transformer are converted.'
        )
    if format == 'run':
        raise InputError('only a DecisionTransformerModel becomes a run.\n  Pass --format pretrained, say.')


def with_bins(trained, dataset_path):
    """The model with what it lacks for planning, if the data it learned from is here."""
    try:
        return recover(trained, None, dataset_path)
    except InputError as error:
        if dataset_path is not None:
            raise
        log.warning('%s\n  It is converted without them; plan.py makes them once the data is there.', error)
        return trained


if __name__ == '__main__':
    utils.run(main, Parser, experiment=None)
