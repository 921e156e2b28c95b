"""Progress redraws a terminal, adds a line to a log now and then, and Silent takes the same calls."""

import inspect
import os
import pty
import subprocess
import sys

import pytest

from trajectory.utils import Progress, Silent
from trajectory.utils import progress as progress_module


def on_terminal(code):
    """Run code whose standard error is a terminal of 80 columns, and return what appeared there."""
    ours, theirs = pty.openpty()
    command = [sys.executable, '-c', f'import time\nfrom trajectory.utils import Progress\n{code}']
    child = subprocess.Popen(command, stderr=theirs, env={**os.environ, 'COLUMNS': '80'})
    os.close(theirs)
    shown = b''
    while True:
        try:
            read = os.read(ours, 4096)
        except OSError:  # how Linux says that the other side was closed
            read = b''
        if not read:
            break
        shown += read
    os.close(ours)
    assert child.wait() == 0
    return shown.decode()


def test_a_short_loop_leaves_one_line_in_a_log(capsys):
    progress = Progress(3, name='plan')
    for _ in range(3):
        progress.update({'value': 1.23456, 'beam': 32})
    progress.stamp()
    printed, reported = capsys.readouterr()
    assert printed == ''
    assert reported.count('\n') == 1
    assert reported.startswith('plan: 3/3 [')
    assert 'value 1.235, beam 32' in reported
    assert '\r' not in reported


def test_a_long_loop_adds_lines_to_a_log(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, 'LOG_SECONDS', 0)
    progress = Progress(3)
    progress.update([('loss', 0.5)])
    progress.update(n=2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ['1/3', '3/3']
    assert all('loss 0.5' in line for line in lines)


def test_nothing_is_reported_after_the_final_line(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, 'LOG_SECONDS', 0)
    progress = Progress(3)
    progress.stamp()
    progress.stamp()
    progress.update()
    progress.close()
    assert capsys.readouterr().err.count('\n') == 1


def test_a_terminal_is_redrawn_in_one_line_with_rate_and_time_left():
    shown = on_terminal(
        'for n in (bar := Progress(3, "epochs")):\n    time.sleep(0.11); bar.set_description({"loss": n})'
    )
    assert shown.count('\n') == 1
    assert shown.count('\r\x1b[K') >= 2
    final = shown.splitlines()[-1]
    assert '3/3' in final
    assert 'it/s' in final
    assert '00:00' in final
    assert 'loss 2' in final


def test_a_line_is_no_wider_than_the_terminal():
    shown = on_terminal('bar = Progress(1); bar.update({"x" * 100: 1}); bar.stamp()')
    assert len(shown.removeprefix('\r\x1b[K').rstrip()) <= 80


def test_leaving_early_takes_the_line_off_the_terminal():
    shown = on_terminal('with Progress(2) as bar:\n    time.sleep(0.11); bar.update()')
    assert '1/2' in shown
    assert shown.endswith('\r\x1b[K')


@pytest.mark.parametrize('kind', [Progress, Silent])
def test_iterating_gives_the_items(kind):
    assert list(kind(3)) == [0, 1, 2]
    assert list(kind(['a', 'b'], name='paths')) == ['a', 'b']


def test_silent_takes_every_call_of_progress_and_says_nothing(capsys):
    calls = [name for name in vars(Progress) if not name.startswith('_')]
    for name in [*calls, '__init__', '__iter__', '__enter__', '__exit__']:
        expected = inspect.signature(getattr(Progress, name)).parameters
        assert list(inspect.signature(getattr(Silent, name)).parameters) == list(expected), name
    with Silent(3) as silent:
        silent.update({'x': 1}, n=2)
        silent.set_description({'x': 1})
        silent.stamp()
        silent.close()
    assert capsys.readouterr() == ('', '')


def test_a_description_takes_the_place_of_the_one_before(capsys):
    progress = Progress(1)
    progress.set_description({'loss': 1})
    progress.set_description({'value': 2})
    progress.stamp()
    reported = capsys.readouterr().err
    assert 'value 2' in reported
    assert 'loss' not in reported


def test_two_counts_share_no_description(capsys):
    first, second = Progress(1), Progress(1)
    first.set_description({'loss': 1})
    second.stamp()
    assert 'loss' not in capsys.readouterr().err


def test_what_was_done_before_counts_but_is_not_in_the_rate(capsys):
    progress = Progress(100, done=90)
    progress._start -= 2
    progress.update(n=4)
    progress.stamp()
    said = capsys.readouterr().err
    assert '94/100' in said
    assert '2.00it/s' in said
