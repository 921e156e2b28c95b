"""Draw the learning curve of a training run: its loss, or what it logs in place of one, and the learning rate below.

    python plotting/curve.py logs/hopper-medium-v2/gpt/azure [--savepath learning_curve.png]

Without `--savepath` the picture goes beside the run's `metrics.jsonl`. A run that is still under way, or was
killed while it wrote its last line, is drawn as far as it went.
"""

import json
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from math import nan
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plotting.pictures import save_picture
from trajectory.utils.errors import InputError
from trajectory.utils.files import check_regular

REQUIRED = ('epoch', 'step')
ASIDE = {*REQUIRED, 'tokens', 'learning_rate', 'tokens_per_second', 'updates_per_second'}
LARGEST = 1e300  # numbers beyond it cannot be drawn
LOSS_COLOR, HELDOUT_COLOR, RATE_COLOR = '#3a6db5', '#d9822b', '#767d88'
INK, FAINT_INK, SPINE, GRID = '#2b2f36', '#767d88', '#b8bec7', '#e6e8eb'


def read_metrics(path: str | Path) -> list[dict]:
    """Read the lines of a `metrics.jsonl`, by rising step.

    Where the steps go back, the run was resumed there: what had been logged past that step is forgotten.
    """
    path = Path(path)
    try:
        check_regular(path)
        lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError as error:
        raise InputError(
            f'cannot read {path}: {error.strerror}.\n  Pass the folder of a training run, logs/<dataset>/<exp_name>.'
        ) from error
    metrics = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines):  # the run was killed while it wrote
                break
            reason = 'nested too deeply' if isinstance(error, RecursionError) else error
            raise InputError(f'line {number} of {path} is not valid JSON: {reason}.\n  Delete the line.') from error
        record = record if isinstance(record, dict) else {}
        missing = [key for key in REQUIRED if not is_drawable(record.get(key))]
        if missing or not (name := main_number(record)):
            raise InputError(
                f'line {number} of {path} has no number for {", ".join(missing) or "the loss"}.\n  Delete the line.'
            )
        wrong = [
            key
            for key in (name, 'heldout_loss', 'learning_rate', 'tokens')
            if record.get(key) is not None and not is_drawable(record[key])
        ]
        if wrong:
            raise InputError(
                f'line {number} of {path}: {wrong[0]} is {str(record[wrong[0]])[:60]}, expected a number '
                f'below {LARGEST:g}.\n  Delete the line.'
            )
        while metrics and metrics[-1]['step'] >= record['step']:
            metrics.pop()
        metrics.append(record)
    if not metrics:
        raise InputError(f'{path} holds no metrics yet.\n  Wait for the first line, or train again.')
    return metrics


def is_drawable(value) -> bool:
    """Whether a value is a number that has a place in a picture, or none (NaN)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not abs(value) > LARGEST


def main_number(record: dict) -> str | None:
    """The name of the number that tells how well a run learns: its loss, or the first that it logs."""
    names = [name for name, value in record.items() if name not in ASIDE and isinstance(value, (int, float))]
    return 'loss' if 'loss' in record else next(iter(names), None)


def logged(record: dict) -> list[str]:
    """The main number, and those of its group that every row has: `rewards/before`, `rewards/after`."""
    name = main_number(record) or ''
    heading, slash, _ = name.partition('/')
    group = [other for other in record if slash and other.startswith(f'{heading}/') and 'heldout' not in other]
    return group or [name]


def lower_number(record: dict) -> str | None:
    """The name of what is drawn below: the learning rate, or the divergence of a step of TRPO."""
    return next((name for name in ('learning_rate', 'kl') if name in record), None)


def draw_learning_curve(metrics_path: str | Path, savepath: str | Path) -> None:
    """Draw the loss, or what stands for it, and the learning rate over the updates of a run, and write the picture."""
    metrics = read_metrics(metrics_path)
    last = metrics[-1]

    figure = Figure(figsize=(7, 4.6), layout='constrained')
    FigureCanvasAgg(figure)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    plot_run(top, bottom, metrics)
    dress(top, bottom, main_number(last), lower_number(last))
    if len(top.lines) > 1:
        top.legend(frameon=False, labelcolor=INK)

    run = '/'.join(Path(metrics_path).absolute().parent.parts[-3:])  # <dataset>/<exp_name>
    top.set_title(run, loc='left', color=INK, fontweight='bold', pad=22, parse_math=False)
    tokens = f'{last["tokens"]:,} tokens   ' if 'tokens' in last else ''
    shown = '   '.join(f'{name.rpartition("/")[2].replace("_", " ")} {last[name]:.3f}' for name in logged(last))
    words = f'epoch {round(last["epoch"], 2):,g}   {last["step"]:,} updates   {tokens}{shown}'
    top.text(0, 1.03, words, transform=top.transAxes, color=FAINT_INK, fontsize=8.5)

    save_picture(figure, savepath, dpi=160)


def plot_run(top, bottom, metrics: list[dict], color=LOSS_COLOR, heldout_color=HELDOUT_COLOR, rate_color=RATE_COLOR):
    """Plot a run's losses into the upper axes, the held-out one with points, and its learning rate into the lower."""
    steps = [record['step'] for record in metrics]
    marker = 'o' if len(steps) == 1 else None
    for n, name in enumerate(logged(metrics[-1])):
        label = name.rpartition('/')[2].replace('_', ' ') if '/' in name else 'training'
        numbers = [record.get(name, nan) for record in metrics]
        style, colored = ('solid', color) if n == 0 else ('dashed', heldout_color)
        top.plot(steps, numbers, color=colored, linewidth=1.4, marker=marker, linestyle=style, label=label)
    heldout = [(record['step'], record['heldout_loss']) for record in metrics if record.get('heldout_loss') is not None]
    if heldout:
        top.plot(
            *zip(*heldout, strict=True), color=heldout_color, linewidth=1.4, marker='o', markersize=4, label='held out'
        )
    if below := lower_number(metrics[-1]):
        bottom.plot(
            steps,
            [record.get(below, nan) for record in metrics],
            color=rate_color,
            linewidth=1.4,
            marker=marker,
        )


def dress(top, bottom, name: str = 'loss', below: str | None = 'learning_rate') -> None:
    """Name the axes, and take away what no reader needs.    name, below : of the numbers in them"""
    top.set_ylabel(name.partition('/')[0].replace('_', ' '), color=FAINT_INK)
    bottom.set_ylabel((below or '').replace('_', ' '), color=FAINT_INK)
    bottom.set_xlabel('updates', color=FAINT_INK)
    bottom.set_ylim(bottom=0)
    for axes, axis in ((top, 'x'), (top, 'y'), (bottom, 'y')):
        low, high = getattr(axes, f'get_{axis}lim')()
        if len(axes.lines) and high - low < 1e-6 * max(abs(low), abs(high)):  # one point, or a constant
            getattr(axes, f'set_{axis}lim')(low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1))
    bottom.ticklabel_format(axis='y', style='sci', scilimits=(0, 0), useMathText=True)
    bottom.xaxis.set_major_formatter(lambda step, _: f'{step:,.0f}')
    for axes in (top, bottom):
        dress_axes(axes)


def dress_axes(axes) -> None:
    """A faint grid, and no frame but the two axes."""
    axes.grid(color=GRID, linewidth=0.8)
    axes.spines[['top', 'right']].set_visible(False)
    axes.spines[['left', 'bottom']].set_color(SPINE)
    axes.tick_params(length=0, labelcolor=FAINT_INK)


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('run', help='folder of a training run, or its metrics.jsonl')
    parser.add_argument('--savepath', help='the picture to write (default: learning_curve.png in the run)')
    args = parser.parse_args(argv)
    metrics_path = Path(args.run) if args.run.endswith('.jsonl') else Path(args.run) / 'metrics.jsonl'
    savepath = args.savepath or metrics_path.with_name('learning_curve.png')
    try:
        draw_learning_curve(metrics_path, savepath)
    except InputError as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')
    print(f'wrote {savepath}')


if __name__ == '__main__':
    main()
