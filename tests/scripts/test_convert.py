"""Conversion by the command line, and planning with what comes out."""

import json
import shutil
import sys

import pytest

from scripts import convert
from tests.scripts.test_train_and_plan import TINY_PLAN, logbase, recording, start  # noqa: F401  fixtures
from tests.support import GOLDEN
from trajectory import utils
from trajectory.algorithms.trajectory_transformer.pretrained import FORMATS
from trajectory.utils import TrainedModel

pytest.importorskip('safetensors')

REFERENCE = GOLDEN / 'reference_run'


def start_convert(*flags):
    """Run the script as the command line would, in this process."""
    given, sys.argv = sys.argv, ['scripts/convert.py', *map(str, flags)]
    try:
        utils.run(convert.main, convert.Parser, experiment=None)
    finally:
        sys.argv = given


def refused(capfd, watched, *flags):
    """Start the script, which must refuse, and leave no trace in a folder.    returns : what it said"""
    before = sorted(watched.rglob('*'))
    capfd.readouterr()
    with pytest.raises(SystemExit) as exit_:
        start_convert(*flags)
    heard = capfd.readouterr()
    assert exit_.value.code == 2
    assert heard.err.startswith('convert.py: error: ')
    assert 'Traceback' not in heard.out + heard.err
    assert sorted(watched.rglob('*')) == before
    return heard.err


@pytest.mark.parametrize('first', FORMATS)
@pytest.mark.parametrize('second', FORMATS)
def test_a_converted_run_plans_as_before(logbase, tmp_path, first, second):  # noqa: F811
    start_convert('--source', logbase / 'tiny/gpt/azure', '--target', tmp_path / 'a', '--format', first)
    start_convert('--source', tmp_path / 'a', '--target', tmp_path / 'b', '--format', second)
    rollouts = []
    for name in ('gpt/azure', tmp_path / 'b'):
        start(
            'plan',
            '--dataset',
            'tiny',
            '--logbase',
            logbase,
            '--gpt_loadpath',
            name,
            *TINY_PLAN,
            '--prefix',
            f'plans/{first}-{second}/',
        )
        path = logbase / f'tiny/plans/{first}-{second}/freq1_H2_beam4/0/rollout.json'
        rollouts.append(json.loads(path.read_text()))
        del rollouts[-1]['identity']  # of how it was trained, which a converted folder does not tell
    assert rollouts[0] == rollouts[1]


def test_it_says_what_it_made_and_what_is_lacking(tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.setenv('D4RL_DATASET_DIR', str(tmp_path / 'absent'))
    start_convert('--source', REFERENCE, '--target', tmp_path / 'x')
    said = capsys.readouterr().out
    assert 'plan.py makes them once the data is there' in caplog.text
    assert f'{tmp_path / "x"} holds the model in the format pretrained, without its bins' in said
    assert 'its logits are those of' in said


def test_a_model_without_its_data_set_is_told_of_it(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv('D4RL_DATASET_DIR', str(tmp_path / 'absent'))
    source = tmp_path / 'source'
    shutil.copytree(REFERENCE, source)
    (source / 'data_config.pkl').unlink()
    flags = ('--source', source, '--target', tmp_path / 'x', '--format', 'reference')
    assert 'Pass --dataset hopper-medium-v2, say' in refused(capfd, tmp_path, *flags)
    start_convert(*flags, '--dataset', 'hopper-medium-v2')
    assert dict(TrainedModel.from_pretrained(tmp_path / 'x').data)['env'] == 'hopper-medium-v2'


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--format', 'onnx'], "expected pretrained or huggingface or reference or run, got 'onnx'"),
        (['--epoch', '16'], 'holds no state_16.pt; the epochs there are: 50'),
        (['--epoch', '16'], 'Pass one of them with --epoch, or --epoch latest.'),
        (['--epoch', 'last'], "expected latest or int, got 'last'"),
        (['--source', 'no such'], 'there is no folder no such'),
        (['--formt', 'reference'], 'unrecognized arguments: --formt reference. Did you mean --format?'),
        (['--dataset_path', 'absent.hdf5'], 'absent.hdf5 is not there'),
    ],
)
def test_what_cannot_be_converted_is_refused(tmp_path, capfd, flags, message):
    given = ['--source', REFERENCE, '--target', tmp_path / 'x']
    assert message in refused(capfd, tmp_path, *given, *flags)


def test_a_target_that_is_there_is_refused(tmp_path, capfd):
    (tmp_path / 'x').mkdir()
    (tmp_path / 'x/mine').touch()
    said = refused(capfd, tmp_path, '--source', REFERENCE, '--target', tmp_path / 'x')
    assert 'x is there already, and nothing in it is written over' in said


def test_a_copy_that_computes_something_else_never_appears(tmp_path, monkeypatch):
    from safetensors import torch as safetensors

    def save_with_a_slip(weights, path, metadata):
        written({**weights, 'ln_f.bias': weights['ln_f.bias'] + 1e-4}, path, metadata=metadata)

    written = safetensors.save_file
    monkeypatch.setattr(safetensors, 'save_file', save_with_a_slip)
    with pytest.raises(RuntimeError, match='computes other logits, by up to'):
        start_convert('--source', REFERENCE, '--target', tmp_path / 'x')
    assert not list(tmp_path.iterdir())
