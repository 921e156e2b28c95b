"""Print what plans returned beside the data that their model learned from.

    python plotting/compare.py logs/DATASET/gpt/NAME logs/DATASET/plans/NAME [more plans]

A row for the data's mean return, one for its best tenth, and one for each folder of plans.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path

from plotting.read_results import is_number, load_result, mean_and_error
from trajectory.datasets.describe import read_source
from trajectory.utils.errors import InputError


def compare(run: str | Path, plans: list[str | Path]) -> str:
    """The table.    run : folder of a training run    plans : folders that hold numbered rollouts"""
    source = read_source(Path(run) / 'source.json')
    if wrong := [name for name in ('best_tenth_return', 'episodes') if not is_number(source.get(name))]:
        raise InputError(
            f'{Path(run) / "source.json"} has no number for {", ".join(wrong)}.\n'
            '  Pass the folder of a training run, logs/<dataset>/<exp_name>.'
        )
    rows = [
        ('', 'return', 'n'),
        ('the data, mean', f'{source["mean_return"]:.0f}', str(source['episodes'])),
        ('the data, best tenth', f'{source["best_tenth_return"]:.0f}', str(max(1, source['episodes'] // 10))),
    ]
    for folder in plans:
        returns = [load_result(path)['return'] for path in sorted(Path(folder).glob('**/rollout.json'))]
        if not returns:
            raise InputError(f'{folder} holds no rollout.json.\n  Plan first: python scripts/plan.py --help')
        mean, error = mean_and_error(returns)
        rows.append((f'plans in {folder}', f'{mean:.0f}' + (f' ± {error:.0f}' if error else ''), str(len(returns))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f'{name.ljust(widths[0])}  {value.rjust(widths[1])}  {n.rjust(widths[2])}' for name, value, n in rows]
    return '\n'.join(
        [*lines, f'{source["environment"]}, {source["physics"]} physics; learned from {source["data_source"]}']
    )


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument('run', help='folder of a training run')
    parser.add_argument('plans', nargs='+', help='folders of plans')
    args = parser.parse_args(argv)
    try:
        print(compare(args.run, args.plans))
    except InputError as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')


if __name__ == '__main__':
    main()
