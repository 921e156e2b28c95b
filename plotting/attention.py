"""Draw what a Trajectory Transformer attends to, averaged over windows of its data, by layer and head.

python plotting/attention.py RUN [--savepath attention.png] [--dataset_path FILE]

A row of a map is a token that is predicted, a column one that is attended to; lines part the transitions, and letters
name the columns within one: observation, action, reward, value. Values are attended to by nobody. Beside it, for each
head: how its attention is shared out over the transitions before (recency), and how much of it goes to the same column
of earlier transitions, and to earlier actions from actions (smoothness), each beside what even attention would give.
"""

import logging
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plotting.curve import FAINT_INK, INK, SPINE, dress_axes
from plotting.pictures import save_picture
from trajectory.algorithms.trajectory_transformer.recovery import load_with_data
from trajectory.search.calibration import gather_windows
from trajectory.utils.errors import InputError, check_positive
from trajectory.utils.layout import TransitionLayout

ROWS = 32  # windows that are read at once


@dataclass(frozen=True)
class Attention:
    """Mean attention of each head.

    maps    : [ L x H x T x T ]  of the token after place i, a row, to the token at place j
    layout  : of a transition
    n       : windows that were averaged
    """

    maps: np.ndarray
    layout: TransitionLayout
    n: int

    def by_lag(self) -> np.ndarray:
        """Share of the attention of a window's last transition by transitions back, [ L x H x K ]; 0 is itself."""
        return _by_lag(self.maps, self.layout.dim)

    def even(self) -> 'Attention':
        """What it would be if every token attended evenly to those it may see."""
        seen = self.maps.max(axis=(0, 1)) > 0
        return Attention((seen / seen.sum(axis=-1, keepdims=True))[None, None], self.layout, self.n)

    def recency(self) -> np.ndarray:
        """Mean transitions that a head looks back, [ L x H ]."""
        shares = self.by_lag()
        return shares @ np.arange(shares.shape[-1])

    def same_column(self) -> np.ndarray:
        """Share that a predicted observation or action gives to its own column in earlier transitions, [ L x H ]."""
        return self._share(lambda predicted, seen: predicted == seen)

    def action_to_action(self) -> np.ndarray:
        """Share that a predicted action gives to actions of earlier transitions, [ L x H ]."""
        is_action = np.isin(np.arange(self.layout.dim), np.arange(self.layout.dim)[self.layout.action])
        return self._share(lambda predicted, seen: is_action[predicted] & is_action[seen], only=is_action)

    def _share(self, belongs, only=None):
        """Attention to what belongs to a column, and is earlier; mean over the columns of the last transition.

        only : [ D ]  which columns are meant; None: observations and actions
        """
        dim, n_tokens = self.layout.dim, self.maps.shape[-1]
        keys = np.arange(n_tokens)
        shares = []
        for row in _last_transition(n_tokens, dim):
            column = (row + 1) % dim
            if not (only[column] if only is not None else column < dim - 2):
                continue
            earlier = keys // dim < (row + 1) // dim
            shares.append(self.maps[:, :, row, earlier & belongs(column, keys % dim)].sum(axis=-1))
        return np.mean(shares, axis=0)


def _last_transition(n_tokens, dim):
    """Places whose next token is of the last transition."""
    return range(n_tokens - dim, n_tokens)


def _by_lag(maps, dim):
    n_tokens = maps.shape[-1]
    n_steps = (n_tokens + 1) // dim
    rows = list(_last_transition(n_tokens, dim))
    lags = n_steps - 1 - np.arange(n_tokens) // dim
    last = maps[:, :, rows].mean(axis=2)
    return np.stack([last[..., lags == lag].sum(axis=-1) for lag in range(n_steps)], axis=-1)


@torch.no_grad()
def measure_attention(run, epoch='latest', dataset_path=None, n_windows: int = 512, seed: int = 0) -> Attention:
    """Average the attention of a run over windows of the episodes it held out, or else learned from."""
    check_positive('n_windows', n_windows)
    found = load_with_data(run, epoch, dataset_path)
    model, discretizer = found.trained.model, found.trained.discretizer
    if (model.get_block_size() + 1) // model.layout.dim < 2:
        raise InputError(f'{run} reads one transition at a time: there is nothing to look back at.')
    indices = found.held_out if len(found.held_out) else found.learned
    windows = gather_windows(found.dataset, discretizer, model, indices, n_windows, seed)
    model.eval()
    total: np.ndarray | float = 0.0
    for tokens in windows.tokens.flatten(1)[:, :-1].split(ROWS):
        read = model(tokens.to(model.pos_emb.device), output_attentions=True)
        total = total + torch.stack(read.attentions).sum(dim=1).cpu().double().numpy()
    return Attention(np.asarray(total) / len(windows.tokens), model.layout, len(windows.tokens))


def describe(found: Attention) -> str:
    """A line for each head, and one for even attention."""
    n_steps = found.by_lag().shape[-1]
    heading = f'{"":>16}' + ''.join(f'{f"{lag} back":>9}' for lag in range(n_steps))
    lines = [f'{heading}{"mean":>9}{"column":>9}{"action":>9}']
    rows = [(f'layer {i + 1}, head {j + 1}', found, (i, j)) for i, j in np.ndindex(found.maps.shape[:2])]
    for name, attention, place in [*rows, ('even', found.even(), (0, 0))]:
        shares = ''.join(f'{share:>9.2f}' for share in attention.by_lag()[place])
        numbers = attention.recency(), attention.same_column(), attention.action_to_action()
        lines.append(f'{name:>16}{shares}' + ''.join(f'{number[place]:>9.2f}' for number in numbers))
    return '\n'.join(
        [
            *lines,
            f'Of {found.n} windows: the share of attention by transitions back, and their mean; the share that goes to '
            'the same\ncolumn of earlier transitions, and from actions to earlier actions.',
        ]
    )


def draw_attention(found: Attention, title: str, savepath: str | Path) -> None:
    """Draw a map for each head, and how attention falls with the transitions back."""
    n_layer, n_head, n_tokens, _ = found.maps.shape
    layout, dim = found.layout, found.layout.dim
    figure = Figure(figsize=(3 * n_head + 3.2, 3 * n_layer + 0.5), layout='constrained')
    FigureCanvasAgg(figure)
    grid = figure.subplots(n_layer, n_head + 1, squeeze=False)
    figure.suptitle(f'{title}: attention averaged over {found.n} windows', x=0.01, ha='left', color=INK,
                    fontweight='bold', parse_math=False)  # fmt: skip
    kinds = (
        (layout.observation, 'o'),
        (layout.action, 'a'),
        (slice(dim - 2, dim - 1), 'r'),
        (slice(dim - 1, dim), 'v'),
    )
    middles = [(np.arange(dim)[columns].mean(), letter) for columns, letter in kinds]
    places = [(start + middle, letter) for start in range(0, n_tokens, dim) for middle, letter in middles]
    for layer, head in np.ndindex(n_layer, n_head):
        axes = grid[layer, head]
        shown = np.sqrt(found.maps[layer, head])  # small shares are seen too
        axes.imshow(shown, cmap='magma', interpolation='nearest', aspect='equal')
        for start in range(dim, n_tokens, dim):
            axes.axvline(start - 0.5, color='white', linewidth=0.6, alpha=0.6)
            axes.axhline(start - 1.5, color='white', linewidth=0.6, alpha=0.6)
        axes.set_xticks([place for place, _ in places], [letter for _, letter in places], fontsize=6, color=FAINT_INK)
        axes.set_yticks([place - 1 for place, _ in places], [letter for _, letter in places], fontsize=6,
                        color=FAINT_INK)  # fmt: skip
        axes.set_xlim(-0.5, n_tokens - 0.5)
        axes.set_ylim(n_tokens - 0.5, -0.5)
        axes.tick_params(length=0)
        axes.spines[:].set_color(SPINE)
        axes.set_title(f'layer {layer + 1}, head {head + 1}', fontsize=8, color=INK)
        if head == 0:
            axes.set_ylabel('predicted', color=FAINT_INK, fontsize=8)
        if layer == n_layer - 1:
            axes.set_xlabel('attended to', color=FAINT_INK, fontsize=8)
    shares, even = found.by_lag(), found.even().by_lag()[0, 0]
    for layer in range(n_layer):
        axes = grid[layer, -1]
        for head in range(n_head):
            axes.plot(shares[layer, head], marker='o', markersize=3, linewidth=1.2, color=f'C{head}',
                      label=f'head {head + 1}')  # fmt: skip
        axes.plot(even, color=FAINT_INK, linestyle='dashed', linewidth=1, label='even')
        axes.set_xticks(range(len(even)))
        axes.set_ylim(bottom=0)
        axes.set_xlabel('transitions back', color=FAINT_INK, fontsize=8)
        axes.set_ylabel('share of attention', color=FAINT_INK, fontsize=8)
        dress_axes(axes)
        axes.legend(frameon=False, labelcolor=INK, fontsize=7)
    save_picture(figure, savepath, dpi=130)


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('run', help='folder of a training run of the Trajectory Transformer')
    parser.add_argument('--epoch', default='latest', help='checkpoint to load')
    parser.add_argument('--dataset_path', help='file of the data, where it is not that of the name')
    parser.add_argument('--n_windows', type=int, default=512, help='windows that are averaged over')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--savepath', help='the picture to write (default: attention.png in the run)')
    args = parser.parse_args(argv)
    savepath = args.savepath or Path(args.run) / 'attention.png'
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    try:
        epoch = int(args.epoch) if args.epoch.isdecimal() else args.epoch
        found = measure_attention(args.run, epoch, args.dataset_path, args.n_windows, args.seed)
        draw_attention(found, args.run, savepath)
    except InputError as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')
    print(describe(found))
    print(f'wrote {savepath}')


if __name__ == '__main__':
    main()
