"""Draw whether a Trajectory Transformer is good enough to plan with: its predictions against what happened.

python plotting/calibration.py RUN [--savepath calibration.png] [--dataset_path FILE] [--q_run FOLDER]

Four pictures, from episodes that the run held out: predicted against recorded q (a reward and the discounted value
after it) by decile; the spread of q over the actions of a state beside the error; loss by column; and what the
candidate of highest prediction gains where candidates are executed from one simulator state, by horizon and number.
"""

import logging
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from config.offline import Plan
from plotting.curve import FAINT_INK, INK, LOSS_COLOR, dress_axes
from plotting.pictures import save_picture
from plotting.read_results import mean_and_error
from trajectory.algorithms.implicit_q.algorithm import ImplicitQLearning
from trajectory.algorithms.trajectory_transformer.agent import PlanningAgent
from trajectory.algorithms.trajectory_transformer.recovery import load_with_data, spec_of_model
from trajectory.datasets import get_preprocess_fn
from trajectory.rollouts.candidates import Ranking, rank_candidates
from trajectory.search import calibration as measure
from trajectory.search.settings import SearchSettings
from trajectory.utils.errors import InputError, check_positive

log = logging.getLogger(__name__)

SAMPLING = {'k_obs': Plan.k_obs, 'cdf_act': Plan.cdf_act}  # of candidates, as scripts/plan.py draws them


@dataclass(frozen=True)
class Calibration:
    """What was measured of a run.

    predicted, recorded : q of transitions, [ n ]
    of_actions          : predicted q of actions drawn at some of the states, [ S x A ]
    losses              : of each column, in nats
    stop_probability    : mean over all tokens
    rankings            : of each horizon
    layout              : `TransitionLayout`
    is_held_out         : whether the data was held out of training
    is_of_q             : whether a Q-function was measured, in place of predicted values
    """

    predicted: np.ndarray
    recorded: np.ndarray
    of_actions: np.ndarray
    losses: np.ndarray
    stop_probability: float
    rankings: list[Ranking]
    layout: object
    is_held_out: bool
    is_of_q: bool = False

    @property
    def rmse(self) -> float:
        return float(np.sqrt(np.mean((self.predicted - self.recorded) ** 2)))

    @property
    def gap(self) -> float:
        """Mean deviation of predicted q over the actions of one state."""
        return float(self.of_actions.std(axis=1).mean())


def calibrate(run, epoch='latest', dataset_path=None, q_run=None, n_windows=1024, n_states=100, n_actions=64,
              horizons=(1, 5, 15), n_ranked=20, n_candidates=16, follow=50, seed=0) -> Calibration:  # fmt: skip
    """Measure a run.

    run                  : its folder
    q_run                : folder of a run of `config.implicit_q`, whose Q is measured in place of predicted values
    n_windows            : transitions that q is compared at
    n_states, n_actions  : states whose actions are compared, and actions drawn at each
    horizons             : of candidates that are executed
    n_ranked, n_candidates : states they are executed from, and how many from each
    follow               : steps by the mean action after a candidate
    """
    for option, number in (('n_windows', n_windows), ('n_states', n_states), ('n_actions', n_actions),
                           ('n_ranked', n_ranked)):  # fmt: skip
        check_positive(option, number)
    if n_candidates < 2:
        raise InputError(f'n_candidates must be at least 2, got {n_candidates}: one is not ranked.')
    if follow < 0:
        raise InputError(f'follow must be at least 0, got {follow}.')
    found = load_with_data(run, epoch, dataset_path)
    trained, dataset = found.trained, found.dataset
    model, discretizer, discount = trained.model, trained.discretizer.with_repeats(), trained.discount
    value_fn, q_scale = (lambda probs: discretizer.value_fn(probs, 'mean')), 1.0
    if q_run is not None:
        value_fn = ImplicitQLearning.load(Path(q_run)).ranking(
            discretizer, model.layout, SearchSettings(discount=discount)
        )
        q_scale = value_fn.reward_scale
    indices = found.held_out if len(found.held_out) else found.learned
    windows = measure.gather_windows(dataset, discretizer, model, indices, n_windows, seed)
    few = measure.Windows(windows.raw[:n_states], windows.tokens[:n_states])
    losses, stop_probability = measure.column_losses(model, windows)
    spec = spec_of_model(trained, found.name)
    states, rankings = measure.Windows(windows.raw[:n_ranked], windows.tokens[:n_ranked]), []
    for horizon in horizons:
        log.info('executing %s candidates of %s steps from %s states', n_candidates, horizon, len(states.raw))
        mean = SearchSettings(1, 1, 1, discount=discount, action_noise=0.0)
        agent = PlanningAgent(model, discretizer, get_preprocess_fn(spec.id), mean)
        sampled = SearchSettings(horizon, 1, 1, discount=discount, **SAMPLING)
        rankings.append(
            rank_candidates(model, discretizer, spec, states, sampled, n_candidates, agent, follow, seed, value_fn)
        )
    return Calibration(
        measure.predict_q(model, value_fn, windows, discount) / q_scale,
        measure.recorded_q(dataset.layout, windows, discount),
        measure.predict_q(model, value_fn, few, discount, n_actions, seed) / q_scale,
        losses,
        stop_probability,
        rankings,
        dataset.layout,
        bool(len(found.held_out)),
        q_run is not None,
    )


def describe(found: Calibration) -> str:
    """One paragraph that says whether the model is good enough to plan with."""
    of = 'held-out' if found.is_held_out else 'training (nothing was held out)'
    correlation = np.corrcoef(found.predicted, found.recorded)[0, 1]
    parts = [
        f'Of {len(found.predicted)} {of} transitions, predicted and recorded q correlate by {correlation:.2f}, with an '
        f'error (RMSE) of {found.rmse:.1f}. Over the actions of one state predicted q has a deviation of '
        f'{found.gap:.1f}, {found.gap / found.rmse:.2f} of that error. Stop tokens have a probability of '
        f'{found.stop_probability:.2g}.'
    ]
    helps = []
    for ranking in found.rankings:
        n_candidates = ranking.predicted.shape[1]
        gain, error = mean_and_error(ranking.gains(n_candidates).tolist())
        parts.append(
            f'Horizon {ranking.horizon}: the rank correlation of predicted and realized returns is '
            f'{_say(ranking.correlations, 2)}; the best predicted of {n_candidates} gains '
            f'{_say(ranking.gains(n_candidates))} over their mean, and misses the best by {_say(ranking.regrets)} '
            f'(n = {len(ranking.predicted)} states).'
        )
        if error is not None and gain > 2 * error:
            helps.append(str(ranking.horizon))
    if helps:
        parts.append(f'Choosing by prediction pays at horizon {", ".join(helps)}: plan with it.')
    elif found.is_of_q:
        parts.append(
            'At no horizon does choosing by Q pay by two standard errors while the mean action follows; but Q is the '
            'return of going on by it: compare whole episodes, planned with --q_loadpath and without.'
        )
    else:
        parts.append(
            'At no horizon does choosing by prediction pay by two standard errors: do not expect planning to beat the '
            'mean action; more data whose future depends on actions, or a larger model, may.'
        )
    return ' '.join(parts)


def _say(numbers, digits=1):
    mean, error = mean_and_error(numbers.tolist())
    if mean is None:
        return 'not defined, as no candidates differ'
    return f'{mean:.{digits}f}' + ('' if error is None else f' ± {error:.{digits}f}')


def draw_calibration(found: Calibration, title: str, savepath: str | Path) -> None:
    """The four pictures."""
    figure = Figure(figsize=(11, 8), layout='constrained')
    FigureCanvasAgg(figure)
    (deciles, gaps), (columns, gains) = figure.subplots(2, 2)
    figure.suptitle(title, x=0.01, ha='left', color=INK, fontweight='bold', parse_math=False)

    order = np.array_split(np.argsort(found.predicted), 10)
    centres = [found.predicted[part].mean() for part in order]
    quartiles = np.array([np.quantile(found.recorded[part], (0.25, 0.5, 0.75)) for part in order])
    deciles.plot(centres, centres, color=FAINT_INK, linestyle='dashed', linewidth=1, label='as predicted')
    deciles.fill_between(centres, quartiles[:, 0], quartiles[:, 2], color=LOSS_COLOR, alpha=0.2, linewidth=0)
    deciles.plot(centres, quartiles[:, 1], color=LOSS_COLOR, marker='o', markersize=4, label='recorded, quartiles')
    _dress(deciles, 'predicted q, by decile', 'recorded q')

    gaps.hist(found.of_actions.std(axis=1), bins=20, color=LOSS_COLOR, alpha=0.7, label='over the actions of a state')
    gaps.axvline(found.rmse, color=INK, linestyle='dashed', linewidth=1, label='error of q (RMSE)')
    _dress(gaps, 'deviation of predicted q', 'states')

    layout = found.layout
    groups = [('observation', 'C0', layout.observation_dim), ('action', 'C1', layout.action_dim), ('reward', 'C2', 1),
              ('value', 'C3', 1)]  # fmt: skip
    start = 0
    for name, color, width in groups:
        columns.bar(np.arange(start, start + width), found.losses[start : start + width], color=color, label=name)
        start += width
    _dress(columns, 'column of a transition', 'loss, nats')

    for number, ranking in enumerate(found.rankings):
        ns = [n for n in (2, 4, 8, 16, 32, 64, 128) if n <= ranking.predicted.shape[1]]
        means = [mean_and_error(ranking.gains(n).tolist()) for n in ns]
        gains.errorbar(ns, [m for m, _ in means], [e or 0 for _, e in means], color=f'C{number}', marker='o',
                       markersize=4, capsize=3, label=f'horizon {ranking.horizon}')  # fmt: skip
        best = float(ranking.gains_of_best.mean())
        gains.axhline(best, color=f'C{number}', linestyle='dotted', linewidth=1)
    gains.axhline(0, color=FAINT_INK, linewidth=1)
    gains.set_xscale('log', base=2)
    gains.xaxis.set_major_formatter('{x:g}')
    _dress(gains, 'candidates (dotted: the best of all)', 'realized gain of the best predicted')
    save_picture(figure, savepath, dpi=130)


def _dress(axes, across, up):
    axes.set_xlabel(across, color=FAINT_INK)
    axes.set_ylabel(up, color=FAINT_INK)
    dress_axes(axes)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8)


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('run', help='folder of a training run of the Trajectory Transformer')
    parser.add_argument('--epoch', default='latest', help='checkpoint to load')
    parser.add_argument('--dataset_path', help='file of the data, where it is not that of the name')
    parser.add_argument('--q_run', help='folder of a run of config.implicit_q: measure its Q, in units of the data')
    parser.add_argument('--n_windows', type=int, default=1024, help='transitions that q is compared at')
    parser.add_argument('--n_states', type=int, default=100, help='states whose actions are compared')
    parser.add_argument('--n_actions', type=int, default=64, help='actions drawn at each')
    parser.add_argument(
        '--horizons', type=int, nargs='*', default=[1, 5, 15], help='of executed candidates; none: skip'
    )
    parser.add_argument('--n_ranked', type=int, default=20, help='states that candidates are executed from')
    parser.add_argument('--n_candidates', type=int, default=16, help='at each of them')
    parser.add_argument('--follow', type=int, default=50, help='steps by the mean action after a candidate')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--savepath', help='the picture to write (default: calibration.png in the run)')
    args = vars(parser.parse_args(argv))
    run, savepath, epoch = (args.pop(name) for name in ('run', 'savepath', 'epoch'))
    savepath = savepath or Path(run) / 'calibration.png'
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    try:
        found = calibrate(run, int(epoch) if epoch.isdecimal() else epoch, **args)
        draw_calibration(found, str(run), savepath)
    except InputError as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')
    print(describe(found))
    print(f'wrote {savepath}')


if __name__ == '__main__':
    main()
