"""Look at recorded episodes before learning from them: what they hold, and everything that is wrong with them.

    python scripts/check_data.py mine.hdf5
    python scripts/check_data.py hopper_medium-v2.hdf5 --output returns.png

A file is in D4RL's layout, one row a step, episodes end to end:

    observations [ steps x d ]    actions [ steps x a ]    rewards, terminals, timeouts [ steps ]    metadata/env

    step       0  1  2  3 | 4  5  6 | 7  8  9
    terminal   .  .  .  X | .  .  . | .  .  .      the robot fell
    timeout    .  .  .  . | .  .  X | .  .  .      the clock ran out; the last episode was cut off

A row holds what was observed, the action then taken, and the reward that it earned. `metadata/env` names a Gymnasium
environment (Hopper-v4), taken stock unless `metadata/physics` says d4rl. The returns are drawn beside the file, or to
--output. The command exits with 2 where the file has violations: what makes scripts/train.py refuse it.
"""

from pathlib import Path

import numpy as np

from plotting.histogram import draw_returns
from trajectory import utils
from trajectory.datasets.inspection import inspect_file
from trajectory.utils.errors import InputError


class Parser(utils.Flags):
    file: str  # the HDF5 file to look at
    dataset: str | None = None  # dataset that the file is taken for, where it does not say so itself
    output: str | None = None  # picture of the returns to write; FILE_returns.png, beside the file, unless given
    rows: int = 10  # rows to list of each violation

    def configure(self):
        super().configure()
        self.add_argument('file')


def main(args):
    # ------------------------------- setup -------------------------------- #
    utils.check_positive('rows', args.rows)
    path = Path(args.file)
    output = Path(args.output or path.with_name(f'{path.stem}_returns.png'))
    if not output.parent.is_dir():
        raise InputError(f'the folder {output.parent} is not there.\n  Make it, or pass another --output.')

    # ------------------------------- report ------------------------------- #
    found = inspect_file(path, args.dataset)
    print_summary(path, found)
    print_ranges(found)
    for kind, list_ in (('violation', found.violations), ('remark', found.remarks)):
        for violation in list_:
            print_violation(kind, violation, found.columns, args.rows)

    # ------------------------------ results ------------------------------- #
    if found.returns is not None and np.isfinite(found.returns).all():
        draw_returns(found.returns, path.name, output, found.scores)
        print(f'\nThe returns are drawn in {output}')
    if found.violations:
        raise InputError(f'{path} cannot be learned from: {len(found.violations)} violations, listed above')
    print(f'Train on it: python scripts/train.py --dataset {found.env.name} --dataset_path {path}')


def print_summary(path, found):
    steps = ', '.join(sorted({f'{len(column):,}' for column in found.columns.values()})) or 'no'
    print(f'{path} | {steps} steps | {path.stat().st_size:,} bytes')
    if found.env is not None:
        print(f'environment {found.env.id}, physics {found.env.physics} | from {found.env.data_source}')
    if found.lengths is not None:
        fell, clock = (int((found.columns[name] == 1).sum()) for name in ('terminals', 'timeouts'))
        print(f'{len(found.lengths):,} episodes: {fell:,} ended by a fall, {clock:,} by the clock')


def print_ranges(found):
    """A table: episodes first, then each column; the constant ones by name alone."""
    rows = [
        (name, values.min(), values.mean(), values.max(), values.std())
        for name, values in (
            ('length', found.lengths),
            ('return', found.returns),
            ('100 x score', None if found.scores is None else 100 * found.scores),
        )
        if values is not None
    ]
    ranges = found.ranges()
    rows += [row for row in ranges if row[-1] > 0]
    width = max([len(row[0]) for row in rows], default=0)
    print(f'\n{"":{width}}{"least":>12}{"mean":>12}{"greatest":>12}{"deviation":>12}')
    for name, *numbers in rows:
        print(f'{name:{width}}' + ''.join(f'{number:>12.5g}' for number in numbers))
    if constant := [f'{name} = {least:.5g}' for name, least, *_, deviation in ranges if deviation == 0]:
        print(f'constant: {", ".join(constant)}')


def print_violation(kind, violation, columns, n_rows):
    print(f'\n{kind}: {violation.text}')
    for row in violation.rows[:n_rows]:
        values = columns[violation.column][row] if violation.column else None
        print(f'    row {row:,}' + ('' if values is None else f': {describe_row(values)}'))
    if len(violation.rows) > n_rows:
        print(f'    and {len(violation.rows) - n_rows:,} more (--rows {len(violation.rows)} lists them)')
    print(f'    {violation.remedy}')


def describe_row(values) -> str:
    """The odd numbers of a row with their places, or the span of a row that is finite."""
    if values.ndim == 0:
        return f'{values:g}'
    odd = np.flatnonzero(~np.isfinite(values))
    return ', '.join(f'[{place}] {values[place]:g}' for place in odd) or f'{values.min():g} to {values.max():g}'


if __name__ == '__main__':
    utils.run(main, Parser, experiment=None)
