"""Draw how the returns of recorded episodes are spread."""

import math
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trajectory.utils.files import write_atomically

COLOR, MEAN_COLOR, INK, FAINT_INK = '#3a6db5', '#d9822b', '#2b2f36', '#767d88'
MAX_BARS = 60


def draw_returns(returns: np.ndarray, title: str, savepath: str | Path, scores: np.ndarray | None = None) -> None:
    """Draw a histogram of returns, and write the picture; where there are scores, a second scale shows them.

    returns, scores : [ episodes ]
    """
    figure = Figure(figsize=(7, 3.8), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.hist(returns, bins=min(math.isqrt(len(returns)) + 1, MAX_BARS), color=COLOR, edgecolor='white', linewidth=0.5)
    axes.axvline(returns.mean(), color=MEAN_COLOR, linewidth=1.6)
    axes.annotate(
        f'mean {returns.mean():,.0f}',
        (returns.mean(), 1),
        xycoords=('data', 'axes fraction'),
        xytext=(4, -4),
        textcoords='offset points',
        va='top',
        color=MEAN_COLOR,
        fontsize=8.5,
    )

    axes.set_title(title, loc='left', color=INK, fontweight='bold', pad=44 if scores is not None else 26)
    axes.text(
        0,
        1.16 if scores is not None else 1.04,
        f'{len(returns):,} episodes   return {returns.min():,.0f} to {returns.max():,.0f}',
        transform=axes.transAxes,
        color=FAINT_INK,
        fontsize=8.5,
    )
    axes.set_xlabel('return', color=FAINT_INK)
    axes.set_ylabel('episodes', color=FAINT_INK)
    axes.xaxis.set_major_formatter(lambda value, _: f'{value:,.5g}')
    axes.yaxis.get_major_locator().set_params(integer=True)
    if scores is not None and np.ptp(returns) > 0:
        slope = np.ptp(scores) / np.ptp(returns)  # a score is a line in the return
        offset = scores[0] - slope * returns[0]
        scale = axes.secondary_xaxis(
            'top',
            functions=(lambda value: 100 * (slope * value + offset), lambda value: (value / 100 - offset) / slope),
        )
        scale.set_xlabel('100 × score', color=FAINT_INK, fontsize=8.5)
        scale.spines['top'].set_visible(False)
        scale.tick_params(length=0, labelcolor=FAINT_INK)
    axes.grid(axis='y', color='#e6e8eb', linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[['top', 'right']].set_visible(False)
    axes.spines[['left', 'bottom']].set_color('#b8bec7')
    axes.tick_params(length=0, labelcolor=FAINT_INK)
    with write_atomically(savepath) as partial:
        figure.savefig(partial, dpi=160)
