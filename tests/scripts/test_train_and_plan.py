"""Both scripts from end to end on a hopper that moves at random, and all that they refuse at the door."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from scripts import evaluate, plan, train
from trajectory import utils
from trajectory.algorithms.trajectory_transformer import agent
from trajectory.datasets.hdf5 import COLUMNS, write_episodes
from trajectory.environments.making import make_environment
from trajectory.search import search

ROOT = Path(__file__).parents[2]
N_STEPS = 300
TINY_MODEL = (
    '--N',
    '10',
    '--n_layer',
    '1',
    '--n_head',
    '1',
    '--n_embd',
    '8',
    '--n_epochs',
    '1',
    '--subsampled_sequence_length',
    '3',
    '--batch_size',
    '64',
    '--log_freq',
    '2',
    '--device',
    'cpu',
)
TINY_PLAN = (
    '--horizon',
    '2',
    '--beam_width',
    '4',
    '--n_expand',
    '2',
    '--max_context_transitions',
    '3',
    '--max_episode_steps',
    '5',
    '--renderer',
    'None',
    '--device',
    'cpu',
)
SCRIPTS = {'train': train, 'plan': plan, 'evaluate': evaluate}


def start(name, *flags):
    """Run a script as the command line would, in this process."""
    given, sys.argv = sys.argv, [f'scripts/{name}.py', *map(str, flags)]
    try:
        utils.run(SCRIPTS[name].main, SCRIPTS[name].Parser, name)
    finally:
        sys.argv = given


def random_episodes():
    """A hopper in D4RL's physics under random actions, from reset to fall."""
    env = make_environment('Hopper-v4', 'd4rl')
    rng = np.random.default_rng(0)
    columns = {name: [] for name in COLUMNS}
    observation, _ = env.reset(seed=0)
    for _ in range(N_STEPS):
        action = rng.uniform(-1, 1, 3)
        following, reward, terminated, _, _ = env.step(action)
        for name, value in zip(COLUMNS, (observation, action, reward, terminated, False), strict=True):
            columns[name].append(value)
        observation = env.reset()[0] if terminated else following
    return {name: np.array(column) for name, column in columns.items()}


@pytest.fixture(scope='module')
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp('data') / 'tiny.hdf5'
    write_episodes(path, random_episodes(), {'env': 'Hopper-v4', 'physics': 'd4rl', 'sources': 'random actions'})
    return path


@pytest.fixture(scope='module')
def logbase(recording, tmp_path_factory):
    """The folder of a trained run."""
    logbase = tmp_path_factory.mktemp('logs')
    start('train', '--dataset', 'tiny', '--dataset_path', recording, '--logbase', logbase, *TINY_MODEL)
    return logbase


@pytest.fixture(scope='module')
def planned(logbase):
    """The folder of two episodes, planned together."""
    start('plan', '--dataset', 'tiny', '--logbase', logbase, '--n_episodes', '2', *TINY_PLAN, '--prefix', 'plans/two/')
    return logbase / 'tiny/plans/two/freq1_H2_beam4'


# --------------------------------- results --------------------------------- #


def test_training_leaves_a_whole_run(logbase):
    folder = logbase / 'tiny/gpt/azure'
    names = {path.name for path in folder.iterdir()} - {'diff.txt'}
    assert names == {
        'args.json',
        'data_config.json',
        'model_config.json',
        'trainer_config.json',
        'discretizer.npz',
        'source.json',
        'metrics.jsonl',
        'state_1.pt',
        'resume.pt',
        'learning_curve.png',
        'finished.json',
    }
    for path in folder.glob('*.json'):
        assert json.loads(path.read_text())
    rows = [json.loads(row) for row in (folder / 'metrics.jsonl').read_text().splitlines()]
    assert rows[-1]['epoch'] == 1
    assert all(np.isfinite(row['loss']) for row in rows)
    source = json.loads((folder / 'source.json').read_text())
    assert (source['environment'], source['physics'], source['data_source']) == ('Hopper-v4', 'd4rl', 'random actions')
    assert source['transitions'] == N_STEPS - 1
    model, epoch = utils.load_model(folder)
    assert (epoch, model.observation_dim, model.action_dim, model.block_size) == (1, 11, 3, 3 * 16 - 1)


def test_seeds_give_other_weights_and_equal_seeds_equal_bits(recording, tmp_path):
    weights = {}
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        start(
            'train',
            '--dataset',
            'tiny',
            '--dataset_path',
            recording,
            '--logbase',
            tmp_path,
            '--exp_name',
            name,
            *TINY_MODEL,
            '--seed',
            seed,
            '--learning_rate',
            '1e-30',
            '--embd_pdrop',
            '0.5',
        )
        weights[name] = torch.load(tmp_path / 'tiny' / name / 'state_1.pt', weights_only=True)
        rows = (tmp_path / 'tiny' / name / 'metrics.jsonl').read_text().splitlines()
        weights[name]['losses'] = [json.loads(row)['loss'] for row in rows]  # of dropout and the windows' order
    assert all(torch.equal(weights['a'][name], weights['b'][name]) for name in weights['a'] if name != 'losses')
    assert weights['a']['losses'] == weights['b']['losses']
    assert not torch.equal(weights['a']['tok_emb.weight'], weights['c']['tok_emb.weight'])
    assert weights['a']['losses'][0] != weights['c']['losses'][0]


def test_planning_leaves_whole_episodes(planned):
    for suffix, seed in (('0', 42), ('1', 43)):
        folder = planned / suffix
        assert {path.name for path in folder.iterdir()} - {'diff.txt'} == {'args.json', 'rollout.json', 'timing.json'}
        rollout = json.loads((folder / 'rollout.json').read_text())
        assert {
            name: rollout[name]
            for name in ('step', 'term', 'seed', 'environment', 'physics', 'gpt_epoch', 'dataset', 'data_source')
        } == {
            'step': 5,
            'term': False,
            'seed': seed,
            'environment': 'Hopper-v4',
            'physics': 'd4rl',
            'gpt_epoch': 1,
            'dataset': 'tiny',
            'data_source': 'random actions',
        }
        assert np.isfinite(rollout['return'])
        assert rollout['score'] == pytest.approx((rollout['return'] + 20.272305) / (3234.3 + 20.272305))
        assert json.loads((folder / 'args.json').read_text())['seed'] == seed
        assert json.loads((folder / 'timing.json').read_text())['episodes'] == 2


def test_equal_commands_plan_equal_episodes(logbase, planned):
    start(
        'plan', '--dataset', 'tiny', '--logbase', logbase, *TINY_PLAN, '--n_episodes', '2', '--prefix', 'plans/again/'
    )
    for suffix in '01':
        again = logbase / 'tiny/plans/again/freq1_H2_beam4' / suffix / 'rollout.json'
        assert again.read_bytes() == (planned / suffix / 'rollout.json').read_bytes()


def test_an_episode_in_company_is_the_episode_alone(logbase, planned):
    start('plan', '--dataset', 'tiny', '--logbase', logbase, *TINY_PLAN, '--prefix', 'plans/alone/', '--seed', '43')
    alone = logbase / 'tiny/plans/alone/freq1_H2_beam4/0/rollout.json'
    together = planned / '1/rollout.json'
    assert alone.read_bytes() == together.read_bytes()
    assert together.read_bytes() != (planned / '0/rollout.json').read_bytes()


def test_a_plan_can_be_followed_for_longer(logbase):
    start(
        'plan',
        '--dataset',
        'tiny',
        '--logbase',
        logbase,
        *TINY_PLAN,
        '--plan_freq',
        '2',
        '--verbose',
        'False',
        '--prefix_context',
        'False',
        '--percentile',
        '0.5',
    )
    assert json.loads((logbase / 'tiny/plans/defaults/freq2_H2_beam4/0/rollout.json').read_text())['step'] == 5


def test_equal_commands_train_equal_weights_and_other_seeds_others(recording, logbase):
    for name, seed in (('again', 42), ('other', 1)):
        start(
            'train',
            '--dataset',
            'tiny',
            '--dataset_path',
            recording,
            '--logbase',
            logbase,
            '--exp_name',
            name,
            '--seed',
            seed,
            *TINY_MODEL,
        )
    weights, again, other = (
        torch.load(logbase / 'tiny' / name / 'state_1.pt', weights_only=True)
        for name in ('gpt/azure', 'again', 'other')
    )
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not torch.equal(weights['head.weight'], other['head.weight'])


@pytest.mark.parametrize('name', SCRIPTS)
def test_a_script_in_a_process_of_its_own_exits_with_2(name, tmp_path):
    done = subprocess.run(
        [sys.executable, f'scripts/{name}.py', '--dataset', 'hoper-medium-v2', '--logbase', tmp_path / 'logs'],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f'{name}.py: error: ')
    assert 'Traceback' not in done.stderr
    assert list(tmp_path.iterdir()) == []


# -------------------------------- bad input -------------------------------- #


def refused(capfd, watched, name, *flags):
    """Start a script that must refuse its input, and leave no trace in a folder.    returns : what it said"""
    before = sorted(watched.rglob('*'))
    capfd.readouterr()
    with pytest.raises(SystemExit) as exit_:
        start(name, *flags)
    heard = capfd.readouterr()
    assert exit_.value.code == 2
    assert heard.err.startswith(f'{name}.py: error: ')
    assert heard.err.count('error: ') == 1
    assert 'Traceback' not in heard.out + heard.err
    assert sorted(watched.rglob('*')) == before
    return heard.err


def cut_off(path):
    path.write_bytes(path.read_bytes()[:5000])


def forget_actions(path):
    with h5py.File(path, 'a') as file:
        del file['actions']


def spoil_a_reward(path):
    with h5py.File(path, 'a') as file:
        file['rewards'][7] = np.nan


def rewrite(path, metadata=('Hopper-v4', 'd4rl'), **changes):
    write_episodes(path, {**random_episodes(), **changes}, dict(zip(('env', 'physics'), metadata, strict=True)))


def widen(path):
    rewrite(path, observations=np.zeros((N_STEPS, 12)))


def narrow_actions(path):
    rewrite(path, actions=np.zeros((N_STEPS, 2)))


def call_it_an_ant(path):
    rewrite(path, metadata=('Ant-v4', 'd4rl'))


def call_it_unknown(path):
    rewrite(path, metadata=('Hoper-v4', 'stock'))


def empty(path):
    write_episodes(path, {name: column[:0] for name, column in random_episodes().items()}, {'env': 'Hopper-v4'})


def fall_every_other_step(path):
    rewrite(path, terminals=np.arange(N_STEPS) % 2 == 1)


def remove(path):
    path.unlink()


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (remove, 'tiny.hdf5 is not there.\n  Check the path after --dataset_path'),
        (cut_off, 'is not a whole HDF5 file'),
        (forget_actions, "has no 'actions'; it holds metadata, observations"),
        (spoil_a_reward, "'rewards' has 1 values that are not finite, the first in row 7"),
        (widen, "'observations' of tiny has 12 columns, those of its environment Hopper-v4 11"),
        (narrow_actions, "'actions' of tiny has 2 columns, those of its environment Hopper-v4 3"),
        (call_it_an_ant, 'expected an ant observation of 111 columns (or the first 27 of them), found 11'),
        (call_it_unknown, "'Hoper-v4' is not an environment"),
        (empty, 'holds no steps'),
        (fall_every_other_step, 'the longest of 150 episodes has 2 steps, fewer than a window of 3'),
    ],
)
def test_data_that_does_not_fit_is_refused(recording, tmp_path, capfd, spoil, message):
    path = shutil.copy(recording, tmp_path)
    spoil(Path(path))
    assert message in refused(
        capfd,
        tmp_path,
        'train',
        '--dataset',
        'tiny',
        '--dataset_path',
        path,
        '--logbase',
        tmp_path / 'logs',
        *TINY_MODEL,
    )


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (
            ['--dataset', 'hoper-medium-v2', '--dataset_path', 'None'],
            "unknown dataset 'hoper-medium-v2'; did you mean hopper-medium-v2?",
        ),
        (['--device', 'tpu'], "there is no device 'tpu' here; there is cpu"),
        (['--device', 'cuda:99'], "there is no device 'cuda:99' here"),
        (['--batchsize', '3'], 'unrecognized arguments: --batchsize 3. Did you mean --batch_size?'),
        (['--lr', '3'], 'unrecognized arguments: --lr 3'),
        (['--n_layer', 'two'], "expected int, got 'two'"),
        (['--config', 'config.absent'], "there is no module 'config.absent'"),
        (['--seed', '-1'], 'a seed is between 0 and'),
        (['--threads', '0'], 'threads must be at least 1, got 0'),
        *[
            ([f'--{name}', number], f'{name} must be at least 1, got {number}')
            for name in (
                'n_epochs',
                'batch_size',
                'n_layer',
                'n_head',
                'n_embd',
                'step',
                'subsampled_sequence_length',
                'n_saves',
                'log_freq',
            )
            for number in ('0', '-3')
        ],
        (['--N', '0'], "N is '0', expected a whole number from 1 to 32,768.\n  Pass other values."),
        (['--N', '-3'], "N is '-3', expected a whole number"),
        (['--n_epochs', 'None', '--n_epochs_ref', '0'], 'n_epochs_ref = 0 make 0 epochs.\n  Pass --n_epochs 1'),
        (['--learning_rate', '0'], 'learning_rate must be above 0, and at most 1, got 0'),
        (['--learning_rate', '-1e-3'], 'learning_rate must be above 0'),
        (['--learning_rate', 'inf'], "argument --learning_rate: expected float, got 'inf'"),
        (['--discount', '0'], 'discount must be above 0'),
        (['--discount', '1.1'], 'discount must be above 0, and at most 1, got 1.1'),
        (['--action_weight', '-1'], "action_weight is '-1.0', expected a number from 0 to 1,000,000"),
        (['--N', '99999'], "N is '99999', expected a whole number from 1 to 32,768"),
        (['--n_embd', '30000'], 'the largest that is read has'),
        (['--termination_penalty', '1e20'], "penalty is '1e+20', expected a number from"),
        (['--attn_pdrop', '1.5'], 'attn_pdrop must be from 0 to 1, got 1.5'),
        (['--discretizer', 'KMeans'], "expected QuantileDiscretizer or UniformDiscretizer, got 'KMeans'"),
        (['--max_path_length', '5'], 'more than max_path_length = 5'),
        (['--subsampled_sequence_length', '999'], 'fewer than a window of 999'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_settings_that_cannot_train_are_refused(recording, tmp_path, capfd, flags, message):
    given = ['--dataset', 'tiny', '--dataset_path', recording, '--logbase', tmp_path / 'logs', *TINY_MODEL, *flags]
    assert message in refused(capfd, tmp_path, 'train', *given)


@pytest.mark.skipif(torch.cuda.is_available(), reason='a machine without CUDA is what this is about')
@pytest.mark.parametrize('name', SCRIPTS)
def test_a_missing_cuda_is_named(name, tmp_path, capfd):
    said = refused(capfd, tmp_path, name, '--device', 'cuda', '--logbase', tmp_path / 'logs')
    assert "there is no device 'cuda:0' here; there is cpu" in said
    assert '--device cpu' in said


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--gpt_loadpath', 'gpt/absent'], 'there is no run in'),
        (['--dataset', 'hoper-mixed-ppo'], "unknown dataset 'hoper-mixed-ppo'; did you mean hopper-mixed-ppo?"),
        (['--dataset', 'hopper-medium-v2'], 'python scripts/train.py --dataset hopper-medium-v2 --exp_name gpt/azure'),
        (['--gpt_epoch', '7'], 'holds no state_7.pt; the epochs there are: 1'),
        (['--plan_freq', '3'], 'a plan of 2 transitions cannot be followed for 3 steps.\n  Pass --plan_freq 2'),
        (['--device', 'tpu'], "there is no device 'tpu' here"),
        (['--renderer', 'Rendererer'], "got 'Rendererer'"),
        (['--horizn', '3'], 'unrecognized arguments: --horizn 3. Did you mean --horizon?'),
        *[
            ([f'--{name}', number], f'{name} must be at least 1, got {number}')
            for name in (
                'horizon',
                'plan_freq',
                'beam_width',
                'n_expand',
                'n_episodes',
                'vis_freq',
                'max_episode_steps',
            )
            for number in ('0', '-2')
        ],
        (['--max_context_transitions', '1'], 'Pass --max_context_transitions 2, or more.'),
        (['--max_context_transitions', '0'], 'Pass --max_context_transitions 2, or more.'),
        (['--k_act', '0'], 'k_act must be between 1 and the 11 tokens of a column, got 0'),
        (['--k_obs', '12'], 'k_obs must be between 1 and the 11 tokens of a column, got 12'),
        (['--cdf_act', '-0.5'], 'cdf_act must be from 0 to 1, got -0.5'),
        (['--percentile', '50'], 'percentile must be from 0 to 1, got 50'),
        (['--discount', '2'], 'discount must be from 0 to 1, got 2'),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_settings_that_cannot_plan_are_refused(logbase, capfd, flags, message):
    given = ['--dataset', 'tiny', '--logbase', logbase, *TINY_PLAN, '--prefix', 'plans/no/', *flags]
    assert message in refused(capfd, logbase, 'plan', *given)


def test_settings_never_stand_beside_an_earlier_result(logbase, monkeypatch):
    flags = ['--dataset', 'tiny', '--logbase', logbase, *TINY_PLAN, '--prefix', 'plans/twice/']
    start('plan', *flags)
    [result] = logbase.glob('tiny/plans/twice/*/0/rollout.json')
    monkeypatch.setattr('trajectory.rollouts.episode.Episode.act', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        start('plan', *flags, '--seed', '7')
    assert utils.load_args(result.parent).seed == 7
    assert not result.exists()


def forget_the_weights(folder):
    (folder / 'state_1.pt').unlink()


def cut_the_weights(folder):
    path = folder / 'state_1.pt'
    path.write_bytes(path.read_bytes()[:2000])


def exchange_the_recipe(folder):
    path = folder / 'model_config.json'
    path.write_text(path.read_text().replace('"n_embd": 8', '"n_embd": 16'))


def break_the_recipe(folder):
    path = folder / 'model_config.json'
    path.write_text(path.read_text()[:50])


def break_the_source(folder):
    (folder / 'source.json').write_text('{}')


@pytest.mark.parametrize(
    ('spoil', 'message'),
    [
        (forget_the_weights, 'holds no state_*.pt.\n  Train one'),
        (cut_the_weights, 'state_1.pt cannot be read as weights'),
        (exchange_the_recipe, 'state_1.pt does not fit the model that model_config.json beside it describes'),
        (break_the_recipe, 'model_config.json is not valid JSON'),
        (
            lambda folder: (folder / 'discretizer.npz').unlink(),
            'discretizer.npz or source.json, and they cannot be made',
        ),
        (lambda folder: (folder / 'source.json').unlink(), "unknown dataset 'tiny'"),
        (break_the_source, 'source.json says nothing of data_source, environment, mean_return, physics'),
    ],
)
def test_a_run_that_is_not_whole_is_refused(logbase, tmp_path, capfd, spoil, message):
    shutil.copytree(logbase / 'tiny/gpt/azure', tmp_path / 'tiny/gpt/azure')
    spoil(tmp_path / 'tiny/gpt/azure')
    assert message in refused(capfd, tmp_path, 'plan', '--dataset', 'tiny', '--logbase', tmp_path, *TINY_PLAN)


def test_a_plan_is_ranked_by_the_models_own_discount(recording, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        agent, 'search', lambda *args, **options: (seen.append(args[3].discount), search(*args, **options))[1]
    )
    start(
        'train',
        '--dataset',
        'tiny',
        '--dataset_path',
        recording,
        '--logbase',
        tmp_path,
        *TINY_MODEL,
        '--discount',
        '0.9',
    )
    for flags in ((), ('--discount', '0.5')):
        start('plan', '--dataset', 'tiny', '--logbase', tmp_path, *TINY_PLAN, '--prefix', f'plans/{len(seen)}/', *flags)
    assert set(seen) == {0.9, 0.5}
    assert seen[0] == 0.9


def test_a_context_longer_than_the_block_is_said_once_and_planned_with(logbase, caplog):
    with caplog.at_level('INFO'):
        start(
            'plan',
            '--dataset',
            'tiny',
            '--logbase',
            logbase,
            *TINY_PLAN,
            '--prefix',
            'plans/long/',
            '--max_context_transitions',
            '99',
        )
    assert caplog.text.count('a context of 99 transitions does not fit the block of the model: planning with 3') == 1
    start('plan', '--dataset', 'tiny', '--logbase', logbase, *TINY_PLAN, '--prefix', 'plans/short/')
    long, short = (
        json.loads((logbase / f'tiny/plans/{name}/freq1_H2_beam4/0/rollout.json').read_text())
        for name in ('long', 'short')
    )
    assert long.pop('identity') != short.pop('identity')  # of other settings
    assert long == short


@pytest.mark.parametrize(
    ('flags', 'expected'),
    [
        ([], False),
        (['--restart'], True),
        (['--restart', 'True'], True),
        (['--restart', 'False'], False),
        (['--restart', '--seed', '1'], True),
        (['--tensorboard'], True),
    ],
)
def test_booleans_are_bare_flags_or_take_a_value(flags, expected):
    args = train.Parser().parse_args('train', ['--dataset', 'tiny', *flags])
    assert (args.tensorboard if '--tensorboard' in flags else args.restart) is expected


def test_the_schedule_over_the_run_ends_at_a_tenth(recording, tmp_path):
    for schedule, last in (('run', 0.1), ('reference', 1.0)):
        start(
            'train',
            '--dataset',
            'tiny',
            '--dataset_path',
            recording,
            '--logbase',
            tmp_path,
            *TINY_MODEL,
            '--n_epochs',
            '4',
            '--lr_schedule',
            schedule,
            '--exp_name',
            schedule,
        )
        rows = (tmp_path / 'tiny' / schedule / 'metrics.jsonl').read_text().splitlines()
        rates = [json.loads(row)['learning_rate'] for row in rows]
        assert rates[-1] == pytest.approx(last * 6e-4, rel=0.2)


@pytest.mark.parametrize(('flag', 'value'), [('beam_width', 10**20), ('n_episodes', 10**12), ('n_expand', 10**9)])
def test_a_plan_too_large_for_the_memory_is_refused_by_name(logbase, capfd, flag, value):
    message = refused(
        capfd,
        logbase,
        'plan',
        '--dataset',
        'tiny',
        '--logbase',
        logbase,
        *TINY_PLAN,
        '--prefix',
        'plans/no/',
        f'--{flag}',
        value,
    )
    assert f'a plan with {flag} = {value} takes about' in message
    assert f'Pass a smaller --{flag}.' in message
    assert not (logbase / 'tiny/plans/no').exists()
