"""Looks at a model while it trains: they find what planning finds, and leave the training as it is."""

import json

import pytest
import torch

from tests.scripts.test_resume import recording, rows_of  # noqa: F401  a fixture
from tests.scripts.test_train_and_plan import TINY_MODEL, refused, start

LOOKS = ('--eval_every', '2', '--eval_episodes', '2', '--eval_steps', '2', '--held_out', '0.3')


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_a_look_at_the_model_changes_nothing_and_is_logged(recording, tmp_path):  # noqa: F811
    flags = ('--dataset', 'tiny', '--dataset_path', recording, '--logbase', tmp_path, *TINY_MODEL, '--n_epochs', '3')
    start('train', *flags, '--exp_name', 'seen', *LOOKS)
    start('train', *flags, '--exp_name', 'unseen', '--held_out', '0.3')
    seen, unseen = (
        torch.load(tmp_path / 'tiny' / name / 'state_3.pt', weights_only=True) for name in ('seen', 'unseen')
    )
    assert all(torch.equal(seen[name], unseen[name]) for name in seen)

    rows = rows_of(tmp_path / 'tiny/seen')
    ends = {row['epoch']: row for row in rows if row['epoch'] in (1, 2, 3)}
    assert [epoch for epoch, row in ends.items() if 'return' in row] == [2]
    assert ends[2]['score'] == pytest.approx((ends[2]['return'] + 20.272305) / (3234.3 + 20.272305))
    assert all(0 < row['heldout_loss'] < 20 and row['heldout_loss_value'] > 0 for row in ends.values())
    assert [row for row in rows if 'heldout_loss' in row] == list(ends.values())


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_settings_that_nobody_can_plan_with_are_refused_before_training(
    recording,  # noqa: F811
    tmp_path,
    monkeypatch,
    capfd,
):
    (tmp_path / 'mine.py').write_text('from config.offline import *\ntiny = {"plan": {"k_act": 0}}\n')
    monkeypatch.syspath_prepend(tmp_path)
    said = refused(
        capfd,
        tmp_path,
        'train',
        '--dataset',
        'tiny',
        '--dataset_path',
        recording,
        *TINY_MODEL,
        '--logbase',
        tmp_path,
        '--config',
        'mine',
        '--eval_every',
        '1',
    )
    assert 'k_act must be between 1 and the' in said


def test_a_look_finds_the_return_that_planning_finds(recording, tmp_path):  # noqa: F811
    flags = ('--dataset', 'tiny', '--logbase', tmp_path)
    start(
        'train',
        *flags,
        '--dataset_path',
        recording,
        *TINY_MODEL,
        '--eval_every',
        '1',
        '--eval_steps',
        '2',
        '--eval_episodes',
        '1',
    )
    start('plan', *flags, '--max_episode_steps', '2', '--renderer', 'None', '--max_context_transitions', '3')
    rollout = json.loads(next((tmp_path / 'tiny/plans').glob('**/rollout.json')).read_text())
    assert rows_of(tmp_path / 'tiny/gpt/azure')[-1]['return'] == rollout['return']
