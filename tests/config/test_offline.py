"""The defaults and what the datasets change are what the published results were made with."""

from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

from config import offline
from trajectory.cli.setup import check_block, reader
from trajectory.utils import Parser

PUBLISHED_TRAIN = dict(
    N=100,
    discount=0.99,
    step=1,
    subsampled_sequence_length=10,
    termination_penalty=-100,
    discretizer='QuantileDiscretizer',
    n_layer=4,
    n_head=4,
    n_embd=32,
    embd_pdrop=0.1,
    resid_pdrop=0.1,
    attn_pdrop=0.1,
    n_epochs_ref=50,
    n_saves=3,
    batch_size=256,
    learning_rate=6e-4,
    lr_decay=True,
    action_weight=5,
    reward_weight=1,
    value_weight=1,
    seed=42,
    logbase='logs/',
    exp_name='gpt/azure',
)
PUBLISHED_PLAN = dict(
    gpt_loadpath='gpt/azure',
    gpt_epoch='latest',
    plan_freq=1,
    horizon=15,
    beam_width=128,
    n_expand=2,
    k_obs=1,
    k_act=None,
    cdf_obs=None,
    cdf_act=0.6,
    percentile='mean',
    max_context_transitions=5,
    prefix_context=True,
    renderer='Renderer',
    vis_freq=50,
    verbose=True,
    logbase='logs/',
    prefix='plans/defaults/',
    suffix='0',
)
PUBLISHED_BLOCKS = {
    'halfcheetah-medium-v2': ({}, dict(horizon=5, beam_width=32)),
    'halfcheetah-medium-replay-v2': ({}, dict(horizon=5, beam_width=32)),
    'halfcheetah-medium-expert-v2': ({}, dict(beam_width=32)),
    'hopper-medium-replay-v2': (dict(n_epochs_ref=80), {}),
    'walker2d-medium-expert-v2': ({}, dict(horizon=5)),
    'walker2d-medium-replay-v2': (
        dict(n_epochs_ref=80),
        dict(horizon=20, beam_width=32, k_act=40, cdf_act=None),
    ),
    'ant-medium-v2': (dict(batch_size=128), dict(horizon=5)),
    'ant-medium-replay-v2': (dict(batch_size=128), dict(horizon=5)),
    'ant-random-v2': (dict(batch_size=128), dict(horizon=5)),
    'hopper-medium-v2': ({}, {}),
    'ant-medium-expert-v2': ({}, {}),
}
SETTINGS = [(experiment, name) for experiment, settings in offline.base.items() for name in settings]


def blocks():
    named = vars(offline).items()
    return {
        name: value
        for name, value in named
        if isinstance(value, dict) and not name.startswith('_') and name not in ('base', 'experiments')
    }


def test_the_defaults_are_the_published_ones():
    assert offline.base['train'].items() >= PUBLISHED_TRAIN.items()
    assert offline.base['plan'].items() >= PUBLISHED_PLAN.items()


@pytest.mark.parametrize('dataset', PUBLISHED_BLOCKS)
def test_a_data_set_gets_the_published_settings(dataset):
    for experiment, published in zip(('train', 'plan'), PUBLISHED_BLOCKS[dataset], strict=True):
        args = Parser().parse_args(experiment, ['--dataset', dataset]).as_dict()
        expected = {**offline.base[experiment], **published}
        expected.pop('exp_name')
        assert {name: args[name] for name in expected} == expected


def test_no_other_data_sets_but_ours_change_anything():
    ours = {'hopper-mixed-ppo', 'maze2d-medium-waypoints'}
    changed = ours | {name for name, parts in PUBLISHED_BLOCKS.items() if any(parts)}
    assert blocks().keys() == {name.replace('-', '_') for name in changed}


def test_a_plan_folder_says_what_varies():
    args = Parser().parse_args('plan', ['--dataset', 'hopper-medium-v2'])
    assert args.exp_name == 'plans/defaults/freq1_H15_beam128'


@pytest.mark.parametrize('name', blocks())
def test_every_block_names_real_settings_and_never_restates_a_default(name):
    check_block(blocks()[name], offline.experiments, name)
    for experiment, changes in blocks()[name].items():
        for setting, value in changes.items():
            assert value != offline.base[experiment][setting], f'{name}: {setting}'


@pytest.mark.parametrize(('experiment', 'name'), SETTINGS)
def test_every_flag_has_help_and_admits_its_defaults(experiment, name):
    hint = get_type_hints(offline.experiments[experiment], include_extras=True)[name]
    assert get_origin(hint) is Annotated, f'{name} has no help: write Flag[type, "what it means"]'
    type_, meaning = get_args(hint)
    assert len(meaning) > 5
    values = [offline.base[experiment][name]]
    values += [block[experiment][name] for block in blocks().values() if name in block.get(experiment, {})]
    for value in values:
        assert callable(value) or reader(type_)(str(value)) == value
