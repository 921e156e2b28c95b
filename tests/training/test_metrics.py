"""What is written to metrics.jsonl and its company, and what a resumed run forgets."""

import json

import pytest

from trajectory.training.metrics import Metrics, require_package
from trajectory.utils.errors import InputError


def steps_in(folder):
    return [json.loads(line)['step'] for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def test_a_row_is_in_the_file_at_once(tmp_path):
    with Metrics(tmp_path) as metrics:
        metrics.write({'step': 1, 'loss': 0.5})
        assert steps_in(tmp_path) == [1]


def test_a_resumed_run_forgets_what_was_written_past_its_checkpoint(tmp_path):
    with Metrics(tmp_path) as metrics:
        for step in (2, 4, 6):
            metrics.write({'step': step})
    with open(tmp_path / 'metrics.jsonl', 'a') as file:
        file.write('{"step": 8, "lo')
    with Metrics(tmp_path, after=4) as metrics:
        metrics.write({'step': 6})
    assert steps_in(tmp_path) == [2, 4, 6]
    with Metrics(tmp_path, after=9):
        assert steps_in(tmp_path) == [2, 4, 6]
    with Metrics(tmp_path):
        assert steps_in(tmp_path) == []


def test_a_full_disk_is_named(tmp_path):
    metrics = Metrics(tmp_path)
    metrics._writers[0]._file.close()
    metrics._writers[0]._file = open('/dev/full', 'wb', buffering=0)
    with metrics, pytest.raises(InputError, match=r'cannot write .*metrics.jsonl: No space left on device'):
        metrics.write({'step': 1})


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Metrics(None, tensorboard=True, wandb='test') as metrics:
        metrics.write({'step': 1})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_names_its_extra():
    with pytest.raises(InputError, match=r'nonesuch is not installed.\n.*pip install -e "\.\[nonesuch\]"'):
        require_package('nonesuch')


def test_tensorboard_gets_the_same_numbers(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with Metrics(tmp_path, tensorboard=True) as metrics:
        metrics.write({'step': 3, 'loss': 0.25})
    events = EventAccumulator(str(tmp_path / 'tensorboard')).Reload()
    assert [(event.step, event.value) for event in events.Scalars('loss')] == [(3, 0.25)]


def test_wandb_gets_the_same_numbers_and_goes_on_with_the_same_run(tmp_path, monkeypatch):
    pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    with Metrics(tmp_path, wandb='test') as metrics:
        metrics.write({'step': 3, 'loss': 0.25})
    run_id = (tmp_path / 'wandb_id.txt').read_text()
    with Metrics(tmp_path, after=3, wandb='test') as metrics:
        metrics.write({'step': 4, 'loss': 0.2})
    assert (tmp_path / 'wandb_id.txt').read_text() == run_id
    assert len(list((tmp_path / 'wandb').glob(f'offline-run-*-{run_id}'))) >= 1
