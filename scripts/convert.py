"""Convert a trained model from one format to another, and see that both compute the same.

    python scripts/convert.py --source logs/hopper-medium-v2/gpt/azure --target shared/hopper --format pretrained
    python scripts/convert.py --source CarlCochet/trajectory-transformer-hopper-medium-v2 --dataset hopper-medium-v2 \\
        --target logs/hopper-medium-v2/gpt/converted

The source is a folder of any format, or a model on the Hugging Face Hub; the target is a new folder:

    pretrained     config.json and model.safetensors, nothing pickled: for plan.py, and for others
    huggingface    what TrajectoryTransformerModel.from_pretrained of `transformers` reads
    reference      what the original code reads: pickled recipes and state_<n>.pt

The bins go with the model, where the source has them or its dataset is on this machine.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Literal

from trajectory import utils
from trajectory.algorithms.trajectory_transformer.pretrained import TrainedModel, check_same, save_as
from trajectory.algorithms.trajectory_transformer.recovery import published_data_recipe, recover
from trajectory.storage.config import load_args
from trajectory.utils.errors import InputError

log = logging.getLogger(__name__)


class Parser(utils.Flags):
    source: str  # folder of the model to convert, or owner/name on the Hub
    target: str  # folder to write; it must not exist yet
    format: Literal['pretrained', 'huggingface', 'reference'] = 'pretrained'  # what to write
    epoch: int | Literal['latest'] = 'latest'  # which of the source's weights to take
    dataset: str | None = None  # dataset that the model learned from, where the source does not say
    dataset_path: str | None = None  # its HDF5 file, where it is not the one that the name stands for


def main(args):
    # -------------------------------- model ------------------------------- #
    check_method(Path(args.source))
    trained = TrainedModel.from_pretrained(args.source, epoch=args.epoch, flag='--epoch')
    if trained.data is None and args.dataset:
        trained = replace(trained, data=published_data_recipe(args.dataset, trained.model))
    if trained.data is not None:
        trained = with_bins(trained, args.dataset_path)

    # ------------------------------ conversion ---------------------------- #
    save_as(trained, args.target, args.format, check=lambda folder: check_same(trained, folder))

    # ------------------------------- results ------------------------------ #
    bins = 'with its bins' if trained.discretizer else 'without its bins'
    print(f'{args.target} holds the model in the format {args.format}, {bins}; its logits are those of {args.source}')


def check_method(folder):
    """Refuse a run of a method whose weights have no other format here."""
    method = getattr(load_args(folder), 'algorithm', None) if (folder / 'args.json').exists() else None
    if method not in (None, 'trajectory_transformer'):
        raise InputError(
            f'{folder} holds a run of {method}; runs of the Trajectory Transformer are converted here.\n'
            '  For a Decision Transformer see to_huggingface in trajectory/models/decision_transformer.py.'
        )


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
