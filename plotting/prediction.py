"""Draw how far predictions are from what happened, over the steps ahead: medians and quartiles of several models."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plotting.curve import FAINT_INK, HELDOUT_COLOR, INK, LOSS_COLOR, dress_axes
from plotting.pictures import save_picture

COLORS = LOSS_COLOR, HELDOUT_COLOR
STEPS = 1, 10, 25, 50, 100  # that are printed


def draw_errors(errors: dict[str, np.ndarray], title: str, savepath: str | Path) -> None:
    """Draw the errors of models.    errors : [ n x T ] each, by the model's name, in deviations of the data"""
    figure = Figure(figsize=(7, 4.2), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    n = 0
    for (name, each), color in zip(errors.items(), COLORS, strict=False):
        n, steps = len(each), np.arange(1, each.shape[1] + 1)
        low, median, high = np.quantile(each, (0.25, 0.5, 0.75), axis=0)
        axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(steps, median, color=color, linewidth=1.6, label=name)
    axes.set_title(title, loc='left', color=INK, fontweight='bold', parse_math=False)
    axes.set_xlabel('steps ahead', color=FAINT_INK)
    axes.set_ylabel("error, in the data's deviations", color=FAINT_INK)
    axes.set_yscale('log')
    dress_axes(axes)
    axes.tick_params(which='both', length=0)
    axes.legend(frameon=False, labelcolor=INK, title=f'median and quartiles of {n} places', title_fontsize=8)
    save_picture(figure, savepath, dpi=160)


def summarize(errors: dict[str, np.ndarray]) -> str:
    """A table of median errors at some steps, and how many times closer the first model is than the second."""
    n_steps = min(each.shape[1] for each in errors.values())
    steps = sorted({step for step in STEPS if step <= n_steps} | {n_steps})
    medians = {name: np.median(each, axis=0) for name, each in errors.items()}
    lines = [f'{"steps ahead":>24}' + ''.join(f'{step:>8}' for step in steps)]
    for name, median in medians.items():
        lines.append(f'{name:>24}' + ''.join(f'{median[step - 1]:>8.3f}' for step in steps))
    first, second = list(medians.values())[:2]
    ratios = ''.join(f'{second[step - 1] / first[step - 1]:>8.2f}' for step in steps)
    return '\n'.join([*lines, f'{"times closer":>24}{ratios}'])


def name_frames(frames: np.ndarray, name: str) -> np.ndarray:
    """Write a name above each frame.    frames : [ T x height x width x 3 ] uint8    returns : a little higher ones"""
    width = frames.shape[2]
    figure = Figure(figsize=(width / 100, 0.2), dpi=100, facecolor='white')
    canvas = FigureCanvasAgg(figure)
    figure.text(0.02, 0.5, name, va='center', color=INK, fontsize=8)
    canvas.draw()
    strip = np.asarray(canvas.buffer_rgba())[:, :width, :3]
    return np.concatenate([np.broadcast_to(strip, (len(frames), *strip.shape)), frames], axis=1)
