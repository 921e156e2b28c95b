"""Draw the return on held-out tasks over gradient steps of adaptation, and the paths of 2-D navigation.

python plotting/adaptation.py logs --dataset 2DNavigation-v0 [--savepath adaptation.png] [--paths paths.png]

It reads what `scripts/evaluate.py --config config.meta` left: one experiment for each number of steps, and the episodes
of the first tasks.
"""

import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plotting.curve import FAINT_INK, HELDOUT_COLOR, INK, LOSS_COLOR, dress_axes
from plotting.pictures import save_picture
from plotting.read_results import Experiment, group_by_number, load_result, load_results, mean_and_error
from trajectory.utils.errors import InputError
from trajectory.utils.files import check_regular

STEPS = re.compile(r'(.*)/steps(\d+)$')
MAX_BYTES = 2**28  # of the episodes of a task
N_EPISODES = 5  # whose paths are drawn


def find_adaptations(experiments: list[Experiment]) -> dict[str, list[tuple[int, Experiment]]]:
    """The experiments of each policy by rising number of gradient steps."""
    return group_by_number(experiments, STEPS, int)


def draw_adaptation(runs: dict[str, list[tuple[int, Experiment]]], title: str, savepath: str | Path) -> None:
    """Draw mean and standard error over tasks at each number of gradient steps."""
    figure = Figure(figsize=(5.4, 4.0), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (name, points) in enumerate(runs.items()):
        statistics = [mean_and_error(experiment.returns) for _, experiment in points]
        axes.errorbar(
            [steps for steps, _ in points],
            [mean for mean, _ in statistics],
            [error or 0 for _, error in statistics],
            color=LOSS_COLOR if number == 0 else f'C{number}',
            marker='o',
            markersize=4,
            linewidth=1.4,
            capsize=3,
            label=name.partition('/')[2],
        )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel('gradient steps', color=FAINT_INK)
    axes.set_ylabel('return', color=FAINT_INK)
    axes.set_title(title, loc='left', color=INK, fontweight='bold', parse_math=False)
    dress_axes(axes)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8)
    save_picture(figure, savepath, dpi=160)


def read_paths(folder: Path) -> dict[int, tuple[np.ndarray, list[np.ndarray]]]:
    """Goal and paths of each task whose episodes were kept.

    folder  : of an experiment, which holds a folder for each task
    returns : task -> goal [ 2 ], paths [ steps x 2 ]
    """
    paths = {}
    for file in sorted(folder.glob('*/episodes.npz'), key=lambda path: int(path.parent.name)):
        check_regular(file, MAX_BYTES)
        goal = (load_result(file.parent).get('task') or {}).get('goal')
        if goal is None:
            raise InputError(f'{file.parent} is of no task with a goal.\n  Draw paths of 2DNavigation-v0 alone.')
        with np.load(file, allow_pickle=False) as kept:
            seen, lengths = kept['observations'], kept['lengths']
        paths[int(file.parent.name)] = np.array(goal), [seen[:n, b] for b, n in enumerate(lengths)][:N_EPISODES]
    return paths


def draw_paths(before: Path, after: Path, title: str, savepath: str | Path) -> None:
    """Draw the paths of each task before and after a gradient step, in its goal's picture.

    before, after : folders of the experiments of 0 and 1 steps
    """
    early, late = read_paths(before), read_paths(after)
    tasks = sorted(set(early) & set(late))
    if not tasks:
        raise InputError(f'{before} and {after} hold no episodes.\n  Evaluate with --n_videos 4, say.')
    figure = Figure(figsize=(2.6 * len(tasks), 3.2), layout='constrained')
    FigureCanvasAgg(figure)
    for axes, task in zip(np.atleast_1d(figure.subplots(1, len(tasks))), tasks, strict=True):
        for label, color, (_, paths) in (('before', FAINT_INK, early[task]), ('after a step', LOSS_COLOR, late[task])):
            for k, path in enumerate(paths):
                axes.plot(*path.T, color=color, linewidth=0.8, alpha=0.8, label=label if k == 0 else None)
        axes.plot(*early[task][0], '*', color=HELDOUT_COLOR, markersize=13, label='goal', zorder=3)
        axes.plot(0, 0, 'o', color=INK, markersize=4, label='start', zorder=3)
        axes.set_aspect('equal', 'datalim')
        axes.set_title(f'task {task}', fontsize=9, color=FAINT_INK)
        dress_axes(axes)
    figure.suptitle(title, x=0.01, ha='left', color=INK, fontweight='bold', parse_math=False)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, labelcolor=INK, fontsize=8, loc='outside lower center', ncols=4)
    save_picture(figure, savepath, dpi=160)


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('logs', nargs='?', default='logs', help="folder that holds the families' folders")
    parser.add_argument('--dataset', required=True, help='family whose results to draw')
    parser.add_argument('--exp_name', metavar='GLOB', help="only these experiments, e.g. 'evaluations/maml/seed1_*'")
    parser.add_argument('--savepath', default='adaptation.png', help='the picture to write')
    parser.add_argument('--paths', help='picture of the paths before and after a step to write, of 2-D navigation')
    args = parser.parse_args(argv)
    try:
        runs = find_adaptations(load_results(args.logs, args.dataset, args.exp_name))
        if not runs:
            raise InputError(
                f'no result in {args.logs} adapted to tasks.\n'
                f'  Evaluate a run: python scripts/evaluate.py --config config.meta --env {args.dataset}'
            )
        draw_adaptation(runs, args.dataset, args.savepath)
        print(f'wrote {args.savepath}')
        if args.paths:
            folder = Path(args.logs, args.dataset, next(iter(runs)))
            draw_paths(folder / 'steps0', folder / 'steps1', args.dataset, args.paths)
            print(f'wrote {args.paths}')
    except InputError as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')


if __name__ == '__main__':
    main()
