"""Predict what recorded actions lead to, 100 steps ahead, by a Trajectory Transformer and by a one-step model.

    python scripts/predict.py --dataset hopper-mixed-ppo --gpt_loadpath gpt/bundled
    python scripts/predict.py --dataset walker2d-medium-v2 --gpt_loadpath gpt/azure --n_starts 500

From places in the episodes that the run held out, both follow the recorded actions without looking again. The one-step
model is an ensemble of seven probabilistic MLPs (PETS, Chua et al. 2018), fitted to the episodes that the Trajectory
Transformer learned from. Into --savepath come the errors (errors.json), their picture over the horizon
(prediction.png), and films of the truth, the Trajectory Transformer and the one-step model, side by side.
"""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from plotting.prediction import draw_errors, name_frames, summarize
from trajectory import utils
from trajectory.algorithms.trajectory_transformer.recovery import load_with_data, spec_of_model
from trajectory.datasets.sources import find_run
from trajectory.models.dynamics import DynamicsEnsemble
from trajectory.rendering.renderers import make_renderer
from trajectory.search.prediction import gather_segments, predict_by_steps, predict_by_tokens, prediction_errors
from trajectory.training.dynamics import fit_dynamics
from trajectory.utils.errors import InputError, check_positive
from trajectory.utils.files import mkdir, write_json
from trajectory.utils.runtime import set_threads
from trajectory.utils.video import save_videos

log = logging.getLogger(__name__)

MIN_DEVIATION = 1e-6  # of a column that errors are measured in
TT, ONE_STEP = 'Trajectory Transformer', 'one-step ensemble'


class Parser(utils.Flags):
    dataset: str = 'hopper-mixed-ppo'  # dataset that the model was trained on
    gpt_loadpath: str = 'gpt/bundled'  # exp_name of the training run to load
    gpt_epoch: str = 'latest'  # checkpoint to load, in epochs
    dataset_path: str | None = None  # HDF5 file of the dataset, where it is not that of the training
    n_starts: int = 200  # places that are predicted from
    n_steps: int = 100  # actions that are followed from each
    k_obs: int | None = 1  # draw observation tokens from the k likeliest; 1 is greedy
    n_epochs: int = 100  # of the one-step model, at most; it ends when what is held out gets no likelier
    n_videos: int = 1  # places that are filmed, those of median error
    renderer: Literal['Renderer', 'KitchenRenderer', 'AntMazeRenderer', 'Maze2dRenderer'] | None = 'Renderer'  # or None
    seed: int = 0  # of the places, the one-step model, and all that is drawn
    threads: int | None = None  # CPU threads
    logbase: str = 'logs/'  # folder that holds all runs
    savepath: str | None = None  # folder of the results; <logbase>/<dataset>/predictions/<gpt_loadpath> unless given


def main(args):
    for name in ('n_starts', 'n_steps', 'n_epochs'):
        check_positive(name, getattr(args, name))
    set_threads(args.threads, default=torch.get_num_threads())
    torch.manual_seed(args.seed)

    # -------------------------------- models ------------------------------ #
    run = Path(*find_run(args.logbase, args.dataset, args.gpt_loadpath))
    if not run.is_dir():
        raise InputError(f'there is no run in {run}.\n  Train one: python scripts/train.py --dataset {args.dataset}')
    epoch = int(args.gpt_epoch) if args.gpt_epoch.isdecimal() else args.gpt_epoch
    found = load_with_data(run, epoch, args.dataset_path)
    dataset, layout, model = found.dataset, found.dataset.layout, found.trained.model
    n_context = (model.get_block_size() + 1) // layout.dim - 1
    apart = found.episodes(found.held_out if len(found.held_out) else found.learned)
    if not len(found.held_out):
        log.warning('the run held no episodes out: predicting those it learned from. Train with --held_out 0.1')
    segments = gather_segments(dataset, apart, args.n_starts, n_context, args.n_steps, args.seed)
    inputs, changes = one_step_data(dataset, found.episodes(found.learned))
    log.info('fitting the one-step model to %s transitions', f'{len(inputs):,}')
    dynamics = DynamicsEnsemble(layout.observation_dim, layout.action_dim)
    fit_dynamics(dynamics, inputs, changes, n_epochs=args.n_epochs, seed=args.seed, verbose=True)

    # ------------------------------ prediction ---------------------------- #
    log.info('following %s actions from %s places', args.n_steps, len(segments.raw))
    predicted = {
        TT: predict_by_tokens(model, found.trained.discretizer.with_repeats(), segments, args.k_obs, args.seed),
        ONE_STEP: predict_by_steps(dynamics.predict, layout, segments),
    }
    deviations = np.maximum(dataset.joined_raw[:, layout.observation].std(axis=0), MIN_DEVIATION)
    errors = {name: prediction_errors(each, segments, layout, deviations) for name, each in predicted.items()}

    # ------------------------------- results ------------------------------ #
    folder = Path(args.savepath or Path(args.logbase, args.dataset, 'predictions', args.gpt_loadpath))
    mkdir(folder)
    write_json(
        folder / 'errors.json',
        {
            'dataset': args.dataset,
            'run': str(run),
            'held_out': bool(len(found.held_out)),
            'n': len(segments.raw),
            'quartiles': {name: np.quantile(each, (0.25, 0.5, 0.75), axis=0).tolist() for name, each in errors.items()},
        },
    )
    draw_errors(errors, f'{args.dataset}, {args.gpt_loadpath}', folder / 'prediction.png')
    if args.renderer and args.n_videos:
        film(args, found, segments, predicted, errors[TT], folder)
    print(summarize(errors))
    print(f'Results are in {folder}')


def one_step_data(dataset, episodes):
    """Observations with actions, [ n x d + a ], and how the observation changed, [ n x d ], in some episodes."""
    ends = np.cumsum(dataset.path_lengths)
    rows = np.concatenate([np.arange(ends[k] - dataset.path_lengths[k], ends[k] - 1) for k in episodes])
    layout, raw = dataset.layout, torch.as_tensor(dataset.joined_raw, dtype=torch.float32)
    observations = raw[:, layout.observation]
    inputs = torch.cat([observations[rows], raw[:, layout.action][rows]], dim=1)
    return inputs, observations[rows + 1] - observations[rows]


def film(args, found, segments, predicted, errors, folder):
    """The truth, and what each model predicts, side by side, from the places of median error."""
    layout = found.dataset.layout
    spec = spec_of_model(found.trained, found.name)
    env = spec.make()
    renderer = make_renderer(args.renderer, env)
    truth = segments.from_start(layout.observation)
    by_error = np.argsort(errors.mean(axis=1))
    middle = len(by_error) // 2
    for number, k in enumerate(by_error[middle : middle + args.n_videos]):
        paths = [truth[k], *(np.concatenate([truth[k][:1], each[k]]) for each in predicted.values())]
        names = 'what happened', *predicted
        videos = [name_frames(renderer.renders(path), name) for path, name in zip(paths, names, strict=True)]
        save_videos(folder / f'prediction_{number}.mp4', *videos, fps=30)
    env.close()


if __name__ == '__main__':
    utils.run(main, Parser, experiment=None)
