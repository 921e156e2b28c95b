"""Runs of the Decision Transformer as folders of `transformers`, and back."""

import json

import numpy as np
import pytest
import torch

from scripts import evaluate
from tests.algorithms.decision_transformer.test_algorithm import SMALL, recording, start, train, write  # noqa: F401
from tests.scripts.test_convert import start_convert
from trajectory.algorithms.decision_transformer import ALGORITHM
from trajectory.algorithms.decision_transformer.huggingface import load_huggingface
from trajectory.storage.run_folder import hash_recipe
from trajectory.utils.errors import InputError


@pytest.fixture(scope='module')
def converted(recording, tmp_path_factory):  # noqa: F811
    """A run, the folder of `transformers` made of it, and the run made of that."""
    logbase = tmp_path_factory.mktemp('logs')
    start(train, 'train', *SMALL, '--dataset_path', recording, '--logbase', logbase)
    run, shared, again = logbase / 'mine/dt/default', logbase / 'shared', logbase / 'mine/dt/again'
    start_convert('--source', run, '--target', shared, '--format', 'huggingface')
    start_convert('--source', shared, '--target', again, '--format', 'run')
    return run, shared, again


@torch.no_grad()
def test_transformers_predicts_what_the_run_does(converted):
    transformers = pytest.importorskip('transformers')
    run, shared, _ = converted
    twin = transformers.DecisionTransformerModel.from_pretrained(shared).eval()
    model = ALGORITHM.load(run).model
    n = 5
    states, actions, to_go = torch.randn(2, n, 11), torch.rand(2, n, 3), torch.rand(2, n, 1)
    times, mask = torch.arange(n).expand(2, n), torch.ones(2, n)
    theirs = twin(states=states, actions=actions, rewards=None, returns_to_go=to_go, timesteps=times,
                  attention_mask=mask)  # fmt: skip
    torch.testing.assert_close(theirs.action_preds, model(states, actions, to_go, times, mask).actions)


def test_a_run_comes_back_as_it_was_and_acts(converted):
    run, _, again = converted
    ours, theirs = (ALGORITHM.load(folder) for folder in (run, again))
    assert ours.identity() == theirs.identity()
    assert (ours.facts, ours.record, ours.epoch) == (theirs.facts, theirs.record, theirs.epoch)
    start(evaluate, 'evaluate', '--config', 'config.decision', '--dataset', 'mine', '--loadpath', 'dt/again',
          '--logbase', again.parents[2], '--max_episode_steps', '3', '--device', 'cpu')  # fmt: skip
    assert list(again.parents[2].glob('mine/evaluations/**/rollout.json'))


def test_a_model_of_others_takes_its_facts_from_the_data_or_its_card(converted, recording, tmp_path):  # noqa: F811
    run, shared, _ = converted
    config = json.loads((shared / 'config.json').read_text())
    theirs = tmp_path / 'theirs'
    theirs.mkdir()
    del config['trajectory']
    (theirs / 'config.json').write_text(json.dumps(config))
    (theirs / 'model.safetensors').write_bytes((shared / 'model.safetensors').read_bytes())
    with pytest.raises(InputError, match='says nothing of the data that the model was trained on'):
        load_huggingface(theirs, tmp_path / 'a')
    with pytest.raises(
        InputError, match=r'state_mean is .\[1.0, 2.0\]., expected a list of numbers, of a length from 11 to 11'
    ):
        load_huggingface(theirs, tmp_path / 'a', 'mine', recording, state_mean=[1.0, 2.0])
    assert not (tmp_path / 'a').exists()
    loaded = ALGORITHM.load(load_huggingface(theirs, tmp_path / 'a', 'mine', recording))
    original = ALGORITHM.load(run)
    np.testing.assert_allclose(loaded.statistics, original.statistics, rtol=1e-6)
    assert (loaded.facts, loaded.facts['K']) == (original.facts, 5)
    assert hash_recipe(tmp_path / 'a') != hash_recipe(run), 'its results would be averaged with another run of the data'
    carded = ALGORITHM.load(load_huggingface(theirs, tmp_path / 'b', 'mine', recording, [1.0] * 11, [2.0] * 11, 10.0))
    assert [each.tolist() for each in carded.statistics] == [[1.0] * 11, [2.0] * 11]
    assert carded.facts['scale'] == 10.0
    assert hash_recipe(tmp_path / 'a') != hash_recipe(tmp_path / 'b')


@pytest.mark.parametrize(('changes', 'message'), [
    ({'n_inner': 7}, 'has n_inner = 7; the network here has None'),
    ({'n_layer': 10**400}, 'n_layer is'), ({'n_layer': 0}, "n_layer is '0', expected a whole number from 1 to 1,000"),
    ({'hidden_size': 'x'}, "hidden_size is 'x', expected a whole number"),
    ({'hidden_size': 32}, 'does not fit the recipe'), ({'hidden_size': 2**16}, 'does not fit the recipe'),
    ({'trajectory': [1]}, 'holds a list, expected an object'),
    ({'trajectory.epoch': '../../../x'}, "epoch is '../../../x', expected a whole number"),
    ({'trajectory.epoch': -1}, "epoch is '-1'"), ({'trajectory.scale': 0}, "scale is '0', expected a number"),
    ({'trajectory.K': 'x'}, "K is 'x'"), ({'trajectory.targets': ['x']}, 'targets is .* expected a list of numbers'),
    ({'trajectory.mode': 'noisy'}, "mode is 'noisy', expected one of normal, delayed"),
    ({'trajectory.state_std': [0.0] * 11}, 'state_std holds 0.0, expected numbers above 0'),
    ({'trajectory.state_mean': [None] * 11}, 'state_mean is'), ({'trajectory.source': {}}, 'says nothing of'),
])  # fmt: skip
def test_configs_of_other_networks_are_refused(converted, tmp_path, changes, message):
    _, shared, _ = converted
    config = json.loads((shared / 'config.json').read_text())
    for name, value in changes.items():
        entry, _, inner = name.partition('.')
        (config[entry] if inner else config)[inner or entry] = value
    (tmp_path / 'config.json').write_text(json.dumps(config))
    (tmp_path / 'model.safetensors').write_bytes((shared / 'model.safetensors').read_bytes())
    with pytest.raises(InputError, match=message):
        load_huggingface(tmp_path, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_another_format_is_refused(converted, capfd):
    for source, wanted in zip(converted, ('huggingface', 'run', 'huggingface'), strict=True):
        with pytest.raises(SystemExit):
            start_convert('--source', source, '--target', source / 'x', '--format', 'reference')
        assert f'can be written in the format {wanted} only' in capfd.readouterr().err
