"""A sweep is started by one command, which says at the end how every variant ended."""

import importlib.util
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from config import table
from scripts import plan, train
from trajectory.sweeps import command as module
from trajectory.sweeps.command import Parser, change, group_flags, launch
from trajectory.sweeps.description import Sweep, Variant
from trajectory.sweeps.work import Outcome
from trajectory.utils.errors import InputError

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'azure/cloud.py'


def started(*argv):
    return Parser().parse_args(argv=[*argv])


def load(name):
    """One of the commands in azure/, as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f'azure/{name}.py')
    command = importlib.util.module_from_spec(spec)
    path = [*sys.path]
    spec.loader.exec_module(command)
    sys.path[:] = path
    return command


def command_lines(capsys, name, *argv):
    command = load(name)
    parser = getattr(command, 'Parser', Parser)
    assert command.main(parser().parse_args(argv=['--dry_run', *argv])) == 0
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def engine(monkeypatch, tmp_path):
    """An engine that records what it is given: each variant is done but those of seed 2, which fail."""
    given = []

    def run(variants):
        for variant in variants:
            given.append(variant)
            failed = '2' in variant.flags
            variant.folder.mkdir(parents=True)
            yield Outcome(variant, 'failed' if failed else 'done', 'no luck' if failed else '')

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(module.ENGINES, 'local', lambda *_: run)
    monkeypatch.setattr(Variant, 'is_finished', lambda self: self.folder.exists() and '2' not in self.flags)
    return given


# -------------------------------- commands -------------------------------- #


def test_the_commands_of_the_reference_work_without_arguments(capsys):
    assert command_lines(capsys, 'launch_train') == [
        f'python scripts/train.py --dataset {robot}-expert-v2 --exp_name gpt/azure'
        for robot in ('halfcheetah', 'hopper', 'walker2d', 'ant')
    ]
    rest = '--horizon 15 --prefix plans/azure/ --suffix 0 --n_episodes 3 --seed 42 --verbose False'
    assert command_lines(capsys, 'launch_plan') == [
        f'python scripts/plan.py --dataset ant-{buffer}-v2 {rest}'
        for buffer in ('medium-expert', 'medium', 'medium-replay', 'random')
    ]


@pytest.mark.parametrize(
    ('name', 'flags', 'expected'),
    [
        ('launch_train', [], (None, 'nvidia-tesla-v100')),
        ('launch_plan', [], ('westus2', None)),
        ('launch_train', ['--gpu_model', 'nvidia-tesla-t4'], (None, 'nvidia-tesla-t4')),
        ('launch_plan', ['--region', 'eastus'], ('eastus', None)),
    ],
)
def test_the_launchers_ask_doodad_for_the_references_machines(monkeypatch, tmp_path, name, flags, expected):
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        module.doodad,
        'run',
        lambda variants, _, region, gpu_model: (
            asked.append((region, gpu_model)),
            [Outcome(variant, 'launched') for variant in variants],
        )[1],
    )
    monkeypatch.setattr(sys, 'argv', [f'{name}.py', '--engine', 'doodad', *flags])
    launcher = runpy.run_path(str(CONFIG.with_name(f'{name}.py')))
    launcher['main'](Parser().parse_args())
    assert asked == [expected]


def test_flags_change_what_is_swept(capsys):
    lines = command_lines(
        capsys,
        'launch_train',
        '--dataset',
        'hopper-medium-v2',
        '--seed',
        '1',
        '2',
        '--exp_name',
        'gpt/{seed}',
        '--termination_penalty=-1',
    )
    assert lines == [
        f'python scripts/train.py --seed {seed} --exp_name gpt/{seed} --dataset hopper-medium-v2 '
        '--termination_penalty -1'
        for seed in (1, 2)
    ]


def test_the_table_has_five_models_and_fifteen_seeds_for_each_of_twelve_data_sets(capsys):
    lines = command_lines(capsys, 'launch_table')
    assert len(lines) == len(set(lines)) == 120
    assert len(set(table.DATASETS)) == 12
    assert sum('scripts/train.py' in line for line in lines) == 60
    hopper = [line.split() for line in lines if 'plan.py --dataset hopper-medium-v2 ' in line]
    assert [
        (line[line.index('--gpt_loadpath') + 1], line[line.index('--suffix') + 1], line[line.index('--seed') + 1])
        for line in hopper
    ] == [(f'gpt/table/{k}', str(3 * k), str(42 + 3 * k)) for k in range(5)]
    assert all('--n_episodes 3 ' in ' '.join(line) for line in hopper)
    assert len(command_lines(capsys, 'launch_table', '--n_models', '2', '--dataset', 'ant-medium-v2')) == 4


def test_a_command_says_what_is_wrong_in_one_line_and_starts_nothing(tmp_path):
    command = [sys.executable, ROOT / 'azure/launch_plan.py', '--logbase', 'here', '--horizn', '5']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 2
    assert done.stderr == ("launch_plan.py: error: no setting or flag is called 'horizn'. Did you mean --horizon?\n")
    assert not list(tmp_path.iterdir())


# --------------------------------- starts --------------------------------- #


def test_the_summary_says_how_each_variant_ended(engine, capsys):
    sweep = Sweep({'seed': [1, 2, 3]}, {'dataset': 'hopper-medium-v2', 'exp_name': 'gpt/{seed}'})
    assert launch(started(), [(train, sweep)], CONFIG) == 1
    assert capsys.readouterr().out == (
        'done      logs/hopper-medium-v2/gpt/1\nfailed    logs/hopper-medium-v2/gpt/2\n          no luck\n'
        '          no log\ndone      logs/hopper-medium-v2/gpt/3\n2 done, 1 failed\n'
    )
    assert len(engine) == 3
    Path('logs/hopper-medium-v2/gpt/2').rmdir()
    assert launch(started(), [(train, sweep)], CONFIG) == 1
    assert capsys.readouterr().out.endswith('2 skipped, 1 failed\n')
    assert len(engine) == 4


def test_nothing_is_planned_with_a_model_that_is_not_trained(engine, capsys):
    common = {'dataset': 'hopper-medium-v2', 'logbase': 'logs'}
    stages = [
        (train, Sweep({'seed': [1, 2]}, {**common, 'exp_name': 'gpt/{seed}'})),
        (plan, Sweep({'gpt_loadpath': ['gpt/1', 'gpt/2']}, {**common, 'prefix': '{gpt_loadpath}/plans/'})),
    ]
    assert launch(started(), stages, CONFIG) == 1
    assert [variant.script for variant in engine] == ['scripts/train.py'] * 2 + ['scripts/plan.py']
    assert 'not started: logs/hopper-medium-v2/gpt/2 is not trained' in capsys.readouterr().out


def test_results_that_do_not_arrive_are_a_failure(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(module.ENGINES, 'ray', lambda *_: lambda variants: [Outcome(v, 'done') for v in variants])
    sweep = Sweep({}, {'dataset': 'hopper-medium-v2'})
    assert launch(started('--engine', 'ray'), [(train, sweep)], CONFIG) == 1
    assert 'its results are not here; is its folder on a disk that all machines share?' in capsys.readouterr().out


@pytest.mark.parametrize('engine', ['ray', 'slurm', 'doodad'])
def test_an_engine_that_is_not_installed_says_what_to_do(monkeypatch, tmp_path, engine):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, {'slurm': 'submitit'}.get(engine, engine), None)
    with pytest.raises(InputError, match=r'this engine needs \w+.*pip install'.replace('.*', r'(.|\n)*')):
        launch(started('--engine', engine), [(train, Sweep({}, {'dataset': 'hopper-medium-v2'}))], CONFIG)
    assert not list(tmp_path.iterdir())


# ---------------------------------- flags --------------------------------- #


def test_settings_go_to_the_scripts_that_have_them():
    training, planning = change(
        [(train, Sweep()), (plan, Sweep())], {'n_layer': ['1'], 'horizon': ['2', '3'], 'dataset': ['ant-medium-v2']}
    )
    assert training.combinations() == [{'n_layer': '1', 'dataset': 'ant-medium-v2'}]
    assert planning.combinations() == [
        {'horizon': '2', 'dataset': 'ant-medium-v2'},
        {'horizon': '3', 'dataset': 'ant-medium-v2'},
    ]


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['--horizn', '5'], "no setting or flag is called 'horizn'. Did you mean --horizon?"),
        (['--horizon'], '--horizon has no value'),
    ],
)
def test_a_flag_that_means_nothing_is_refused(argv, message):
    with pytest.raises(InputError) as refused:
        change([(plan, Sweep())], started(*argv).settings)
    assert str(refused.value).startswith(message)


def test_words_belong_to_the_flag_before_them():
    assert group_flags(['a', '--b', '-1e3', 'c', '--d=e', '-h']) == [['a'], ['--b', '-1e3', 'c'], ['--d=e'], ['-h']]
    args = started('--engine', 'ray', '--b', '-1e3', 'c', '--d=e', '--dry_run')
    assert (args.engine, args.dry_run, args.settings) == ('ray', True, {'b': ['-1e3', 'c'], 'd': ['e']})
