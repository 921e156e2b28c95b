"""Show how far a loop has come, and how long it will take: in place on a terminal, line by line in a log."""

import shutil
import sys
import time

from tqdm import tqdm

TERMINAL_SECONDS = 0.1  # between two redraws
LOG_SECONDS = 10  # between two lines, where nothing can be redrawn
METER = '{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]'


class Progress:
    """A count towards `total`, reported to standard error with its rate and the time left.

    `total` may be the sequence itself: `for path in Progress(paths, 'paths'): …` counts as it goes. `done` of it were
    counted before, and do not enter the rate.
    """

    def __init__(self, total, name='Progress', done=0):
        self._items = range(total) if isinstance(total, int) else total
        self._name = name
        self._params = {}
        self._n = self._done = done
        self._stream = sys.stderr
        self._on_terminal = self._stream.isatty()
        self._start = self._reported = time.monotonic()
        self._open = True

    def update(self, params=None, n=1):
        """Count n more; `params`, a dict or pairs, are numbers to show beside the count."""
        self._n += n
        if params is not None:
            self.set_description(params)
        elapsed = time.monotonic() - self._reported
        if self._open and elapsed >= (TERMINAL_SECONDS if self._on_terminal else LOG_SECONDS):
            self._report()

    def set_description(self, params):
        """Show these numbers, a dict or pairs, from the next report on."""
        self._params = dict(params)

    def stamp(self):
        """Leave a final line."""
        if self._open:
            self._report(end='\n')
        self._open = False

    def close(self):
        """Stop reporting, and take an unfinished line off the terminal."""
        if self._open and self._on_terminal:
            self._stream.write('\r\x1b[K')
            self._stream.flush()
        self._open = False

    def __iter__(self):
        for item in self._items:
            yield item
            self.update()
        self.stamp()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.close()

    def _report(self, end=''):
        self._reported = time.monotonic()
        line = tqdm.format_meter(
            self._n,
            len(self._items),
            self._reported - self._start,
            prefix=self._name,
            initial=self._done,
            postfix=', '.join(f'{name} {_short(value)}' for name, value in self._params.items()),
            ncols=shutil.get_terminal_size().columns if self._on_terminal else None,
            bar_format=None if self._on_terminal else METER,
        )
        self._stream.write(f'\r\x1b[K{line}{end}' if self._on_terminal else f'{line}\n')
        self._stream.flush()


class Silent:
    """Takes the calls of `Progress` and says nothing."""

    def __init__(self, total=0, name='Progress', done=0):  # noqa: ARG002  the same call makes either
        self._items = range(total) if isinstance(total, int) else total

    def update(self, params=None, n=1):
        pass

    def set_description(self, params):
        pass

    def stamp(self):
        pass

    def close(self):
        pass

    def __iter__(self):
        return iter(self._items)

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        pass


def _short(value) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)
