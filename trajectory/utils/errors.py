"""The one exception that speaks to the user: bad input, told with its remedy.

The scripts print its message without a traceback and exit with code 2; every other exception is a bug of ours.
"""


class InputError(ValueError):
    """Something the user gave does not fit. The message says what was found, what was expected, what to do."""


def check_positive(name: str, number: float):
    """Raise InputError for a setting below 1."""
    if number < 1:
        raise InputError(f'{name} must be at least 1, got {number}.\n  Pass --{name} 1, or more.')


def check_fraction(name: str, number: float, may_be_zero: bool = True):
    """Raise InputError for a setting outside 0 … 1."""
    if not 0 <= number <= 1 or (number == 0 and not may_be_zero):
        least = 'from 0 to 1' if may_be_zero else 'above 0, and at most 1'
        raise InputError(f'{name} must be {least}, got {number}.\n  Pass --{name} 0.5, say.')
