"""Episodes that are recorded: one owner of each folder, and results that say what made them."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch

from tests.scripts.test_train_and_plan import TINY_PLAN, logbase, recording, start  # noqa: F401  fixtures
from trajectory.rollouts.recording import loaded_run
from trajectory.storage.run_folder import lock_folder
from trajectory.utils.errors import InputError

FLAGS = ('--dataset', 'tiny', *TINY_PLAN, '--n_episodes', '2')


def rollouts(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob('*/rollout.json'))]


def test_a_second_plan_for_the_same_folders_is_refused_and_writes_nothing(logbase, capfd):  # noqa: F811
    folder = logbase / 'tiny/plans/owned/freq1_H2_beam4/1'
    with lock_folder(folder), pytest.raises(SystemExit):
        start('plan', *FLAGS, '--logbase', logbase, '--prefix', 'plans/owned/')
    assert 'is being written by process' in capfd.readouterr().err
    assert not list(folder.parent.glob('*/args.json'))


def test_a_plan_clears_what_the_one_before_it_left(logbase):  # noqa: F811
    start('plan', *FLAGS, '--logbase', logbase, '--prefix', 'plans/again/')
    folder = logbase / 'tiny/plans/again/freq1_H2_beam4'
    for name in ('rollout.mp4', '0_plan.mp4'):
        (folder / '0' / name).write_bytes(b'old')
    start('plan', *FLAGS, '--logbase', logbase, '--prefix', 'plans/again/')
    assert not list(folder.glob('*/*.mp4'))
    assert len(rollouts(folder)) == 2


def test_results_say_what_made_them(logbase):  # noqa: F811
    found = {}
    for name, flags in (('a', ()), ('b', ()), ('c', ('--n_expand', '3')), ('d', ('--n_episodes', '1'))):
        start('plan', *FLAGS, '--logbase', logbase, '--prefix', f'plans/{name}/', *flags)
        found[name] = {
            (one['model'], one['identity']) for one in rollouts(logbase / f'tiny/plans/{name}/freq1_H2_beam4')
        }
    assert found['a'] == found['b'] == found['d']
    assert len(found['a']) == 1
    (model, identity), (other_model, other) = *found['a'], *found['c']
    assert model == other_model
    assert identity != other


def test_the_run_that_acts_is_named_by_either_flag(tmp_path):
    (tmp_path / 'data/bc/x').mkdir(parents=True)
    args = SimpleNamespace(logbase=str(tmp_path), dataset='data', loadpath='bc/x', epoch=3)
    assert loaded_run(args) == (tmp_path / 'data/bc/x', 3)
    with pytest.raises(InputError, match='unknown dataset'):
        loaded_run(SimpleNamespace(logbase=str(tmp_path), dataset='dta', gpt_loadpath='x', gpt_epoch='latest'))


def test_weights_that_are_finite_but_make_no_numbers_are_refused(logbase, capfd, tmp_path):  # noqa: F811
    shutil.copytree(logbase / 'tiny/gpt/azure', tmp_path / 'tiny/gpt/azure')
    path = tmp_path / 'tiny/gpt/azure/state_1.pt'
    weights = torch.load(path, weights_only=True)
    weights['ln_f.weight'] = torch.full_like(weights['ln_f.weight'], 3e38)
    weights['head.weight'] *= 1e30
    torch.save(weights, path)
    with pytest.raises(SystemExit):
        start('plan', *FLAGS, '--logbase', tmp_path)
    assert 'not finite' in capfd.readouterr().err
