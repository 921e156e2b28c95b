"""Measure how long things take."""

import time


class Timer:
    """`timer()` returns the seconds since the last call, or since the timer was made."""

    def __init__(self):
        self._start = time.perf_counter()

    def __call__(self, reset=True) -> float:
        now = time.perf_counter()
        elapsed_seconds = now - self._start
        if reset:
            self._start = now
        return elapsed_seconds
