"""Draw the return that a Decision Transformer reached against the return that it was asked for.

python plotting/targets.py logs --dataset hopper-medium-v2 [--savepath targets.png]

It reads what `scripts/evaluate.py --target_return 3600 1800 …` left: one experiment for each target.
"""

import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plotting.curve import FAINT_INK, INK, LOSS_COLOR, dress_axes
from plotting.pictures import save_picture
from plotting.read_results import Experiment, group_by_number, load_results, mean_and_error
from trajectory.utils.errors import InputError

TARGET = re.compile(r'(.*)/target_return(-?[\d.e+]+)$')


def find_targets(experiments: list[Experiment]) -> dict[str, list[tuple[float, Experiment]]]:
    """The experiments that asked for a return, by the run that was asked, by rising target."""
    return group_by_number(experiments, TARGET, float)


def draw_targets(runs: dict[str, list[tuple[float, Experiment]]], title: str, savepath: str | Path) -> None:
    """Draw mean and standard error of the return reached at each target, and the line where both are equal."""
    figure = Figure(figsize=(5.4, 4.4), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    asked = [target for points in runs.values() for target, _ in points]
    low, high = min(0, *asked) if len(asked) > 1 else 0, max(asked)
    axes.plot([low, high], [low, high], color=FAINT_INK, linewidth=1, linestyle='dashed', label='as asked')
    for number, (name, points) in enumerate(runs.items()):
        statistics = [mean_and_error(experiment.returns) for _, experiment in points]
        axes.errorbar(
            [target for target, _ in points],
            [mean for mean, _ in statistics],
            [error or 0 for _, error in statistics],
            color=LOSS_COLOR if number == 0 else f'C{number}',
            marker='o',
            markersize=4,
            linewidth=1.4,
            capsize=3,
            label=name,
        )
    axes.set_xlabel('return asked for', color=FAINT_INK)
    axes.set_ylabel('return reached', color=FAINT_INK)
    axes.set_title(title, loc='left', color=INK, fontweight='bold', parse_math=False)
    dress_axes(axes)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8)
    save_picture(figure, savepath, dpi=160)


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('logs', nargs='?', default='logs', help="folder that holds the datasets' folders")
    parser.add_argument('--dataset', required=True, help='whose results to draw')
    parser.add_argument('--savepath', default='targets.png', help='the picture to write')
    args = parser.parse_args(argv)
    try:
        runs = find_targets(load_results(args.logs, args.dataset))
        if not runs:
            raise InputError(
                f'no result in {args.logs} asked for a return.\n'
                '  Evaluate some: python scripts/evaluate.py --config config.decision --target_return 3600 1800 900'
            )
        draw_targets(runs, args.dataset, args.savepath)
    except InputError as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')
    print(f'wrote {args.savepath}')


if __name__ == '__main__':
    main()
