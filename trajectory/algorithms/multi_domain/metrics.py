"""Numbers of continual learning: forgetting, averages, interquartile means, normalized scores."""

import numpy as np


def forgetting(scores: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What was lost of each task since the last evaluation at which it was the present one.

    scores  : [ evaluations x tasks ]
    current : [ evaluations ]  the task that was trained on by then
    returns : of each task, [ evaluations x tasks ], NaN before two have begun and for those that have not; and the mean
              over the tasks begun, the present one with its 0
    """
    scores, current = np.asarray(scores, dtype=np.float64), np.asarray(current)
    lost = np.full(scores.shape, np.nan)
    for e, now in enumerate(current):
        if now < 1:
            continue
        for task in range(now + 1):
            last = np.flatnonzero(current[: e + 1] == task)[-1]
            lost[e, task] = scores[last, task] - scores[e, task]
    begun = ~np.isnan(lost)
    mean = np.where(begun.any(1), np.where(begun, lost, 0).sum(1) / np.maximum(begun.sum(1), 1), np.nan)
    return lost, mean


def interquartile_mean(scores: np.ndarray) -> float:
    """Mean without a quarter of the tasks, rounded down, at either end.    scores : [ tasks ]"""
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def normalized(score, low, high):
    """0 at `low`, 1 at `high`."""
    return (np.asarray(score, dtype=np.float64) - low) / (np.asarray(high, dtype=np.float64) - low)
