"""On this machine as many variants run at once as there are workers, and each device has its own."""

import os
from pathlib import Path

import pytest

from trajectory.sweeps import local
from trajectory.sweeps.description import Variant

FAILS = 'boom'
TEXT = """
import os, pathlib, sys, time
me = pathlib.Path(sys.argv[1])
me.with_suffix('.begun').write_text(os.environ['OMP_NUM_THREADS'] + ' ' + os.environ.get('CUDA_VISIBLE_DEVICES', ''))
others = sorted(pathlib.Path('.').glob('*.begun'))
while len(others) % 2 and len(list(pathlib.Path('.').glob('*.begun'))) == len(others):
    time.sleep(0.01)        # for the one that runs beside it
1 / (me.name != 'boom')
"""


@pytest.fixture
def variants(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    script = tmp_path / 'script.py'
    script.write_text(TEXT)
    return [Variant(str(script), (name,), Path(name), (Path(name),), (), {}) for name in ('a', 'b', FAILS, 'c')]


def begun(name):
    return (Path(name).with_suffix('.begun')).read_text().split(' ')


def test_workers_share_the_variants_and_the_cores(variants):
    outcomes = {str(outcome.variant.folder): outcome for outcome in local.run(variants, workers=2)}
    assert {name: outcome.status for name, outcome in outcomes.items()} == {
        'a': 'done',
        'b': 'done',
        FAILS: 'failed',
        'c': 'done',
    }
    assert outcomes[FAILS].why == 'ZeroDivisionError: division by zero'
    assert begun('a') == [str(max(1, os.cpu_count() // 2)), '']


def test_every_device_has_its_own_variant(variants, monkeypatch):
    monkeypatch.setattr('torch.cuda.device_count', lambda: 2)
    assert len(list(local.run(variants))) == 4
    assert {begun('a')[1], begun('b')[1]} == {'0', '1'}


@pytest.mark.parametrize(('given', 'names'), [(None, ['0', '1', '0']), ('3,5', ['3', '5', '3'])])
def test_devices_are_called_as_cuda_does(monkeypatch, given, names):
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if given:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', given)
    assert [local.visible_device(number, 2) for number in range(3)] == names
