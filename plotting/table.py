"""Print the paper's table of scores as LaTeX (needs the package booktabs), our own as a column more if asked.

    python plotting/table.py [--results logs] [--exp_name 'plans/defaults/*'] > table.tex

Our column holds what is comparable: D4RL's data sets, planned in D4RL's physics. What is left out of it is
named in comments beneath the table, and so is where each of its numbers comes from.
"""
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from copy import deepcopy

from plotting import scores
from plotting.read_results import choose_comparable, load_results, mean_and_error, warnings_about
from plotting.scores import BUFFERS, ENVIRONMENTS, SETTINGS, SETTINGS_WITHOUT_ANT
from trajectory.utils.errors import InputError

ALGORITHMS = ('BC', 'MBOP', 'BRAC', 'CQL', 'DT', 'TT')
OURS = 'TT (rerun)'

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
    return '\n'.join([
        format_averages('without Ant', SETTINGS_WITHOUT_ANT, algorithms, means),
        format_averages('all settings', SETTINGS, algorithms, means),
    ])


def join_cells(cells) -> str:
    return ' & '.join(cells) + r' \\'

# --------------------------------- table ---------------------------------- #

def format_table(algorithms=ALGORITHMS, means=scores.means, errors=scores.errors) -> str:
    """Lay out the whole table, from `tabular` to `tabular`."""
    blocks = [format_buffer_block(buffer, algorithms, means, errors) for buffer in BUFFERS]
    blocks = [format_algorithms(algorithms), *blocks, format_averages_block(algorithms, means)]
    return '\n'.join([
        rf'\begin{{tabular}}{{ll{"r" * len(algorithms)}}}',
        r'\toprule',
        '\n\\midrule\n'.join(blocks),
        r'\bottomrule',
        r'\end{tabular}',
    ])


def add_ours(chosen: dict) -> tuple[dict, dict]:
    """Return the published means and errors, with ours beside them.

    chosen : {(buffer, environment): experiment}
    """
    means, errors = deepcopy(scores.means), deepcopy(scores.errors)
    for (buffer, environment), experiment in chosen.items():
        mean, error = mean_and_error(experiment.scores)
        means[buffer][environment][OURS] = mean
        if error is not None:
            errors[buffer][environment][OURS] = error
    return means, errors


def describe_ours(chosen: dict, left_out: list) -> str:
    """Write the comments beneath the table: what our column shows, and what it does not."""
    lines = [f'{OURS}: mean and standard error of 100 x score']
    for experiment in chosen.values():
        n = len(experiment.rollouts)
        lines.append(f'  {experiment.dataset} {experiment.exp_name}: n = {n}, {experiment.provenance}')
        lines += [f'  beware: {warning}' for warning in warnings_about(experiment)]
    if not chosen:
        lines.append('  nothing comparable was found')
    if left_out:
        lines.append('Left out, because not comparable with the published scores:')
    for experiment, reason in left_out:
        lines.append(f'  {experiment.dataset} {experiment.exp_name}: {reason} ({experiment.provenance})')
    return '\n'.join(f'% {line}' for line in lines)


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
    print(format_table((*ALGORITHMS, OURS), *add_ours(chosen)))
    print(describe_ours(chosen, left_out))


if __name__ == '__main__':
    main()
