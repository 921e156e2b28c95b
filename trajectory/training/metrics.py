"""Keep the numbers of a run: `metrics.jsonl`, one line per log; TensorBoard and Weights & Biases on request."""

import importlib
import json
import secrets
from pathlib import Path

from trajectory.utils.errors import InputError
from trajectory.utils.files import cannot_write, check_regular, write_atomically


class Metrics:
    """Writes rows of numbers, each with its `step`.

    folder      : of the run; without one nothing is written
    after       : the last step of a run that is resumed: what was written past it is forgotten, for it will come
                  again; 0 starts a new file
    tensorboard : write the rows to `folder/tensorboard` too
    wandb       : project of Weights & Biases to write them to as well
    settings    : of the run, for Weights & Biases
    """

    def __init__(self, folder, after: int = 0, tensorboard: bool = False, wandb: str | None = None, settings=None):
        self._writers = []
        if folder is not None:
            self._writers.append(_Lines(Path(folder, 'metrics.jsonl'), after))
        if folder is not None and tensorboard:
            self._writers.append(_TensorBoard(folder, after))
        if folder is not None and wandb is not None:
            self._writers.append(_Wandb(folder, wandb, settings))

    def write(self, row: dict) -> None:
        """Add a row; it is in the file when this returns."""
        for writer in self._writers:
            writer.write(row)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.close()


class _Lines:
    def __init__(self, path, after):
        self._path = path
        kept = _rows_up_to(path, after)
        with write_atomically(path) as partial:
            partial.write_text(''.join(kept), encoding='utf-8')
        self._file = open(path, 'ab', buffering=0)

    def write(self, row):
        try:
            self._file.write((json.dumps(row) + '\n').encode())
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def close(self):
        self._file.close()


class _TensorBoard:
    def __init__(self, folder, after):
        require_package('tensorboard')
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(Path(folder, 'tensorboard'), purge_step=after + 1 if after else None)

    def write(self, row):
        for name, number in row.items():
            if name != 'step' and number is not None:
                self._writer.add_scalar(name, number, row['step'])
        self._writer.flush()

    def close(self):
        self._writer.close()


class _Wandb:
    """One run of Weights & Biases per folder: its id lies in `wandb_id.txt`, so that a resumed run goes on there."""

    def __init__(self, folder, project, settings):
        wandb = require_package('wandb')
        path = Path(folder, 'wandb_id.txt')
        if not path.exists():
            with write_atomically(path) as partial:
                partial.write_text(secrets.token_hex(4))
        self._run = wandb.init(
            project=project,
            id=path.read_text().strip(),
            resume='allow',
            dir=str(folder),
            name='/'.join(Path(folder).parts[-3:]),
            config=settings,
        )

    def write(self, row):
        self._run.log(row, step=row['step'])

    def close(self):
        self._run.finish()


def require_package(name: str):
    """Import an optional package, which is an extra of the same name."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise InputError(
            f'{name} is not installed.\n  Install it: pip install -e ".[{name}]" -c constraints.txt; or '
            f'leave out --{name}.'
        ) from error


def _rows_up_to(path, step):
    """The lines of the file up to a step; a last one that was cut while it was written is dropped."""
    if not step or not path.exists():
        return []
    check_regular(path)
    try:
        lines = path.read_text(encoding='utf-8').splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f'cannot read {path}: {error}.\n  Restore it, or delete it: the log then begins here.'
        ) from error
    kept = []
    for number, line in enumerate(lines, start=1):
        try:
            at = json.loads(line)['step']
            is_late = at > step
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if number == len(lines):
                break
            raise InputError(
                f'line {number} of {path} is no row of numbers with a step.\n'
                '  Delete the line, and give the same command again.'
            ) from error
        if is_late or not line.endswith('\n'):
            break
        kept.append(line)
    return kept
