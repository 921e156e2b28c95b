"""The blog recipe's collator against its own batches, and a model of `transformers` that learns from it."""

import numpy as np
import pytest
import torch

from tests.datasets.test_return_windows import episodes_of
from tests.support import golden
from trajectory.algorithms.decision_transformer.collator import DecisionTransformerCollator
from trajectory.datasets.hdf5 import write_episodes
from trajectory.datasets.sources import find_source
from trajectory.models.decision_transformer import action_loss

FIELDS = ('states', 'actions', 'rewards', 'returns_to_go', 'timesteps', 'attention_mask')


@pytest.fixture(scope='module')
def arrays():
    return golden('decision/batches')


def collator_of(arrays, **settings):
    config = arrays['config']
    return DecisionTransformerCollator(
        episodes_of(arrays), max_len=config['K'], max_ep_len=config['max_ep_len'], scale=config['scale'], **settings
    )


def test_windows_of_recorded_draws_are_the_recipes(arrays):
    collator = collator_of(arrays)
    np.testing.assert_allclose(collator.p_sample, arrays['huggingface/p_sample'])
    np.testing.assert_allclose(collator.state_mean, arrays['huggingface/state_mean'], rtol=1e-6)
    np.testing.assert_allclose(collator.state_std, arrays['huggingface/state_std'], rtol=1e-6)
    batch = collator.gather(arrays['huggingface/trajectory'], arrays['huggingface/start'])
    assert tuple(batch) == FIELDS
    for name in FIELDS:
        expected = arrays[f'huggingface/{name}']
        error = np.abs(batch[name].numpy() - expected) / np.maximum(1, np.abs(expected))
        assert error.max() < 1e-5, name


def test_draws_are_of_the_generator(arrays):
    first, again, other = (collator_of(arrays, generator=np.random.default_rng(seed))(range(4)) for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in FIELDS)
    assert not torch.equal(first['states'], other['states'])
    assert first['states'].shape == (4, arrays['config']['K'], 5)


def test_a_model_of_transformers_learns_from_it(arrays):
    transformers = pytest.importorskip('transformers')
    collator = collator_of(arrays, generator=np.random.default_rng(0))
    torch.manual_seed(0)
    model = transformers.DecisionTransformerModel(
        transformers.DecisionTransformerConfig(
            state_dim=collator.state_dim,
            act_dim=collator.act_dim,
            hidden_size=16,
            n_layer=1,
            max_ep_len=collator.max_ep_len,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        batch = collator(range(16))
        loss = action_loss(model(**batch).action_preds, batch['actions'], batch['attention_mask'])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:5])


def test_the_trainer_of_transformers_trains_its_model_with_it(tmp_path):
    """The recipe whole: a model whose forward gives the loss, `transformers.Trainer`, and this collator."""
    transformers = pytest.importorskip('transformers')
    pytest.importorskip('accelerate')
    rng = np.random.default_rng(0)
    observations = rng.normal(size=(400, 11)).astype(np.float32)
    write_episodes(tmp_path / 'mine.hdf5', {
        'observations': observations, 'actions': np.tanh(observations[:, :3]), 'terminals': np.zeros(400, bool),
        'rewards': rng.uniform(0, 3, 400).astype(np.float32), 'timeouts': np.arange(1, 401) % 40 == 0,
    }, {'env': 'Hopper-v4', 'physics': 'd4rl'})  # fmt: skip
    collator = DecisionTransformerCollator.of_source(find_source('mine', tmp_path / 'mine.hdf5'))

    class Trainable(transformers.DecisionTransformerModel):
        def forward(self, **batch):
            predicted, real = super().forward(**batch).action_preds, batch['attention_mask'] > 0
            return {'loss': torch.nn.functional.mse_loss(predicted[real], batch['actions'][real])}

    torch.manual_seed(0)
    model = Trainable(transformers.DecisionTransformerConfig(state_dim=11, act_dim=3, hidden_size=32, n_layer=1))
    settings = transformers.TrainingArguments(
        tmp_path / 'out', max_steps=60, per_device_train_batch_size=32, learning_rate=1e-3, warmup_ratio=0.1,
        weight_decay=1e-4, max_grad_norm=0.25, remove_unused_columns=False, logging_steps=10, save_strategy='no',
        report_to='none', use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    trainer = transformers.Trainer(model, settings, data_collator=collator, train_dataset=list(range(1000)))
    trainer.train()
    losses = [row['loss'] for row in trainer.state.log_history if 'loss' in row]
    assert len(losses) == 6
    assert losses[-1] < 0.5 * losses[0]
