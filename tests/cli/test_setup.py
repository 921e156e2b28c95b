"""Settings arrive typed and in their order of strength, and what is wrong with them is said in one line."""

import json
import logging
import random
import subprocess
import sys
from argparse import Namespace
from copy import deepcopy
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from config import offline
from trajectory import utils
from trajectory.cli import setup
from trajectory.cli.setup import reader
from trajectory.utils import InputError, set_seed, watch

BLOCKLESS = 'hopper-expert-v2'  # a dataset that changes nothing


class Parser(utils.Parser):
    dataset: str = BLOCKLESS
    config: str = 'config.offline'


def parse(*argv, experiment='plan'):
    return Parser().parse_args(experiment, list(argv))


def error_of(capsys, *argv):
    """Return the one line with which these flags are refused."""
    with pytest.raises(SystemExit) as raised:
        parse(*argv)
    assert raised.value.code == 2
    printed, reported = capsys.readouterr()
    assert printed == ''
    return reported.partition(': error: ')[2].rstrip('\n')


@pytest.fixture
def config_module(tmp_path, monkeypatch, request):
    """Return a function that writes a config module and gives its name."""

    def write(text):
        name = f'config_of_{request.node.name.partition("[")[0]}'
        (tmp_path / f'{name}.py').write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


MINE = """
from dataclasses import dataclass
from typing import Annotated as Flag
from trajectory.utils import watch

@dataclass
class Train:
    horizon: Flag[int, 'steps, 100% of them'] = 3
    logbase: Flag[str, 'folder'] = 'logs'
    exp_name: Flag[str, 'name'] = 'gpt'

experiments = {'train': Train}
"""

# ---------------------------- order of strength ---------------------------- #


def test_a_data_set_without_a_block_has_the_defaults():
    args = parse()
    for name, value in offline.base['plan'].items():
        if name != 'exp_name':
            assert getattr(args, name) == value, name


def test_the_block_of_a_data_set_beats_the_defaults_and_a_flag_beats_the_block():
    args = parse('--dataset', 'walker2d-medium-replay-v2', '--beam_width', '7')
    assert (args.horizon, args.k_act, args.cdf_act) == (20, 40, None)
    assert args.beam_width == 7
    assert args.n_expand == 2


def test_each_experiment_reads_its_own_part_of_the_block():
    args = parse('--dataset=ant-random-v2', experiment='train')
    assert args.batch_size == 128
    assert not hasattr(args, 'horizon')


def test_parsing_changes_nothing_in_the_config_module_nor_on_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = deepcopy((offline.base, offline.walker2d_medium_replay_v2))
    parse('--dataset', 'walker2d-medium-replay-v2', '--horizon', '2', '--exp_name', 'x')
    assert (offline.base, offline.walker2d_medium_replay_v2) == before
    assert parse('--dataset', 'walker2d-medium-replay-v2').horizon == 20
    assert not list(tmp_path.iterdir())


# ---------------------------------- flags ---------------------------------- #


@pytest.mark.parametrize(
    ('argv', 'name', 'value'),
    [
        (['--horizon', '5'], 'horizon', 5),
        (['--horizon=5'], 'horizon', 5),
        (['--cdf_act', 'None'], 'cdf_act', None),
        (['--cdf_act', '1'], 'cdf_act', 1.0),
        (['--cdf_act=5e-1'], 'cdf_act', 0.5),
        (['--discount', '-1e-3'], 'discount', -0.001),
        (['--discount', '-.5'], 'discount', -0.5),
        (['--verbose', 'False'], 'verbose', False),
        (['--verbose=True'], 'verbose', True),
        (['--gpt_epoch', '12'], 'gpt_epoch', 12),
        (['--gpt_epoch', 'latest'], 'gpt_epoch', 'latest'),
        (['--percentile', '0.5'], 'percentile', 0.5),
        (['--renderer', 'DebugRenderer'], 'renderer', 'DebugRenderer'),
        (['--renderer', 'None'], 'renderer', None),
        (['--suffix', '3'], 'suffix', '3'),
        (['--exp_name', 'a=b/c'], 'exp_name', 'a=b/c'),
        (['--horizon', '5', '--horizon', '6'], 'horizon', 6),
    ],
)
def test_a_flag_becomes_a_value_of_its_type(argv, name, value):
    found = getattr(parse(*argv), name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['--horzon', '5'], 'unrecognized arguments: --horzon 5. Did you mean --horizon?'),
        (['--horzon=5'], 'unrecognized arguments: --horzon=5. Did you mean --horizon?'),
        (['--exp_nam=' + 20 * 'x'], f'unrecognized arguments: --exp_nam={20 * "x"}. Did you mean --exp_name?'),
        (['--plan-frq', '5'], 'unrecognized arguments: --plan_frq 5. Did you mean --plan_freq?'),
        (['--beam_w', '5'], 'unrecognized arguments: --beam_w 5. Did you mean --beam_width?'),
        (['--zzz', '5'], 'unrecognized arguments: --zzz 5. --help lists the flags.'),
        (['5'], 'unrecognized arguments: 5. --help lists the flags.'),
        (['--cdf_act', 'x'], "argument --cdf_act: expected None or float, got 'x'"),
        (['--horizon', '5.0'], "argument --horizon: expected int, got '5.0'"),
        (['--horizon', 'None'], "argument --horizon: expected int, got 'None'"),
        (['--horizon', ''], "argument --horizon: expected int, got ''"),
        (['--discount', 'nan'], "argument --discount: expected None or float, got 'nan'"),
        (['--cdf_act', '-inf'], "argument --cdf_act: expected None or float, got '-inf'"),
        (['--discount', '1e999'], "argument --discount: expected None or float, got '1e999'"),
        (['--verbose', 'false'], "argument --verbose: expected True or False, got 'false'"),
        (['--gpt_epoch', 'last'], "argument --gpt_epoch: expected latest or int, got 'last'"),
        (['--k_obs', '__import__("os")'], 'argument --k_obs: expected None or int, got \'__import__("os")\''),
        (['--horizon'], 'argument --horizon: expected one argument'),
        (['--dataset'], 'argument --dataset: expected one argument'),
    ],
)
def test_a_wrong_flag_is_refused_in_one_line(capsys, argv, message):
    assert error_of(capsys, *argv) == message


def test_a_word_that_is_not_offered_is_refused_with_those_that_are(capsys):
    message = error_of(capsys, '--renderer', 'Render')
    assert message == (
        'argument --renderer: expected None or Renderer or DebugRenderer or KitchenRenderer '
        "or AntMazeRenderer or Maze2dRenderer, got 'Render'"
    )


def test_help_shows_every_setting_with_its_meaning_and_its_default_for_this_data_set(capsys):
    with pytest.raises(SystemExit) as raised:
        parse('--dataset', 'halfcheetah-medium-v2', '--help')
    assert raised.value.code == 0
    shown = ' '.join(capsys.readouterr().out.split())
    for name in offline.base['plan']:
        assert f'--{name} ' in shown
    assert '--horizon int transitions imagined per plan (default: 5, for this dataset)' in shown
    assert '--n_expand int continuations drawn for each candidate (default: 2)' in shown
    assert 'unless given (default: built from other settings)' in shown


def test_a_percent_sign_in_a_meaning_is_only_a_percent_sign(config_module, capsys):
    with pytest.raises(SystemExit):
        parse('--config', config_module(MINE), '--help', experiment='train')
    assert 'steps, 100% of them (default: 3)' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('type_', 'word', 'value'),
    [
        (int | str, '5', 5),
        (str | int, '5', 5),
        (int | str, 'five', 'five'),  # text is tried last
        (str | None, 'None', None),
        (float | int, '5', 5),
        (Literal[1, 2], '2', 2),
        (bool | None, 'None', None),
    ],
)
def test_a_word_is_read_as_the_narrowest_type_that_fits(type_, word, value):
    assert reader(type_)(word) == value
    assert type(reader(type_)(word)) is type(value)


# ------------------------------ config module ------------------------------ #


@pytest.mark.parametrize(
    ('block', 'message'),
    [
        ("{'train': dict(horzon=5)}", "has 'horzon', .* Did you mean 'horizon'"),
        ("{'trian': dict(horizon=5)}", "has 'trian', .* Did you mean 'train'"),
        ("{'train': dict(zzz=5)}", "has 'zzz', .* There is horizon, logbase, exp_name"),
    ],
)
def test_a_block_that_names_no_setting_is_an_error_at_the_start(config_module, block, message):
    name = config_module(f'{MINE}\nmy_data_v0 = {block}')
    with pytest.raises(InputError, match=rf'{name}.my_data_v0 {message}'):
        parse('--config', name, '--dataset', 'my-data-v0', experiment='train')


def test_a_data_set_called_like_something_else_in_the_module_has_no_block(config_module):
    name = config_module(MINE)
    assert parse('--config', name, '--dataset', 'Train', experiment='train').horizon == 3
    assert parse('--config', name, '--dataset', 'watch', experiment='train').horizon == 3


def test_a_config_of_ones_own_brings_its_own_flags(config_module):
    name = config_module(MINE)
    assert parse('--config', name, '--horizon', '8', experiment='train').horizon == 8


@pytest.mark.parametrize('name', ['nowhere', 'config.nowhere', 'nowhere.at_all'])
def test_a_missing_config_module_is_an_error_that_names_one_that_exists(name):
    with pytest.raises(InputError, match=rf'no module {name!r}[\s\S]*--config config.offline'):
        parse('--config', name)


def test_a_config_that_imports_something_missing_says_what(config_module):
    with pytest.raises(ModuleNotFoundError, match='not_installed'):
        parse('--config', config_module('import not_installed'))


def test_a_config_without_the_experiment_lists_those_it_has(config_module):
    with pytest.raises(InputError, match="no experiment 'plan'; its experiments are train"):
        parse('--config', config_module(MINE))


def test_a_setting_may_not_hide_a_method_of_the_parser(config_module):
    name = config_module(MINE.replace('horizon', 'save'))
    with pytest.raises(InputError, match="'save' cannot be a setting"):
        parse('--config', name, experiment='train')


def test_a_parser_without_a_data_set_requires_one(capsys):
    with pytest.raises(SystemExit):
        utils.Parser().parse_args('plan', [])
    assert 'required: --dataset' in capsys.readouterr().err
    assert utils.Parser().parse_args('plan', ['--dataset', BLOCKLESS]).horizon == 15


# --------------------------------- folder ---------------------------------- #


def test_a_plan_is_named_after_what_varies():
    args = parse('--plan_freq', '3')
    assert args.exp_name == 'plans/defaults/freq3_H15_beam128'
    assert args.savepath == Path('logs', BLOCKLESS, 'plans/defaults/freq3_H15_beam128', '0')


def test_a_prefix_without_a_slash_stays_part_of_the_name():
    assert parse('--prefix', 'fast').exp_name == 'fast_freq1_H15_beam128'


def test_a_name_that_is_given_is_kept():
    args = parse('--exp_name', 'plans/mine', '--suffix', '4')
    assert args.savepath == Path('logs', BLOCKLESS, 'plans/mine', '4')
    args = parse('--logbase', 'elsewhere', experiment='train')
    assert args.savepath == Path('elsewhere', BLOCKLESS, 'gpt/azure')


@pytest.mark.parametrize(
    ('flag', 'name'),
    [
        ('dataset', ''),
        ('dataset', '../mine'),
        ('exp_name', ''),
        ('exp_name', '/mine'),
        ('prefix', '../..'),
        ('suffix', ''),
        ('suffix', '..'),
        ('suffix', 'a/b'),
        ('suffix', '/'),
    ],
)
def test_a_name_that_leaves_its_folder_is_refused(flag, name):
    with pytest.raises(InputError, match=r'names a folder below --logbase, and cannot be .*\n  Pass --'):
        parse(f'--{flag}', name)


def test_watch_makes_names_that_a_shell_takes():
    name = watch([('prefix', ''), ('dims', 'd'), ('lr', 'lr')])
    assert name(Namespace(prefix='plans/', dims=(256, 128), lr=0.1)) == 'plans/d256-128_lr0.1'


def test_preparing_the_folder_records_settings_versions_and_code(tmp_path):
    args = parse('--dataset', 'ant-random-v2', '--logbase', str(tmp_path), '--cdf_act', 'None')
    args.prepare_folder()
    folder = tmp_path / 'ant-random-v2/plans/defaults/freq1_H5_beam128/0'
    saved = json.loads((folder / 'args.json').read_text())
    settings = {**offline.base['plan'], 'horizon': 5, 'cdf_act': None, 'logbase': str(tmp_path)}
    settings['exp_name'] = 'plans/defaults/freq1_H5_beam128'
    assert {name: saved[name] for name in settings} == settings
    assert saved['experiment'] == 'plan'
    assert (saved['dataset'], saved['config']) == ('ant-random-v2', 'config.offline')
    assert saved['savepath'] == str(folder)
    assert saved['versions']['torch'].split('+')[0] == torch.__version__.split('+')[0]  # wheels differ behind the plus
    assert saved['versions']['python'] == sys.version.split()[0]
    assert {'numpy', 'gymnasium', 'mujoco'} <= saved['versions'].keys()
    assert saved['commit'] == setup.get_git_rev()
    assert (folder / 'diff.txt').exists() == (saved['commit'] is not None)
    assert utils.load_args(folder).horizon == 5


def test_preparing_it_again_is_fine(tmp_path):
    for horizon in '12':
        args = parse('--logbase', str(tmp_path), '--exp_name', 'x', '--horizon', horizon)
        args.prepare_folder()
    assert utils.load_args(args.savepath).horizon == 2


@pytest.mark.parametrize(
    ('suffix', 'folders'),
    [
        ('7', ['7', '8', '9']),
        ('a', ['a', 'a_1', 'a_2']),
        ('²', ['²', '²_1', '²_2']),
    ],
)
def test_repetitions_are_recorded_as_if_each_were_run_alone(tmp_path, suffix, folders):
    args = parse('--logbase', str(tmp_path), '--exp_name', 'x', '--suffix', suffix, '--seed', '5')
    prepared = [args.prepare_folder(repetition=k) for k in range(3)]
    assert prepared == [tmp_path / BLOCKLESS / 'x' / name for name in folders]
    for k, folder in enumerate(prepared):
        saved = utils.load_args(folder)
        assert (saved.seed, saved.suffix, saved.savepath) == (5 + k, folders[k], str(folder))
    assert (args.seed, args.suffix, args.savepath) == (5, suffix, prepared[0])


# ------------------------------ seed, threads ------------------------------ #


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002  what set_seed is for


def test_two_equal_commands_draw_the_same_numbers():
    draws = []
    for seed in ['1', '1', '2']:
        parse('--seed', seed).set_seed()
        draws.append(draw())
    assert draws[0] == draws[1]
    assert all(one != other for one, other in zip(draws[0], draws[2], strict=True))


def test_parsing_seeds_nothing():
    set_seed(1)
    expected = draw()
    set_seed(1)
    parse('--seed', '2')
    assert draw() == expected


# --------------------------------- scripts --------------------------------- #

SCRIPT = '''
"""Do something.

    python scripts/plan.py --horizon 3

And so on.
"""
import logging
from trajectory import utils
from trajectory.cli import setup

class Parser(utils.Parser):
    dataset: str = 'hopper-expert-v2'       # dataset to plan for
    config: str = 'config.offline'

def main(args):
    logging.getLogger(__name__).info('horizon %d', args.horizon)
    logging.getLogger('trajectory.cli.setup').info('from a room')
    if args.horizon == 1:
        raise utils.InputError('found 1.\\n  Pass --horizon 2.')
    if args.horizon == 2:
        raise KeyboardInterrupt
    if args.horizon == 3:
        raise ValueError('a bug')
    if args.horizon == 4:
        import torch
        torch.empty(2 ** 50)
    if args.horizon == 5:
        import numpy
        numpy.empty(2 ** 50)

if __name__ == '__main__':
    utils.run(main, Parser, 'plan')
'''.lstrip()


@pytest.fixture
def script(tmp_path):
    """Return a function that runs a script with some flags."""
    path = tmp_path / 'scripts' / 'plan.py'
    path.parent.mkdir()
    path.write_text(SCRIPT)

    def run(*argv):
        return subprocess.run([sys.executable, path, *argv], capture_output=True, text=True, cwd=tmp_path)

    return run


def test_a_script_says_which_room_speaks(script):
    done = script()
    assert done.returncode == 0, done.stderr
    assert done.stdout == '[ scripts/plan ] horizon 15\n[ cli/setup ] from a room\n'
    assert done.stderr == ''


def test_an_error_in_the_input_ends_a_script_without_a_traceback(script):
    done = script('--horizon', '1')
    assert (done.returncode, done.stderr) == (2, 'plan.py: error: found 1.\n  Pass --horizon 2.\n')
    done = script('--config', 'nowhere')
    assert done.returncode == 2
    assert done.stderr.startswith("plan.py: error: there is no module 'nowhere'.")


@pytest.mark.parametrize('name', ['', '../config', '.config', 'config/offline.py'])
def test_what_names_no_module_is_refused(name):
    with pytest.raises(InputError, match='there is no module '):
        parse('--config', name)


@pytest.mark.parametrize('argv', [['--horizon', '1'], ['--config', 'nowhere']])
def test_debug_shows_the_traceback(script, argv):
    done = script(*argv, '--debug')
    assert done.returncode == 1
    assert 'Traceback' in done.stderr


@pytest.mark.parametrize('horizon', ['4', '5'])
def test_too_little_memory_is_no_bug(script, horizon):
    done = script('--horizon', horizon)
    assert done.returncode == 2
    assert done.stderr.startswith('plan.py: error: the memory does not suffice.\n  Pass a smaller --batch_size')
    assert 'Traceback' in script('--horizon', horizon, '--debug').stderr


def test_an_interrupt_ends_a_script_in_one_line(script):
    done = script('--horizon', '2')
    assert (done.returncode, done.stderr) == (130, '\nplan.py: interrupted\n')


def test_a_bug_is_shown_whole(script):
    done = script('--horizon', '3')
    assert done.returncode == 1
    assert 'Traceback' in done.stderr
    assert 'ValueError: a bug' in done.stderr


def test_help_begins_with_what_the_script_does(script):
    assert 'Do something.\n\n    python scripts/plan.py --horizon 3\n' in script('--help').stdout


def test_a_script_that_has_ended_leaves_the_loggers_as_they_were():
    before = [list(logging.getLogger(name).handlers) for name in ('trajectory', '__main__')]
    with setup.log_to_stdout():
        assert logging.getLogger('trajectory').handlers != before[0]
    assert [logging.getLogger(name).handlers for name in ('trajectory', '__main__')] == before
