"""Print the paper's table of scores as LaTeX (needs the package booktabs), our own as a column more if asked.

    python plotting/table.py [--results logs] [--exp_name 'plans/defaults/*'] > table.tex

Our column holds what is comparable: D4RL's datasets, planned in D4RL's physics. What is left out of it is
named in comments beneath the table, and so is where each of its numbers comes from.
"""

import re
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from copy import deepcopy

from plotting import scores
from plotting.read_results import choose_comparable, load_results, mean_and_error, warnings_about
from plotting.scores import BUFFERS, ENVIRONMENTS, SETTINGS, SETTINGS_WITHOUT_ANT
from trajectory.utils.errors import InputError

ALGORITHMS = ('BC', 'MBOP', 'BRAC', 'CQL', 'DT', 'TT')
OURS = 'TT (rerun)'
LINE_BREAKS = re.compile(r'[\x00-\x1f\x7f-\x9f\u2028\u2029]+')  # what could end a comment of LaTeX
RERUNS = {
    'trajectory_transformer': OURS,
    'decision_transformer': 'DT (rerun)',
    'behavior_cloning': 'BC (rerun)',
    'implicit_q': 'IQL (rerun)',
}

BUFFER_NAMES = {'medium-expert': 'Medium-Expert', 'medium': 'Medium', 'medium-replay': 'Medium-Replay'}
ENVIRONMENT_NAMES = {'halfcheetah': 'HalfCheetah', 'hopper': 'Hopper', 'walker2d': 'Walker2d', 'ant': 'Ant'}

# --------------------------------- cells ---------------------------------- #


def get_result(algorithm, buffer, environment, means=scores.means, errors=scores.errors):
    """Look up one score: its mean, and its standard error; each is None where there is none."""
    return means[buffer][environment].get(algorithm), errors[buffer][environment].get(algorithm)


def format_result(mean: float | None, error: float | None = None) -> str:
    if mean is None:
        return '$-$'
    shown_error = '' if error is None else rf' \scriptsize{{\raisebox{{1pt}}{{$\pm {error:.1f}$}}}}'
    return f'${mean:.1f}${shown_error}'


# ---------------------------------- rows ---------------------------------- #


def format_algorithm(algorithm: str) -> str:
    return rf'\multicolumn{{1}}{{c}}{{\bf {algorithm}}}'


def format_algorithms(algorithms) -> str:
    """Lay out the line of headings."""
    titles = [r'\multicolumn{1}{c}{\bf Dataset}', r'\multicolumn{1}{c}{\bf Environment}']
    return join_cells([*titles, *map(format_algorithm, algorithms)])


def format_row(buffer, environment, algorithms, means=scores.means, errors=scores.errors) -> str:
    """Lay out one environment of one buffer: its two names, then a score per algorithm."""
    results = [get_result(algorithm, buffer, environment, means, errors) for algorithm in algorithms]
    names = [BUFFER_NAMES[buffer], ENVIRONMENT_NAMES[environment]]
    return join_cells([*names, *(format_result(*result) for result in results)])


def format_buffer_block(buffer, algorithms, means=scores.means, errors=scores.errors) -> str:
    """Lay out the rows of one buffer, one per environment."""
    rows = [format_row(buffer, environment, algorithms, means, errors) for environment in ENVIRONMENTS]
    return '\n'.join(rows)


def format_averages(label, settings, algorithms, means=scores.means) -> str:
    """Lay out one row of averages; an algorithm that lacks one of the settings has none."""
    averages = [scores.average(means, algorithm, settings) for algorithm in algorithms]
    title = rf'\multicolumn{{2}}{{c}}{{\bf Average ({label})}}'
    return join_cells([title, *map(format_result, averages)])


def format_averages_block(algorithms, means=scores.means) -> str:
    """Lay out the two rows of averages."""
    return '\n'.join(
        [
            format_averages('without Ant', SETTINGS_WITHOUT_ANT, algorithms, means),
            format_averages('all settings', SETTINGS, algorithms, means),
        ]
    )


def join_cells(cells) -> str:
    return ' & '.join(cells) + r' \\'


# --------------------------------- table ---------------------------------- #


def format_table(algorithms=ALGORITHMS, means=scores.means, errors=scores.errors) -> str:
    """Lay out the whole table, from `tabular` to `tabular`."""
    blocks = [format_buffer_block(buffer, algorithms, means, errors) for buffer in BUFFERS]
    blocks = [format_algorithms(algorithms), *blocks, format_averages_block(algorithms, means)]
    return '\n'.join(
        [
            rf'\begin{{tabular}}{{ll{"r" * len(algorithms)}}}',
            r'\toprule',
            '\n\\midrule\n'.join(blocks),
            r'\bottomrule',
            r'\end{tabular}',
        ]
    )


def add_ours(chosen: dict) -> tuple[dict, dict]:
    """Return the published means and errors, with ours beside them.

    chosen : {(buffer, environment, algorithm): experiment}
    """
    means, errors = deepcopy(scores.means), deepcopy(scores.errors)
    for (buffer, environment, algorithm), experiment in chosen.items():
        mean, error = mean_and_error(experiment.scores)
        means[buffer][environment][name_of(algorithm)] = mean
        if error is not None:
            errors[buffer][environment][name_of(algorithm)] = error
    return means, errors


def name_of(algorithm: str) -> str:
    """The heading of our column of an algorithm."""
    return RERUNS.get(algorithm, f'{algorithm} (rerun)')


def settings_of_tt(chosen: dict) -> set[tuple[str, str]]:
    """The (buffer, environment) of our results of TT."""
    return {(buffer, environment) for buffer, environment, algorithm in chosen if name_of(algorithm) == OURS}


def our_columns(chosen: dict) -> list[str]:
    """The headings of our columns, TT's first."""
    names = {name_of(algorithm) for _, _, algorithm in chosen} | {OURS}
    return sorted(names, key=lambda name: [*RERUNS.values(), name].index(name))


def describe_ours(chosen: dict, left_out: list) -> str:
    """Write the comments beneath the table: what our column shows, and what it does not."""
    lines = [f'{", ".join(our_columns(chosen))}: mean and standard error (n - 1) of 100 x score']
    for experiment in chosen.values():
        n = len(experiment.rollouts)
        lines.append(
            f'  {experiment.dataset} {experiment.exp_name}: {name_of(experiment.algorithm)}, n = {n}, '
            f'{experiment.provenance}'
        )
        lines += [f'  beware: {warning}' for warning in warnings_about(experiment)]
    if not chosen:
        lines.append('  nothing comparable was found')
    if left_out:
        lines.append('Left out, because not comparable with the published scores:')
    for experiment, reason in left_out:
        lines.append(f'  {experiment.dataset} {experiment.exp_name}: {reason} ({experiment.provenance})')
    return '\n'.join(f'% {LINE_BREAKS.sub(" ", line)}' for line in lines)


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('--results', metavar='LOGS', help='add our own results, from this folder of logs')
    parser.add_argument('--exp_name', metavar='GLOB', help="of ours only these experiments, e.g. 'plans/*'")
    args = parser.parse_args(argv)
    if args.results is None:
        print(format_table())
        return
    try:
        chosen, left_out = choose_comparable(load_results(args.results, exp_name=args.exp_name))
    except InputError as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')
    print(format_table((*ALGORITHMS, *our_columns(chosen)), *add_ours(chosen)))
    print(describe_ours(chosen, left_out))


if __name__ == '__main__':
    main()
