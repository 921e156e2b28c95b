"""Scripts written against the reference run here, but for what Gymnasium changed in `reset` and `step`."""

import json
import os
import subprocess
import sys
import textwrap
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.scripts.test_train_and_plan import random_episodes
from trajectory import utils
from trajectory.datasets.hdf5 import write_episodes

ROOT = Path(__file__).parents[2]

CONFIG = """
from trajectory.utils import watch

logbase = 'logs/'

base = {
    'train': {'N': 10, 'discount': 0.9, 'n_layer': 1, 'n_head': 1, 'n_embd': 8, 'n_epochs_ref': 50, 'n_saves': 1,
              'logbase': logbase, 'device': 'cpu', 'batch_size': 64, 'learning_rate': 6e-4, 'lr_decay': True,
              'seed': 42, 'embd_pdrop': 0.1, 'resid_pdrop': 0.1, 'attn_pdrop': 0.1, 'step': 1,
              'subsampled_sequence_length': 3, 'termination_penalty': -100, 'exp_name': 'gpt/azure',
              'discretizer': 'QuantileDiscretizer', 'action_weight': 5, 'reward_weight': 1, 'value_weight': 1},
    'plan': {'logbase': logbase, 'gpt_loadpath': 'gpt/azure', 'gpt_epoch': 'latest', 'device': 'cpu',
             'renderer': 'Renderer', 'plan_freq': 1, 'horizon': 2, 'beam_width': 4, 'n_expand': 2, 'k_obs': 1,
             'k_act': None, 'cdf_obs': None, 'cdf_act': 0.6, 'percentile': 'mean', 'max_context_transitions': 3,
             'prefix_context': True, 'vis_freq': 50, 'verbose': True, 'suffix': '0', 'prefix': 'plans/ref/',
             'exp_name': watch([('prefix', ''), ('plan_freq', 'freq'), ('absent', 'x'), ('horizon', 'H')])},
}
tiny = {'plan': {'beam_width': 2}}
"""

TRAIN = """
import numpy as np, torch, pdb
import trajectory.utils as utils
import trajectory.datasets as datasets
from trajectory.models.transformers import GPT

class Parser(utils.Parser):
    dataset: str = 'tiny'
    config: str = 'reference_config'

args = Parser().parse_args('train')
env = datasets.load_environment(args.dataset, 'tiny.hdf5')
sequence_length = args.subsampled_sequence_length * args.step

dataset_config = utils.Config(
    datasets.DiscretizedDataset, savepath=(args.savepath, 'data_config.pkl'), env=args.dataset, N=args.N,
    penalty=args.termination_penalty, sequence_length=sequence_length, step=args.step, discount=args.discount,
    discretizer=args.discretizer,
)
dataset = dataset_config(env=env)
obs_dim, act_dim, transition_dim = dataset.observation_dim, dataset.action_dim, dataset.joined_dim
block_size = args.subsampled_sequence_length * transition_dim - 1

model_config = utils.Config(
    GPT, savepath=(args.savepath, 'model_config.pkl'), vocab_size=args.N, block_size=block_size, n_layer=args.n_layer,
    n_head=args.n_head, n_embd=args.n_embd * args.n_head, observation_dim=obs_dim, action_dim=act_dim,
    transition_dim=transition_dim, action_weight=args.action_weight, reward_weight=args.reward_weight,
    value_weight=args.value_weight, embd_pdrop=args.embd_pdrop, resid_pdrop=args.resid_pdrop,
    attn_pdrop=args.attn_pdrop,
)
model = model_config.make()
model.to(args.device)

warmup_tokens = len(dataset) * block_size
trainer_config = utils.Config(
    utils.Trainer, savepath=(args.savepath, 'trainer_config.pkl'), batch_size=args.batch_size,
    learning_rate=args.learning_rate, betas=(0.9, 0.95), grad_norm_clip=1.0, weight_decay=0.1, lr_decay=args.lr_decay,
    warmup_tokens=warmup_tokens, final_tokens=20 * warmup_tokens, num_workers=0, device=args.device,
)
trainer = trainer_config()
for epoch in range(1):
    trainer.train(model, dataset)
    torch.save(model.state_dict(), f'{args.savepath}/state_{epoch}.pt')
"""

PLAN = """
import json
import numpy as np, torch
import trajectory.utils as utils
import trajectory.datasets as datasets
from trajectory.search import beam_plan, make_prefix, extract_actions, update_context

class Parser(utils.Parser):
    dataset: str = 'tiny'
    config: str = 'reference_config'

args = Parser().parse_args('plan')
dataset_config = utils.load_config(args.logbase, args.dataset, args.gpt_loadpath, 'data_config.pkl')
env = datasets.load_environment(args.dataset, 'tiny.hdf5')
dataset = dataset_config(env=env)
gpt, gpt_epoch = utils.load_model(args.logbase, args.dataset, args.gpt_loadpath, epoch=args.gpt_epoch,
                                  device=args.device)
renderer = utils.make_renderer(args) if args.dataset in ('hopper-medium-v2',) else utils.make_renderer(None, env)
timer = utils.timer.Timer()
discretizer, discount = dataset.discretizer, dataset.discount
observation_dim, action_dim = dataset.observation_dim, dataset.action_dim
value_fn = lambda x: discretizer.value_fn(x, args.percentile)
preprocess_fn = datasets.get_preprocess_fn(env.name)

observation, _ = env.reset(seed=0)      # Gymnasium's
rollout, context, total_reward = [observation.copy()], [], 0
for t in range(5):
    observation = preprocess_fn(observation)
    prefix = make_prefix(discretizer, context, observation, args.prefix_context)
    sequence = beam_plan(gpt, value_fn, prefix, args.horizon, args.beam_width, args.n_expand, observation_dim,
                         action_dim, discount, args.max_context_transitions, verbose=args.verbose, k_obs=args.k_obs,
                         k_act=args.k_act, cdf_obs=args.cdf_obs, cdf_act=args.cdf_act, previous_actions=None)
    sequence_recon = discretizer.reconstruct(sequence)
    action = extract_actions(sequence_recon, observation_dim, action_dim, t=0)
    next_observation, reward, terminal, _, _ = env.step(action)     # Gymnasium's
    total_reward += reward
    score = env.get_normalized_score(total_reward)
    rollout.append(next_observation.copy())
    context = update_context(context, discretizer, observation, action, reward, args.max_context_transitions)
    if terminal: break
    observation = next_observation
renderer.render_rollout('rollout.mp4', rollout, fps=80)
json.dump({'score': score, 'step': t, 'return': total_reward, 'term': terminal, 'gpt_epoch': gpt_epoch,
           'beam_width': args.beam_width, 'savepath': str(args.savepath)}, open('result.json', 'w'))
"""


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp('reference')
    write_episodes(folder / 'tiny.hdf5', random_episodes(), {'env': 'Hopper-v4', 'physics': 'd4rl', 'sources': 'noise'})
    (folder / 'reference_config.py').write_text(CONFIG)
    for name, text in (('train.py', TRAIN), ('plan.py', PLAN)):
        (folder / name).write_text(text)
    return folder


def run(folder, script):
    done = subprocess.run(
        [sys.executable, script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'PYTHONPATH': f'{ROOT}:{folder}'},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_the_references_flow_trains_and_plans(place):
    run(place, 'train.py')
    folder = place / 'logs/tiny/gpt/azure'
    assert {path.name for path in folder.iterdir()} == {
        'data_config.json',
        'model_config.json',
        'trainer_config.json',
        'state_0.pt',
    }
    assert json.loads((folder / 'data_config.json').read_text())['settings']['discount'] == 0.9
    run(place, 'plan.py')
    result = json.loads((place / 'result.json').read_text())
    assert (result['gpt_epoch'], result['beam_width']) == (0, 2)  # the dataset's block is stronger than the base
    assert result['savepath'] == 'logs/tiny/plans/ref/freq1_H2/0'  # a setting that is absent is left out
    assert np.isfinite(result['return'])


def test_recipes_are_found_by_either_name(tmp_path):
    config = utils.Config('trajectory.utils.training:Trainer', verbose=False, savepath=(tmp_path, 'a', 'x.pkl'), n=8)
    assert [path.name for path in (tmp_path / 'a').iterdir()] == ['x.json']  # nothing is pickled
    for name in ('x.pkl', 'x.json'):
        assert dict(utils.load_config(tmp_path, 'a', name)) == dict(config) == {'n': 8}


class Windows(torch.utils.data.Dataset):
    """A map-style dataset that knows nothing but its items."""

    def __init__(self, dataset, with_goal=False):
        self.dataset, self.with_goal = dataset, with_goal

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return self.dataset[index]


@pytest.mark.parametrize('goals', [False, True])
def test_any_map_style_dataset_trains_as_ours(place, goals, caplog):
    from trajectory.datasets import DiscretizedDataset, GoalDataset, load_environment
    from trajectory.models import GPT, ConditionalGPT

    dataset = (GoalDataset if goals else DiscretizedDataset)(
        load_environment('tiny', place / 'tiny.hdf5'), N=10, sequence_length=3, step=1
    )
    weights, tokens = [], []
    for data in (dataset, Windows(dataset)):
        torch.manual_seed(0)
        model = utils.Config(
            ConditionalGPT if goals else GPT,
            verbose=False,
            vocab_size=10,
            block_size=47,
            n_layer=1,
            n_head=1,
            n_embd=8,
            observation_dim=11,
            action_dim=3,
            transition_dim=16,
            action_weight=5,
            reward_weight=1,
            value_weight=1,
            embd_pdrop=0,
            resid_pdrop=0,
            attn_pdrop=0,
        )()
        trainer = utils.Config(
            utils.Trainer,
            verbose=False,
            batch_size=64,
            learning_rate=1e-3,
            betas=(0.9, 0.95),
            grad_norm_clip=1.0,
            weight_decay=0.1,
            lr_decay=True,
            warmup_tokens=1000,
            final_tokens=20000,
            device='cpu',
        )()
        with caplog.at_level('INFO'):
            trainer.train(model, data, n_epochs=1, log_freq=2)
        weights.append(model.state_dict())
        tokens.append(trainer.n_tokens)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert tokens[0] == tokens[1]
    assert 'loss' in caplog.text  # without callbacks the rows are logged


def test_columns_have_the_references_names(place):
    from trajectory.datasets import SequenceDataset, load_environment

    dataset = SequenceDataset(load_environment('tiny', place / 'tiny.hdf5'), sequence_length=2, step=1, penalty=-100)
    n, paths = len(dataset.joined_raw), len(dataset.path_lengths)
    shapes = {
        'observations_raw': (n, 11),
        'actions_raw': (n, 3),
        'rewards_raw': (n, 1),
        'values_raw': (n, 1),
        'rewards_segmented': (paths, 1000, 1),
        'values_segmented': (paths, 1000, 1),
        'discounts': (1000, 1),
    }
    assert {name: getattr(dataset, name).shape for name in shapes} == shapes
    np.testing.assert_array_equal(dataset.rewards_raw[:, 0], dataset.joined_raw[:, -2])
    length = dataset.path_lengths[0]
    np.testing.assert_array_equal(dataset.values_segmented[0, :length, 0], dataset.values_raw[:length, 0])
    # a value is the discounted sum of the rewards after its step
    np.testing.assert_allclose(
        dataset.values_raw[0, 0], (dataset.rewards_raw[1:length, 0] * dataset.discounts[: length - 1, 0]).sum()
    )


def test_small_aliases():
    from trajectory.datasets import load_environment

    x, y = torch.ones(2), torch.zeros(3)
    assert [part.dtype for part in utils.to_device(x, y, device='cpu')] == [torch.float32] * 2
    assert utils.to_device(x, 'meta').device.type == 'meta'
    env = load_environment('Hopper-v4')
    renderer = utils.make_renderer(Namespace(renderer='DebugRenderer', dataset='Hopper-v4'))
    assert type(renderer).__name__ == 'DebugRenderer'
    observation, _ = env.reset(seed=0)
    utils.rendering.set_state(env, observation)
    np.testing.assert_allclose(env.observe(), observation)
    with pytest.raises(AttributeError):
        utils.nothing  # noqa: B018


def test_a_parser_without_experiment_reads_its_flags_alone(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(
        textwrap.dedent("""
        import trajectory.utils as utils
        class Parser(utils.Parser):
            dataset: str = 'a'
            n: int = 3
        args = Parser().parse_args()
        print(args.dataset, args.n)
    """)
    )
    done = subprocess.run(
        [sys.executable, script, '--n', '4'],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.stdout == 'a 4\n'
