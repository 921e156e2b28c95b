"""The one exception that speaks to the user: bad input, told with its remedy.

The scripts print its message without a traceback and exit with code 2; every other exception is a bug of ours.
"""


class InputError(ValueError):
    """Something the user gave does not fit. The message says what was found, what was expected, what to do."""
