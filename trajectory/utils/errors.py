"""The exceptions that speak to the user: bad input, told with its remedy, and a run that was stopped.

The scripts print their messages without a traceback; every other exception is a bug of ours.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from signal import SIGTERM


class Stopped(Exception):
    """A run was asked to stop, and is saved.    signum : by which signal"""

    def __init__(self, message: str, signum: int = SIGTERM):
        super().__init__(message)
        self.signum = signum


class InputError(ValueError):
    """Something the user gave does not fit. The message says what was found, what was expected, what to do."""


def shorten(value, length: int = 100) -> str:
    """A value as text for a message; of a long one, the beginning."""
    try:
        return str(value)[:length]
    except ValueError:  # Python writes no whole numbers of thousands of digits
        return f'a whole number of {value.bit_length():,} bits'


def did_you_mean(name, known: Iterable[str]) -> str:
    """` Did you mean 'hammer-v3'?`, or nothing where no known name is near."""
    near = get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return f' Did you mean {near[0]!r}?' if near else ''


def check_positive(name: str, number: float):
    """Raise InputError for a setting below 1."""
    if number < 1:
        raise InputError(f'{name} must be at least 1, got {number}.\n  Pass --{name} 1, or more.')


def check_fraction(name: str, number: float, may_be_zero: bool = True):
    """Raise InputError for a setting outside 0 … 1."""
    if not 0 <= number <= 1 or (number == 0 and not may_be_zero):
        least = 'from 0 to 1' if may_be_zero else 'above 0, and at most 1'
        raise InputError(f'{name} must be {least}, got {number}.\n  Pass --{name} 0.5, say.')
