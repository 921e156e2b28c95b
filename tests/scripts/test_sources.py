"""Training from data that is fetched by name, D4RL's and Minari's, and planning with what it left, without the data."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest

from tests.scripts.test_train_and_plan import TINY_MODEL, TINY_PLAN, random_episodes, refused, start
from tests.support import serve
from trajectory.datasets.hdf5 import write_episodes
from trajectory.environments.catalogue import d4rl_catalogue

D4RL = 'hopper-medium-v2'
MINARI = 'minari:test/hopper/random-v0'


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host that serves a small file by the name and with the checksum of hopper-medium's."""
    write_episodes(tmp_path / 'published.hdf5', random_episodes(), {})
    content = (tmp_path / 'published.hdf5').read_bytes()
    record = replace(d4rl_catalogue()[D4RL], bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(d4rl_catalogue(), D4RL, record)
    monkeypatch.setenv('D4RL_DATASET_DIR', str(tmp_path / 'store'))
    with serve(content) as server:
        monkeypatch.setenv('D4RL_MIRROR', server.url)
        yield server


def rollout_of(folder):
    return json.loads((folder / 'plans/defaults/freq1_H2_beam4/0/rollout.json').read_text())


def test_d4rls_data_is_fetched_to_be_learned_from_and_not_to_plan(host, tmp_path):
    logs = tmp_path / 'logs'
    start('train', '--dataset', D4RL, '--logbase', logs, *TINY_MODEL)
    assert host.paths == ['/file/hopper_medium-v2.hdf5']
    assert [path.name for path in (tmp_path / 'store').iterdir()] == ['hopper_medium-v2.hdf5']
    shutil.rmtree(tmp_path / 'store')
    start('plan', '--dataset', D4RL, '--logbase', logs, *TINY_PLAN)
    assert len(host.paths) == 1
    assert rollout_of(logs / D4RL)['data_source'] == f'D4RL {D4RL}'


def test_a_wrong_file_ends_training_with_one_message_and_leaves_nothing(host, tmp_path, capfd):
    host.content = b'<html>Not here</html>'
    said = refused(capfd, tmp_path / 'logs', 'train', '--dataset', D4RL, '--logbase', tmp_path / 'logs', *TINY_MODEL)
    assert f'{D4RL} cannot be had from {host.url}/hopper_medium-v2.hdf5: it has 21 bytes there, expected' in said
    assert list((tmp_path / 'store').iterdir()) == []


def test_minaris_data_is_learned_from_and_not_needed_to_plan(tmp_path, monkeypatch):
    pytest.importorskip('minari', reason='Minari is not installed: pip install -e .[minari]')
    from tests.datasets.test_minari import create, make_hopper

    monkeypatch.setenv('MINARI_DATASETS_PATH', str(tmp_path / 'minari'))
    create(make_hopper(reset_noise_scale=0.3), ref_min_score=10.0, ref_max_score=30.0)
    logs = tmp_path / 'logs'
    start(
        'train',
        '--dataset',
        MINARI,
        '--logbase',
        logs,
        *TINY_MODEL,
        '--eval_every',
        '1',
        '--eval_episodes',
        '1',
        '--eval_steps',
        '2',
    )
    rows = [json.loads(row) for row in (logs / MINARI / 'gpt/azure/metrics.jsonl').read_text().splitlines()]
    assert rows[-1]['score'] == pytest.approx((rows[-1]['return'] - 10) / 20)
    shutil.rmtree(tmp_path / 'minari')
    start('plan', '--dataset', MINARI, '--logbase', logs, *TINY_PLAN)
    rollout = rollout_of(logs / MINARI)
    assert rollout['score'] == pytest.approx((rollout['return'] - 10) / 20)
    assert (rollout['environment'], rollout['physics'], rollout['data_source']) == (
        'Hopper-v5',
        'stock',
        'Minari test/hopper/random-v0',
    )
