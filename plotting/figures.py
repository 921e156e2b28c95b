"""Draw the plots of the report as SVG that belongs to its page: the page's fonts, and its colours by day and by night.

They are narrow, for a phone; a wider screen shows them larger. `name` tells one picture of a page from another.
"""

import io
import re
import warnings
from contextlib import suppress
from dataclasses import replace

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from plotting.continual import draw_heat_map, read_sequence
from plotting.curve import FAINT_INK, GRID, INK, SPINE, dress, lower_number, main_number, plot_run
from plotting.plot import OTHERS_COLOR, OURS_COLOR, TT_COLOR, UNIFORM_COLOR
from plotting.read_results import Experiment, is_number, mean_and_error
from plotting.scores import UNIFORM
from plotting.table import OURS
from trajectory.utils.errors import InputError

WIDTH = 5.2  # inches; 374 points, which a phone shows almost in their size
SERIES = ('#3a6db5', '#d9822b', '#2f8f6b', '#b5486a', '#7a5fb8', '#8a7a2e', '#2b93a8', '#8c5a3c')
LINE_STYLES = ('solid', 'dashed', 'dotted', 'dashdot')  # for every further round of the colours

# what the page's style sheet calls them
VARIABLES = {
    INK: 'ink',
    FAINT_INK: 'faint',
    SPINE: 'spine',
    GRID: 'grid',
    OTHERS_COLOR: 'others',
    UNIFORM_COLOR: 'uniform',
    **{color: f'series-{n}' for n, color in enumerate(SERIES)},
}
assert {TT_COLOR, OURS_COLOR} <= VARIABLES.keys()


def draw_learning_curves(name: str, trainings) -> Markup | None:
    """The losses and learning rates of runs, each in its colour, a picture for each method; None where there are none.

    trainings : `runs.Training`s
    """
    methods = {}
    for n, run in enumerate(trainings):
        if run.metrics:
            algorithm = run.algorithm
            methods.setdefault((algorithm, main_number(run.metrics[-1])), []).append((n, run))
    pictures = [
        _draw_curves(name if k == 0 else f'{name}-{k}', members, number)
        for k, ((_, number), members) in enumerate(methods.items())
    ]
    return Markup().join(pictures) if pictures else None


def _draw_curves(name, members, number):
    """The curves of runs that log the same number.    members : pairs (n, run), the n-th of the dataset's runs"""
    figure = Figure(figsize=(WIDTH, 3.9), layout='constrained')
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    for n, run in members:
        before, before_rate = len(top.lines), len(bottom.lines)
        plot_run(top, bottom, run.metrics, *3 * [color_of(n)])
        for line in [top.lines[before], *bottom.lines[before_rate:]]:
            line.set_linestyle(style_of(n))
        for heldout in top.lines[before + 1 :]:
            heldout.set(linewidth=0.7, markersize=4.5, markerfacecolor='none')
    dress(top, bottom, number, lower_number(members[0][1].metrics[-1]))
    bottom.locator_params(axis='x', nbins=6)
    names = ', '.join(run.name for _, run in members)
    words = number.replace('_', ' ').capitalize()
    return to_svg(figure, name, f'{words} and learning rate over the updates of {names}')


def draw_scores_over_time(name: str, trainings) -> Markup | None:
    """Heat maps of the scores of tasks over time, one below the other; None where no run has any."""
    sequences = []
    for run in trainings:
        if run.has_scores:
            with suppress(InputError):
                sequences.append(replace(read_sequence(run.folder), name=run.name))
    if not sequences:
        return None
    heights = [0.6 + 0.24 * len(sequence.tasks) for sequence in sequences]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout='constrained')
    grid = np.atleast_1d(figure.subplots(len(sequences), 1, height_ratios=heights))
    for axes, sequence in zip(grid, sequences, strict=True):
        draw_heat_map(axes, sequence)
    return to_svg(figure, name, f'Scores of each task over the updates of {", ".join(s.name for s in sequences)}')


def draw_returns(name: str, experiments: list[Experiment], source: dict) -> Markup:
    """The return of every episode, and their mean and standard error, a row for each experiment.

    source : of the data; its mean return and its best tenth's are lines
    """
    figure = Figure(figsize=(WIDTH, 0.62 + 0.46 * len(experiments)), layout='constrained')
    axes = figure.add_subplot()
    for key, style in (('mean_return', 'dashed'), ('best_tenth_return', 'dotted')):
        if is_number(source.get(key)):
            axes.axvline(source[key], color=FAINT_INK, linestyle=style, linewidth=1.2)
    for row, experiment in enumerate(experiments):
        mean, error = mean_and_error(experiment.returns)
        axes.plot(
            experiment.returns,
            [row] * len(experiment.returns),
            'o',
            color=SERIES[0],
            alpha=0.35,
            markersize=5,
            markeredgewidth=0,
        )
        axes.errorbar(mean, row, xerr=error, fmt='D', color=INK, markersize=4.5, elinewidth=1.6, capsize=3)
        axes.annotate(
            shorten(experiment.exp_name),
            (0, row),
            xycoords=('axes fraction', 'data'),
            xytext=(2, 7),
            textcoords='offset points',
            color=INK,
            fontsize=10,
            parse_math=False,
        )
    axes.set_ylim(len(experiments) - 0.6, -0.85)
    axes.set_xlim(left=min(0, axes.get_xlim()[0]))
    axes.set_xlabel('return of an episode', color=FAINT_INK)
    axes.xaxis.set_major_formatter(lambda number, _: f'{number:,.0f}')
    axes.set_yticks([])
    axes.grid(axis='x', color=GRID, linewidth=0.8)
    strip(axes)
    names = ', '.join(experiment.exp_name for experiment in experiments)
    return to_svg(figure, name, f'Returns of the episodes of {names}')


def draw_averages(name: str, averages: dict[str, float]) -> Markup:
    """The bars of `plot.py`, lying.    averages : {algorithm: 100 × score}"""
    figure = Figure(figsize=(WIDTH, 0.3 + 0.32 * len(averages)), layout='constrained')
    axes = figure.add_subplot()
    special = {UNIFORM: UNIFORM_COLOR, 'TT': TT_COLOR, OURS: OURS_COLOR}
    bars = axes.barh(
        list(averages),
        averages.values(),
        height=0.7,
        color=[special.get(algorithm, OTHERS_COLOR) for algorithm in averages],
    )
    axes.bar_label(bars, fmt='%.1f', padding=4, color=INK, fontsize=11)
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.set_xticks([])
    axes.tick_params(axis='y', labelcolor=INK, labelsize=11)
    strip(axes)
    shown = ', '.join(f'{algorithm} {average:.1f}' for algorithm, average in averages.items())
    return to_svg(figure, name, f'Average of 100 × score: {shown}')


def color_of(n: int) -> str:
    return SERIES[n % len(SERIES)]


def style_of(n: int) -> str:
    return LINE_STYLES[n // len(SERIES) % len(LINE_STYLES)]


def shorten(name: str, longest: int = 58) -> str:
    """Leave out the middle of a long name."""
    return name if len(name) <= longest else f'{name[: longest // 2 - 1]} … {name[-longest // 2 + 2 :]}'


def strip(axes) -> None:
    """Take away what no reader needs."""
    axes.spines[['top', 'right', 'left']].set_visible(False)
    axes.spines['bottom'].set_color(SPINE)
    axes.tick_params(length=0)
    axes.tick_params(axis='x', labelcolor=FAINT_INK)


def to_svg(figure: Figure, name: str, title: str) -> Markup:
    """The picture as an element of a page.

    name  : of this picture alone, for its ids
    title : is read out in its stead
    """
    buffer = io.StringIO()
    settings = {'svg.fonttype': 'none', 'svg.hashsalt': name}
    figure.set_facecolor('none')
    for axes in figure.axes:
        axes.set_facecolor('none')
    no_metadata = dict.fromkeys(('Creator', 'Date', 'Format', 'Type'))
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph .* missing from')  # the browser has it
        FigureCanvasSVG(figure).print_svg(buffer, metadata=no_metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index('<svg') :]
    svg = re.sub(r'<style.*?</style>', '', svg, count=1, flags=re.DOTALL)  # it would hold for the whole page
    svg = re.sub(r'<g id="[^"]*"', '<g', svg)  # the other ids are hashes of `name` and what they mark
    svg = re.sub(r'(?<=: )#[0-9a-f]{6}(?=[;"])', lambda color: themed(color[0]), svg)
    return Markup(svg.replace('<svg', f'<svg role="img" aria-label="{escape(title)}"', 1))


def themed(color: str) -> str:
    return f'var(--{VARIABLES[color]})' if color in VARIABLES else color
