"""The Decision Transformer's network against the original's numbers, and Hugging Face's weights both ways."""

import json

import pytest
import torch

from tests.support import golden, state_of
from trajectory.models.decision_transformer import (
    DecisionTransformer,
    action_loss,
    from_huggingface,
    huggingface_config,
    n_parameters,
    to_huggingface,
)
from trajectory.utils.errors import InputError

INPUTS = ('states', 'actions', 'returns_to_go', 'timesteps', 'attention_mask')
KINDS = ('state', 'action', 'return')


@pytest.fixture(scope='module')
def arrays():
    return golden('decision/model')


def make(weights, n_head, **changes):
    width, state_dim = weights['embed_state.weight'].shape
    act_dim = weights['predict_action.0.weight'].shape[0]
    n_layer = 1 + max(int(name.split('.')[2]) for name in weights if name.startswith('transformer.h.'))
    model = DecisionTransformer(
        state_dim, act_dim, width, n_layer, n_head, weights['embed_timestep.weight'].shape[0], **changes
    )
    model.load_state_dict({name: torch.as_tensor(value) for name, value in weights.items()})
    return model.eval()


def inputs_of(arrays):
    return [torch.tensor(arrays[name]) for name in INPUTS]


@torch.no_grad()
@pytest.mark.parametrize('n_head', [1, 2])
def test_predictions_at_real_steps_are_the_originals(arrays, n_head):
    model, inputs = make(state_of(arrays), n_head), inputs_of(arrays)
    real = inputs[-1] == 1
    torch.testing.assert_close(model.embed(*inputs[:-1]), torch.tensor(arrays['embedded']), atol=1e-5, rtol=0)
    found = model(*inputs)
    for kind, predicted in zip(KINDS, (found.states, found.actions, found.returns), strict=True):
        expected = torch.tensor(arrays[f'head{n_head}/{kind}_preds'])
        torch.testing.assert_close(predicted[real], expected[real], atol=1e-5, rtol=0)
    tokens = real.repeat_interleave(3, dim=1)
    expected = torch.tensor(arrays[f'head{n_head}/last_hidden_state'])
    torch.testing.assert_close(model.hidden(*inputs)[tokens], expected[tokens], atol=1e-5, rtol=0)
    loss = action_loss(found.actions, inputs[1], inputs[-1])
    torch.testing.assert_close(loss, torch.tensor(arrays[f'head{n_head}/loss']), atol=0, rtol=1e-5)
    unmasked = model(*inputs[:-1])
    torch.testing.assert_close(
        unmasked.actions, torch.tensor(arrays[f'head{n_head}/unmasked/action_preds']), atol=1e-5, rtol=0
    )


@torch.no_grad()
def test_activations_and_unsquashed_actions_are_the_originals(arrays):
    inputs = inputs_of(arrays)
    real = inputs[-1] == 1
    for name in ('relu', 'gelu', 'gelu_new', 'silu', 'tanh'):
        model = make(state_of(arrays), 2, activation_function=name)
        expected = torch.tensor(arrays[f'activation/{name}/action_preds'])
        torch.testing.assert_close(model(*inputs).actions[real], expected[real], atol=1e-5, rtol=0)
    expected = torch.tensor(arrays['no_tanh/action_preds'])
    found = make(state_of(arrays), 2, action_tanh=False)(*inputs).actions
    torch.testing.assert_close(found[real], expected[real], atol=1e-5, rtol=0)


@torch.no_grad()
def test_real_steps_do_not_depend_on_padding(arrays):
    model, inputs = make(state_of(arrays), 2), inputs_of(arrays)
    real = inputs[-1] == 1
    assert not real.all()
    before = model(*inputs).actions
    for x in inputs[:3]:
        x[~real] = 7.0
    torch.testing.assert_close(model(*inputs).actions[real], before[real], atol=0, rtol=0)
    assert model(*inputs).actions.isfinite().all()


@torch.no_grad()
def test_the_action_asked_for_cannot_matter(arrays):
    model, inputs = make(state_of(arrays), 1), inputs_of(arrays)
    before = model(*inputs).actions[:, -1]
    inputs[1][:, -1] = 5.0
    torch.testing.assert_close(model(*inputs).actions[:, -1], before, atol=0, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize('kind', ['zero', 'nonzero'])
@pytest.mark.parametrize('n_head', [1, 2])
def test_hugging_faces_weights_give_its_predictions(arrays, kind, n_head):
    theirs = golden('decision/huggingface')
    weights = {name: torch.tensor(value) for name, value in state_of(theirs).items()}
    if kind == 'nonzero':
        weights['encoder.wpe.weight'] = torch.tensor(theirs['wpe_nonzero'])
    inputs = inputs_of(arrays)
    real = inputs[-1] == 1
    found = make(from_huggingface(weights), n_head)(*inputs)
    expected = torch.tensor(theirs[f'head{n_head}/{kind}/action_preds'])
    torch.testing.assert_close(found.actions[real], expected[real], atol=1e-5, rtol=0)


@torch.no_grad()
def test_transformers_computes_what_we_do_with_our_weights(arrays, tmp_path):
    transformers = pytest.importorskip('transformers')
    recipe = {'state_dim': 11, 'act_dim': 3, 'hidden_size': 32, 'n_layer': 2, 'n_head': 2, 'max_ep_len': 50,
              'activation_function': 'relu', 'dropout': 0.1, 'action_tanh': True}  # fmt: skip
    model = make(state_of(arrays), 2)
    config = huggingface_config(recipe, n_steps=8)
    (tmp_path / 'config.json').write_text(json.dumps(config))
    torch.save(to_huggingface(model.state_dict()), tmp_path / 'pytorch_model.bin')
    twin = transformers.DecisionTransformerModel.from_pretrained(tmp_path).eval()
    states, actions, to_go, times, mask = inputs_of(arrays)
    theirs = twin(states=states, actions=actions, rewards=None, returns_to_go=to_go, timesteps=times,
                  attention_mask=mask)  # fmt: skip
    real = mask == 1
    torch.testing.assert_close(theirs.action_preds[real], model(states, actions, to_go, times, mask).actions[real])


def test_it_has_the_published_number_of_parameters_and_initial_deviations():
    torch.manual_seed(0)
    model = DecisionTransformer(17, 6)
    assert n_parameters(model) == 730_008
    assert model.transformer.h[0].attn.c_attn.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert model.embed_timestep.weight.std().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(('changes', 'message'), [
    ({'activation_function': 'swish'}, "unknown activation 'swish'; there are: relu"),
    ({'n_head': 3}, 'a width of 128 cannot be shared among 3 heads'),
])  # fmt: skip
def test_what_is_no_network_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        DecisionTransformer(17, 6, **changes)


def test_more_tokens_than_the_context_holds_are_refused():
    model = DecisionTransformer(2, 1, 8, 1)
    with pytest.raises(InputError, match='342 steps are 1026 tokens, more than 1024'):
        model(torch.zeros(1, 342, 2), torch.zeros(1, 342, 1), torch.zeros(1, 342, 1), torch.zeros(1, 342).long())
