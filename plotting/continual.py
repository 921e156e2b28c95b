"""Draw what a sequence of tasks did to each task: scores over time, as a heat map and as a table.

python plotting/continual.py logs/metaworld/mddt/l2m [logs/metaworld/mddt/lora …] [--metric any_success]
    [--savepath continual.png]

It reads the `continual.json` of runs of `config.continual` that were evaluated as they learned (`--eval_every 1`).
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plotting.curve import FAINT_INK, HELDOUT_COLOR, INK
from plotting.pictures import save_picture
from plotting.read_results import is_number
from trajectory.utils.errors import InputError
from trajectory.utils.files import check_regular, read_json

METRICS = ('score', 'any_success')
MAX_BYTES = 2**26
COLORS = 'Blues'


@dataclass(frozen=True)
class Sequence:
    """Scores of a run.

    tasks    : those that are learned in order, then others that are evaluated beside them
    n_learned: how many are learned
    updates  : at which all were evaluated
    scores   : [ evaluations x tasks ]
    current  : [ evaluations ]  the task that was trained on by then
    """

    name: str
    tasks: tuple[str, ...]
    n_learned: int
    updates: tuple[int, ...]
    scores: np.ndarray
    current: tuple[int, ...]

    @property
    def forgotten(self) -> float | None:
        """Mean over the learned tasks of what was lost since each was the present one; None before a second begins."""
        last = [max(e for e, now in enumerate(self.current) if now == task) for task in set(self.current)]
        if len(last) < 2:
            return None
        return float(np.mean([self.scores[e, self.current[e]] - self.scores[-1, self.current[e]] for e in last]))

    @property
    def lost_of_others(self) -> float | None:
        """Mean loss of the others since the first evaluation."""
        others = self.scores[:, self.n_learned :]
        return float((others[0] - others[-1]).mean()) if others.shape[1] else None


def read_sequence(path: str | Path, metric: str = 'score') -> Sequence:
    """Read a run's `continual.json`, given itself or its folder."""
    path = Path(path)
    path = path / 'continual.json' if path.is_dir() else path
    check_regular(path, MAX_BYTES)
    record = read_json(path)
    try:
        learned, others = record['sequence'], record['others']
        tasks, rows = (*learned, *others), record['evaluations']
        scores = [[row['tasks'][task][metric] for task in tasks] for row in rows]
        updates, current = tuple(row['update'] for row in rows), tuple(row['current'] for row in rows)
        numbers = [number for row in scores for number in row]
        fits = rows and all(map(is_number, (*numbers, *updates))) and set(current) <= set(range(len(learned)))
    except (KeyError, TypeError, AttributeError):
        fits = False
    if not fits:
        raise InputError(
            f'{path} holds no scores of tasks over time.\n  Delete it, or train again with --eval_every 1.'
        )
    return Sequence(path.parent.name, tasks, len(learned), updates, np.array(scores, dtype=float), current)


def draw_sequences(sequences: list[Sequence], savepath: str | Path, title: str = '') -> None:
    """Draw a heat map of each run: tasks from top to bottom, time from left to right."""
    rows = max(len(sequence.tasks) for sequence in sequences)
    columns = sum(len(sequence.updates) for sequence in sequences)
    figure = Figure(figsize=(2.4 + 0.62 * columns, 1.3 + 0.34 * rows), layout='constrained')
    FigureCanvasAgg(figure)
    widths = [len(sequence.updates) for sequence in sequences]
    grid = np.atleast_1d(figure.subplots(1, len(sequences), width_ratios=widths))
    for number, (axes, sequence) in enumerate(zip(grid, sequences, strict=True)):
        draw_heat_map(axes, sequence, names=number == 0 or sequence.tasks != sequences[0].tasks)
    figure.suptitle(title, x=0.01, ha='left', color=INK, fontweight='bold', parse_math=False)
    save_picture(figure, savepath, dpi=160)


def draw_heat_map(axes, sequence: Sequence, names: bool = True) -> None:
    """Scores of one run; a frame marks the task that was trained on."""
    axes.imshow(sequence.scores.T, cmap=COLORS, vmin=0, vmax=1, aspect='auto')
    for (e, task), score in np.ndenumerate(sequence.scores):
        color = 'white' if score > 0.55 else INK
        axes.text(e, task, f'{score:.2f}'.removeprefix('0') if score < 1 else '1', ha='center', va='center',
                  color=color, fontsize=7)  # fmt: skip
    for e, now in enumerate(sequence.current):
        if sequence.updates[e]:
            left, right, top, bottom = e - 0.5, e + 0.5, now - 0.5, now + 0.5
            frame = [left, right, right, left, left], [top, top, bottom, bottom, top]
            axes.plot(*frame, color=HELDOUT_COLOR, linewidth=1.6)
    axes.axhline(sequence.n_learned - 0.5, color=INK, linewidth=0.8)
    axes.set_xticks(range(len(sequence.updates)), [f'{n:,}' for n in sequence.updates], fontsize=7)
    axes.set_yticks(range(len(sequence.tasks)), sequence.tasks if names else [], fontsize=7)
    axes.set_xlabel('updates', color=FAINT_INK, fontsize=8)
    axes.set_title(sequence.name, fontsize=8, color=FAINT_INK, parse_math=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=FAINT_INK)


def format_sequences(sequences: list[Sequence]) -> str:
    """A line for each run: final scores, what was forgotten, and what the others lost."""
    lines = []
    for one in sequences:
        final = one.scores[-1, : one.n_learned]
        told = {'forgetting': one.forgotten, 'others lost': one.lost_of_others}
        words = ''.join(f' | {name} {number:.2f}' for name, number in told.items() if number is not None)
        lines.append(f'{one.name:24} final {final.mean():.2f} ({", ".join(f"{score:.2f}" for score in final)}){words}')
    return '\n'.join(lines)


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', help='folders of runs')
    parser.add_argument('--metric', choices=METRICS, default='score', help='success at the last step, or at any')
    parser.add_argument('--savepath', default='continual.png', help='the picture to write')
    args = parser.parse_args(argv)
    try:
        sequences = [read_sequence(run, args.metric) for run in args.runs]
        print(format_sequences(sequences))
        draw_sequences(sequences, args.savepath, title=args.metric.replace('_', ' '))
    except InputError as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')
    print(f'wrote {args.savepath}')


if __name__ == '__main__':
    main()
