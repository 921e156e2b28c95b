"""Hugging Face's port of the model, from the real package: the same numbers, both ways."""

import json
import sys

import pytest
import torch

from tests.support import GOLDEN, golden, make_gpt, state_of
from trajectory.algorithms.trajectory_transformer.huggingface import (
    check_port_reads,
    from_huggingface_names,
    from_transformers,
    to_huggingface_names,
    to_transformers,
)
from trajectory.algorithms.trajectory_transformer.pretrained import save_as
from trajectory.utils import InputError, TrainedModel

REFERENCE = GOLDEN / 'reference_run'


@pytest.fixture(scope='module')
def port():
    transformers = pytest.importorskip('transformers')
    return transformers


@pytest.fixture(scope='module')
def reference():
    """The golden model, in double precision, and a batch of it that the port can take a loss of."""
    arrays = golden('gpt')
    model = make_gpt(arrays['config'], state_of(arrays), dtype=torch.float64)
    length = model.block_size
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, model.vocab_size + 1, (4, length + 1), generator=generator)
    mask = torch.rand(4, length, generator=generator) > 0.3
    return model, tokens[:, :-1], tokens[:, 1:].contiguous(), mask


def test_names_go_there_and_back():
    weights = make_gpt(golden('gpt')['config']).state_dict()
    renamed = to_huggingface_names(weights)
    assert {'blocks.0.l1.weight', 'blocks.1.l2.bias', 'tok_emb.weight', 'head.weight', 'pos_emb'} <= renamed.keys()
    assert not [name for name in renamed if 'mlp' in name or 'mask' in name]
    assert [*from_huggingface_names(renamed)] == [name for name in weights if not name.endswith('mask')]


@torch.no_grad()
def test_the_port_computes_the_same_logits_and_loss(port, reference):
    model, tokens, targets, mask = reference
    twin = to_transformers(model.float())
    assert isinstance(twin, port.TrajectoryTransformerModel)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        logits, loss = model.to(dtype)(tokens, targets, mask)
        their_loss, theirs = twin.to(dtype)(tokens, targets=targets, attention_mask=mask)[:2]
        torch.testing.assert_close(theirs, logits, atol=tolerance * float(logits.abs().max()), rtol=0)
        torch.testing.assert_close(their_loss, loss, atol=0, rtol=tolerance)
    model.double()


@torch.no_grad()
@pytest.mark.usefixtures('port')
def test_the_port_looks_inside_and_sees_the_same(reference):
    model, tokens, _, _ = reference
    ours = model(tokens, output_attentions=True, output_hidden_states=True)
    theirs = to_transformers(model.float()).double()(
        tokens, output_attentions=True, output_hidden_states=True, return_dict=True
    )
    model.double()
    torch.testing.assert_close(ours.attentions, theirs.attentions, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours.hidden_states, theirs.hidden_states, atol=1e-6, rtol=0)


def test_a_model_of_the_port_becomes_ours(port):
    torch.manual_seed(0)
    settings = port.TrajectoryTransformerConfig(
        vocab_size=9,
        n_layer=2,
        n_head=2,
        n_embd=16,
        observation_dim=3,
        action_dim=2,
        transition_dim=7,
        block_size=34,
        action_weight=2,
        attn_pdrop=0.3,
    )
    twin = port.TrajectoryTransformerModel(settings).double().eval()
    model = from_transformers(twin).double()
    tokens, targets = torch.randint(0, 10, (2, 3, 34))
    with torch.no_grad():
        logits, loss = model(tokens, targets)
        their_loss, theirs = twin(tokens, targets=targets, attention_mask=torch.ones(3, 34))[:2]
    torch.testing.assert_close(logits, theirs, atol=1e-6, rtol=0)
    torch.testing.assert_close(loss, their_loss, atol=1e-6, rtol=0)
    assert model.blocks[0].attn.attn_drop.p == 0.3
    with torch.no_grad():
        model.head.weight.zero_()
    assert twin.head.weight.abs().sum() > 0


def test_the_port_reads_the_folder_we_write_and_we_read_its(port, tmp_path):
    trained = TrainedModel.from_pretrained(REFERENCE)
    folder = save_as(trained, tmp_path / 'ours', 'huggingface')
    twin = port.TrajectoryTransformerModel.from_pretrained(folder)
    tokens = torch.randint(0, 21, (2, 63))
    check_port_reads(folder, trained.model, tokens)

    for safe in (True, False):
        twin.save_pretrained(tmp_path / f'theirs{safe}', safe_serialization=safe)
        back = TrainedModel.from_pretrained(tmp_path / f'theirs{safe}')
        weights = trained.model.state_dict()
        assert all(torch.equal(weights[name], value) for name, value in back.model.state_dict().items())
        assert back.epoch == 50  # which its config keeps for us


def test_a_folder_that_the_port_reads_otherwise_is_noticed(port, tmp_path):
    trained = TrainedModel.from_pretrained(REFERENCE)
    folder = save_as(trained, tmp_path / 'ours', 'huggingface')
    with torch.no_grad():
        trained.model.head.weight += 1e-3
    with pytest.raises(RuntimeError, match='transformers computes other logits from'):
        check_port_reads(folder, trained.model, torch.zeros(1, 5, dtype=torch.long))
    assert port


def test_settings_that_its_file_leaves_out_are_its_defaults(tmp_path):
    pytest.importorskip('safetensors')
    folder = save_as(TrainedModel.from_pretrained(REFERENCE), tmp_path / 'x', 'huggingface')
    config = json.loads((folder / 'config.json').read_text())
    for name in ('attn_pdrop', 'action_weight', 'trajectory'):
        del config[name]
    (folder / 'config.json').write_text(json.dumps(config))
    trained = TrainedModel.from_pretrained(folder)
    assert (trained.model.action_weight, trained.epoch, trained.data) == (5, None, None)


def test_without_the_package_its_installation_is_named(monkeypatch, caplog):
    model = make_gpt(golden('gpt')['config'])
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(InputError, match=r'no `transformers` with .* port here[\s\S]*pip install .*\[test\]'):
        to_transformers(model)
    caplog.set_level('INFO', 'trajectory')
    check_port_reads(REFERENCE, model, torch.zeros(1, 1, dtype=torch.long))
    assert 'what it would read was not tried' in caplog.text
