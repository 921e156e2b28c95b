"""Draw what beam searches of an episode did: the candidates' imagined futures, which survived, and what then happened.

    python scripts/plan.py --dataset hopper-mixed-ppo --trace_freq 20
    python plotting/plan.py logs/hopper-mixed-ppo/plans/defaults/freq1_H5_beam16/0 --step 100 --columns height reward

Beside the episode it writes `searches.png`, one search, and `searches.html`, a page with a slider over all of them,
which needs no network. A candidate is a line, coloured by what it was ranked by; those that survived are thick, the
plan that was taken is black, what then happened red and dashed. `--columns` names what is drawn over time: `height`,
`forward` (the distance from where the search began), `reward`, `value` (what candidates were ranked by), or the number
of a column of the observation; `0:1` draws one column against another, with walls where the environment has some.
"""

import base64
import io
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

import jinja2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from plotting.curve import FAINT_INK, INK, dress_axes
from plotting.pictures import save_picture
from plotting.read_results import load_result
from trajectory.environments.spec import EnvironmentSpec
from trajectory.rendering.renderers import DebugRenderer
from trajectory.search.traces import Searches, SearchTrace
from trajectory.utils.errors import InputError
from trajectory.utils.files import read_json, write_atomically

TEMPLATES = Path(__file__).parent / 'templates'
HAPPENED = '#c8372d'
MAZE_VIEW = 1.0  # metres around a search that are shown at least
NAMES = ('height', 'forward', 'reward', 'value')


class Coordinates:
    """Reads what is drawn out of transitions and observations.

    env : of the episode, for heights, distances and walls
    """

    def __init__(self, env, observation_dim: int):
        self.env, self.observation_dim = env, observation_dim
        self.is_maze = env.walls is not None
        self.renderer = DebugRenderer(env)

    def default(self) -> list[str]:
        """What shows the most: a maze from above, or a robot's height, way and reward."""
        return ['0:1', 'value'] if self.is_maze else ['height', 'forward', 'reward', 'value']

    def check(self, names: list[str]) -> None:
        """Raise InputError for a name that means nothing here."""
        for name in names:
            parts = name.split(':')
            is_numbers = all(part.isdecimal() and int(part) < self.observation_dim for part in parts)
            if not (name in NAMES or (is_numbers and len(parts) <= 2)):
                raise InputError(
                    f'{name} is no column to draw.\n  Pass {", ".join(NAMES)}, a number below '
                    f'{self.observation_dim}, or two of them: 0:1.'
                )
            if self.is_maze and name in NAMES[:2]:
                raise InputError(f'{name} is of walking robots; this is a maze.\n  Pass --columns 0:1, say.')

    def of_observations(self, name: str, observations: np.ndarray) -> np.ndarray:
        """[ T ]  a column along a path that begins where a search did.    observations : [ T x d ]"""
        if name in NAMES[:2]:
            states = self.renderer.to_states(observations)
            hidden = max(1, self.env.robot.model.nq - self.renderer.unpack(observations[:1])[0].shape[1])
            return states[:, hidden if name == 'height' else 0]
        return observations[:, int(name)]


def draw_search(searches: Searches, number: int, coordinates: Coordinates, columns: list[str], title: str) -> Figure:
    """One search.    number : which of them"""
    trace, step = searches.traces[number], int(searches.steps[number])
    first = step // searches.stride
    happened = searches.observations[first : first + len(trace.values)]
    figure = Figure(figsize=(3.4 * len(columns) + 0.6, 3.4), layout='constrained')
    FigureCanvasAgg(figure)
    norm = Normalize(np.quantile(trace.values, 0.05), trace.values.max(), clip=True)  # a few outliers take no colours
    figure.suptitle(f'{title}, step {step}: {trace.values.shape[1]} candidates, {trace.kept.shape[1]} kept', x=0.01,
                    ha='left', color=INK, fontweight='bold', parse_math=False)  # fmt: skip
    axes = np.atleast_1d(figure.subplots(1, len(columns)))
    for panel, name in zip(axes, columns, strict=True):
        draw = _draw_plane if ':' in name else _draw_over_time
        draw(panel, name, trace, searches, first, happened, coordinates, norm)
        dress_axes(panel)
        panel.set_axisbelow(True)
    bar = figure.colorbar(_mappable(norm), ax=axes[-1], fraction=0.06, pad=0.02)
    bar.set_label('ranked by', color=FAINT_INK)
    bar.outline.set_visible(False)
    axes[0].legend(frameon=False, labelcolor=INK, fontsize=7)
    return figure


def _mappable(norm):
    from matplotlib.cm import ScalarMappable

    return ScalarMappable(norm, 'viridis')


def _draw_over_time(panel, name, trace, searches, first, happened, coordinates, norm):
    times = searches.stride * (first + np.arange(len(trace.values)))

    def read(path, values):
        if name == 'value':
            return values
        if name == 'reward':
            return path[:, -2]
        return coordinates.of_observations(name, path[:, : coordinates.observation_dim])

    _draw_fan(panel, trace, norm, lambda path, values: np.column_stack([times[: len(path)], read(path, values)]))
    taken = trace.taken()
    panel.plot(times, read(taken, _values_along(trace)), color='black', linewidth=1.6, label='taken')
    if name == 'reward':
        real = searches.rewards[first : first + len(times)]
    elif name != 'value':
        real = coordinates.of_observations(name, happened)
    else:
        real = []
    if len(real):
        panel.plot(times[: len(real)], real, color=HAPPENED, linestyle='dashed', linewidth=1.4, label='happened')
    panel.set_xlabel('step', color=FAINT_INK)
    panel.set_ylabel(f'column {name}' if name.isdecimal() else name, color=FAINT_INK)
    panel.autoscale_view()


def _draw_plane(panel, name, trace, searches, first, happened, coordinates, norm):  # noqa: ARG001
    x, y = (int(part) for part in name.split(':'))
    if coordinates.is_maze and (x, y) == (0, 1):
        side = coordinates.env.wall_side
        for middle in coordinates.env.walls:
            panel.add_patch(Rectangle(middle - side / 2, side, side, color='0.85', linewidth=0))
    _draw_fan(panel, trace, norm, lambda path, values: path[:, [x, y]])  # noqa: ARG005
    taken = trace.taken()
    panel.plot(taken[:, x], taken[:, y], color='black', linewidth=1.6, label='taken')
    panel.plot(happened[:, x], happened[:, y], color=HAPPENED, linestyle='dashed', linewidth=1.4, label='happened')
    panel.plot(*happened[0, [x, y]], 'o', color=HAPPENED, markersize=4)
    panel.set_xlabel(f'column {x}', color=FAINT_INK)
    panel.set_ylabel(f'column {y}', color=FAINT_INK)
    panel.set_aspect('equal', adjustable='box' if coordinates.is_maze else 'datalim')
    panel.autoscale_view()
    if coordinates.is_maze:  # the walls around it, and not the whole maze
        points = np.concatenate([taken[:, [x, y]], happened[:, [x, y]]])
        middle, half = (points.min(axis=0) + points.max(axis=0)) / 2, max(np.ptp(points, axis=0).max(), MAZE_VIEW)
        panel.set_xlim(middle[0] - half, middle[0] + half)
        panel.set_ylim(middle[1] - half, middle[1] + half)


def _draw_fan(panel, trace, norm, read):
    """A line from each candidate's parent to it.    read : from transitions and values of a path to points [ T x 2 ]"""
    for is_kept in (False, True):
        lines, values = [], []
        for depth, candidate in np.ndindex(trace.values.shape):
            if (candidate in trace.kept[depth]) == is_kept:
                points = read(trace.path_to(depth, candidate), _values_to(trace, depth, candidate))
                lines.append(points[-2:] if len(points) > 1 else np.repeat(points, 2, axis=0))
                values.append(trace.values[depth, candidate])
        width, alpha = (1.3, 0.9) if is_kept else (0.5, 0.6)
        fan = LineCollection(lines, array=np.array(values), cmap='viridis', norm=norm, linewidths=width, alpha=alpha)
        fan.set_capstyle('round')
        panel.add_collection(fan)


def _values_to(trace: SearchTrace, depth: int, candidate: int) -> np.ndarray:
    """What the candidates that lead to one were ranked by, its own the last, [ depth + 1 ]."""
    values = []
    for t in range(depth, -1, -1):
        values.append(trace.values[t, candidate])
        candidate = trace.parents[t, candidate]
    return np.array(values[::-1])


def _values_along(trace):
    return _values_to(trace, len(trace.values) - 1, trace.kept[-1, 0])


def open_episode(folder: Path) -> tuple[Searches, Coordinates, str]:
    """The searches of an episode, how its transitions are read, and a title."""
    searches = Searches.load(folder / 'searches.npz')
    result = load_result(folder)
    record = read_json(folder / 'rollout.json')
    spec = EnvironmentSpec(record['environment'], record['physics'], result.get('dataset'))
    width = searches.observations.shape[1]
    return searches, Coordinates(spec.make(), width), f'{result.get("dataset")}, seed {record.get("seed")}'


def write_page(searches: Searches, coordinates: Coordinates, columns: list[str], title: str, savepath: Path) -> None:
    """A page with every search, and a slider over them."""
    pictures = []
    for number in range(len(searches.traces)):
        buffer = io.BytesIO()
        draw_search(searches, number, coordinates, columns, title).savefig(buffer, format='png', dpi=80)
        pictures.append(base64.b64encode(buffer.getvalue()).decode())
    loader = jinja2.FileSystemLoader(TEMPLATES)
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    text = page.get_template('searches.html').render(title=title, pictures=pictures, steps=searches.steps.tolist())
    with write_atomically(savepath) as partial:
        partial.write_text(text, encoding='utf-8')


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('episode', type=Path, help='folder of an episode that was planned with --trace_freq')
    parser.add_argument('--step', type=int, default=0, help='step whose search is drawn, or the next one there is')
    parser.add_argument('--columns', nargs='+', help='what is drawn; by default what shows the most')
    parser.add_argument('--savepath', type=Path, help='the picture to write (default: searches.png in the episode)')
    args = parser.parse_args(argv)
    try:
        searches, coordinates, title = open_episode(args.episode)
        columns = args.columns or coordinates.default()
        coordinates.check(columns)
        later = np.flatnonzero(searches.steps >= args.step)
        if not len(later):
            raise InputError(
                f'there is no search from step {args.step} on.\n  Pass --step {searches.steps[-1]}, the last.'
            )
        picture, page = args.savepath or args.episode / 'searches.png', args.episode / 'searches.html'
        save_picture(draw_search(searches, int(later[0]), coordinates, columns, title), picture, dpi=130)
        write_page(searches, coordinates, columns, title, page)
    except InputError as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')
    print(f'wrote {picture} and {page}, with {len(searches.traces)} searches')


if __name__ == '__main__':
    main()
