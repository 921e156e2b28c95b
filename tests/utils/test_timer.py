"""A timer counts from its last call."""

import time

from trajectory.utils.timer import Timer


def test_a_timer_starts_again_after_each_call():
    outer, timer = Timer(), Timer()
    time.sleep(0.02)
    first, second = timer(), timer()
    assert first >= 0.02
    assert first + second <= outer()


def test_a_timer_goes_on_when_asked_not_to_reset():
    outer, timer = Timer(), Timer()
    time.sleep(0.02)
    assert 0.02 <= timer(reset=False) <= timer() <= outer()
