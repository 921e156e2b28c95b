"""Draw the average normalised return of every algorithm as a bar chart, ours among them if asked.

    python plotting/plot.py [--results logs] [--savepath plotting/bar.png]

All bars average the same settings: the nine without Ant, or those of the nine that our results cover.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plotting import scores
from plotting.pictures import save_picture
from plotting.read_results import choose_comparable, load_results
from plotting.scores import BUFFERS, SETTINGS_WITHOUT_ANT, UNIFORM
from plotting.table import BUFFER_NAMES, ENVIRONMENT_NAMES, OURS, add_ours, settings_of_tt
from trajectory.utils.errors import InputError

ALGORITHMS = ('BC', 'MBOP', 'MOPO', 'BRAC', 'CQL', 'DT')
OTHERS_COLOR, UNIFORM_COLOR, TT_COLOR, OURS_COLOR = '#b8bec7', '#9db8dd', '#3a6db5', '#d9822b'
INK, FAINT_INK = '#2b2f36', '#767d88'


def average_all(means: dict, settings=SETTINGS_WITHOUT_ANT) -> dict[str, float | None]:
    """Average every algorithm's scores over the same settings, ours last where `means` holds them."""
    averages = {algorithm: scores.average(means, algorithm, settings) for algorithm in ALGORITHMS}
    averages[UNIFORM] = scores.average(scores.uniform_means, UNIFORM, settings)
    averages['TT'] = scores.average(means, 'TT', settings)
    ours = scores.average(means, OURS, settings)
    return averages if ours is None else {**averages, OURS: ours}


def draw_bars(averages: dict[str, float], settings, savepath: str | Path) -> None:
    """Draw one bar per algorithm, and write the picture.

    averages : {algorithm: 100 × score}     settings : the (buffer, environment) that they average
    """
    figure = Figure(figsize=(8.4, 4.2), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    special = {UNIFORM: UNIFORM_COLOR, 'TT': TT_COLOR, OURS: OURS_COLOR}
    colors = [special.get(algorithm, OTHERS_COLOR) for algorithm in averages]
    names = [algorithm.replace(' ', '\n') for algorithm in averages]
    bars = axes.bar(names, averages.values(), width=0.72, color=colors)
    labels = axes.bar_label(bars, fmt='%.1f', padding=3, color=INK)
    for label, algorithm in zip(labels, averages, strict=True):
        label.set_fontweight('bold' if algorithm in ('TT', OURS) else 'normal')

    axes.set_title('Average normalised return on D4RL', loc='left', color=INK, fontweight='bold', pad=24)
    axes.text(
        0, 1.035, describe_settings(settings), transform=axes.transAxes, color=FAINT_INK, fontsize=8.5, in_layout=False
    )
    axes.set_ylabel('100 × score', color=FAINT_INK)
    axes.set_ylim(1.1 * min(0, *averages.values()), 1.1 * max(averages.values()))
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.spines['bottom'].set_color(FAINT_INK)
    axes.tick_params(length=0, labelcolor=INK)
    axes.tick_params(axis='y', labelcolor=FAINT_INK)

    save_picture(figure, savepath, dpi=200)


def describe_settings(settings) -> str:
    """Say what is averaged, in one line for all nine settings, else in one for each buffer."""
    if set(settings) == set(SETTINGS_WITHOUT_ANT):
        return 'HalfCheetah, Hopper, Walker2d  ×  Medium-Expert, Medium, Medium-Replay'
    covered = {
        buffer: [ENVIRONMENT_NAMES[environment] for of, environment in settings if of == buffer] for buffer in BUFFERS
    }
    shown = [f'{BUFFER_NAMES[buffer]}: {", ".join(names)}' for buffer, names in covered.items() if names]
    return ';  '.join(shown)


def read_ours(logs, exp_name) -> tuple[dict, tuple]:
    """Return the published means with ours beside them, and the settings that both cover."""
    chosen, left_out = choose_comparable(load_results(logs, exp_name=exp_name))
    for experiment, reason in left_out:
        print(f'left out: {experiment.dataset} {experiment.exp_name}: {reason} ({experiment.provenance})')
    settings = tuple(setting for setting in SETTINGS_WITHOUT_ANT if setting in settings_of_tt(chosen))
    if not settings:
        raise InputError(
            f"{logs} holds nothing to set beside the published scores, which are of D4RL's data "
            "sets of HalfCheetah, Hopper and Walker2d, planned in D4RL's physics.\n"
            f'  See what there is: python plotting/read_results.py {logs}'
        )
    means, _ = add_ours(chosen)
    return means, settings


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--results', metavar='LOGS', help='add our own results, from this folder of logs')
    parser.add_argument('--exp_name', metavar='GLOB', help="of ours only these experiments, e.g. 'plans/*'")
    parser.add_argument('--savepath', default='plotting/bar.png', help='default: %(default)s')
    args = parser.parse_args(argv)
    means, settings = scores.means, SETTINGS_WITHOUT_ANT
    try:
        if args.results is not None:
            means, settings = read_ours(args.results, args.exp_name)
        draw_bars(average_all(means, settings), settings, args.savepath)
    except InputError as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')
    print(f'wrote {args.savepath}')


if __name__ == '__main__':
    main()
