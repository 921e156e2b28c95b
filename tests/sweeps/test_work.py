"""A run leaves its words in its folder, shares it with nobody, dies with its starter, and says why it failed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trajectory.sweeps import work
from trajectory.sweeps.description import Variant
from trajectory.sweeps.work import Killed, last_words, retrying, run_variant

SECRET = 'not-to-be-seen-anywhere'


@pytest.fixture
def variant(tmp_path):
    """A function that makes a variant of a script with these lines."""

    def make(text, name='run', flags=('--seed', '1')):
        script = tmp_path / f'{name}.py'
        script.write_text(text)
        folder = Path(name)
        return Variant(str(script), flags, folder, (folder,), (), {})

    return make


def test_a_run_leaves_its_words_in_its_folder(variant, tmp_path):
    one = variant('import os, sys; print(sys.argv[1:], os.getcwd(), os.environ["TINT"])')
    assert run_variant(one, tmp_path, {'TINT': 'blue'}) == ''
    assert run_variant(one, tmp_path, {'TINT': 'red'}) == ''
    words = f"$ {one.command_line}\n['--seed', '1'] {tmp_path} "
    assert (tmp_path / one.log).read_text() == f'\n{words}blue\n\n{words}red\n'


@pytest.mark.parametrize(
    ('text', 'why'),
    [
        ('1 / 0', 'ZeroDivisionError: division by zero'),
        (
            'import sys; print("train.py: error: no data.\\n  Get some.", file=sys.stderr); sys.exit(2)',
            'train.py: error: no data.',
        ),
        ('import sys; sys.exit(3)', 'exit code 3'),
        ('import sys; print("1%\\r2%\\r", file=sys.stderr); sys.exit(1)', '2%'),
    ],
)
def test_a_failed_run_says_why(variant, tmp_path, text, why):
    assert run_variant(variant('print("of an earlier start")'), tmp_path) == ''
    assert run_variant(variant(text), tmp_path).strip() == why


def test_a_killed_run_is_tried_again(variant, tmp_path):
    text = (
        'import os, pathlib, signal\n'
        'tries = pathlib.Path("tries"); tries.open("a").write("x")\n'
        'len(tries.read_text()) > 2 or os.kill(os.getpid(), signal.SIGKILL)'
    )
    one = variant(text)
    with pytest.raises(Killed, match='killed by SIGKILL'):
        run_variant(one, tmp_path)
    assert retrying(lambda: run_variant(one, tmp_path), retries=1) == ''
    (tmp_path / 'tries').unlink()
    assert retrying(lambda: run_variant(one, tmp_path), retries=1) == 'killed by SIGKILL, 2 times'


def test_two_processes_never_share_a_folder(variant, tmp_path, monkeypatch):
    monkeypatch.setattr(work, 'PATIENCE', 0)
    one = variant('print(1)')
    (tmp_path / one.folder).mkdir()
    holder = subprocess.Popen(['flock', '--shared', tmp_path / one.log, 'sleep', '60'])
    try:
        deadline = time.monotonic() + 30
        while run_variant(one, tmp_path) != 'another process is running it' and time.monotonic() < deadline:
            time.sleep(0.02)
        assert run_variant(one, tmp_path) == 'another process is running it'
    finally:
        holder.kill()
        holder.wait()


@pytest.mark.skipif(sys.platform != 'linux', reason='the system has to see to it')
def test_a_run_dies_with_the_process_that_started_it(variant, tmp_path):
    one = variant('import os, pathlib, time; pathlib.Path("pid").write_text(f"{os.getpid()}\\n"); time.sleep(60)')
    code = (
        f'from pathlib import Path; from trajectory.sweeps.work import *\n'
        f'run_variant(Variant({one.script!r}, (), Path("run"), (), (), {{}}), Path({str(tmp_path)!r}))'
    )
    starter = subprocess.Popen([sys.executable, '-c', code])
    pid = tmp_path / 'pid'
    deadline = time.monotonic() + 60
    while not (pid.exists() and pid.read_text().endswith('\n')) and time.monotonic() < deadline:
        time.sleep(0.02)
    run = Path('/proc', pid.read_text().strip())
    assert run.exists()
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    while run.exists() and 'zombie' not in (run / 'status').read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not run.exists() or 'zombie' in (run / 'status').read_text()


def test_the_clouds_secrets_do_not_reach_a_run(variant, tmp_path, monkeypatch):
    for name in work.SECRETS:
        monkeypatch.setenv(name, SECRET)
    one = variant('import os; print(os.environ)')
    assert run_variant(one, tmp_path) == ''
    assert SECRET not in (tmp_path / one.log).read_text()


def test_last_words_are_those_of_the_last_start(tmp_path):
    path = tmp_path / 'log'
    path.write_text('plan.py: error: old\n')
    begin = path.stat().st_size
    path.write_text('plan.py: error: old\nTraceback:\nValueError: new\n\n')
    assert last_words(path, begin) == 'ValueError: new'
    assert last_words(path) == 'plan.py: error: old'
