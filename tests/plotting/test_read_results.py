"""Results are averaged only with their like, and what cannot be read is told with its remedy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from plotting.read_results import (
    choose_comparable,
    format_experiments,
    load_result,
    load_results,
    main,
    mean_and_error,
)
from trajectory.utils.errors import InputError

PLANS = Path('hopper-medium-v2/plans/defaults/freq1_H15_beam128')

# -------------------------------- one file -------------------------------- #


def test_a_file_of_the_reference_implementation_has_unknown_provenance(tmp_path, write_rollout):
    write_rollout(tmp_path / '0', reference=True, score=0.47, return_=5000.0)
    result = load_result(tmp_path / '0' / 'rollout.json')
    assert (result['score'], result['return'], result['gpt_epoch']) == (0.47, 5000.0, 50)
    assert [result[key] for key in ('environment', 'physics', 'data_source')] == ['unknown'] * 3


def test_a_result_may_be_named_by_its_folder(tmp_path, write_rollout):
    write_rollout(tmp_path / '0', seed=7)
    assert load_result(tmp_path / '0') == load_result(tmp_path / '0' / 'rollout.json')
    assert load_result(tmp_path / '0')['seed'] == 7


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        ('{"score": 0.5, "ret', 'is not valid JSON'),
        (10_000 * '[', 'is not valid JSON'),
        (
            f'{{"score": 1{400 * "0"}, "return": 1, "step": 1, "term": false, "gpt_epoch": 1}}',
            'expected a finite number',
        ),
        ('[1, 2]', 'holds a list, expected an object with the keys score, return'),
        ('{"score": 0.5, "step": 3}', 'lacks return, term, gpt_epoch; it has score, step'),
        ('{"score": "x", "return": 1, "step": 1, "term": true, "gpt_epoch": 1}', "score is 'x', expected"),
        ('{"score": 0.5, "return": NaN, "step": 1, "term": true, "gpt_epoch": 1}', 'return is nan, expected a'),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong_and_what_to_do(tmp_path, content, complaint):
    path = tmp_path / 'rollout.json'
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        load_result(path)
    assert str(path) in str(caught.value)
    assert complaint in str(caught.value)
    assert 'Delete it, or plan again.' in str(caught.value)


def test_a_file_that_is_not_text_is_an_input_error(tmp_path):
    (tmp_path / 'rollout.json').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(InputError, match='is not valid JSON'):
        load_result(tmp_path / 'rollout.json')


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match='No such file'):
        load_result(tmp_path / 'rollout.json')


# ------------------------------- experiments ------------------------------ #


def test_the_numbered_rollouts_of_a_folder_are_one_experiment(tmp_path, write_rollout):
    for seed in range(12):
        write_rollout(tmp_path / PLANS / str(seed), seed=seed, score=seed / 10, return_=100.0 * seed)
    write_rollout(tmp_path / PLANS.with_name('other') / '0')
    first, second = load_results(tmp_path)
    assert (first.dataset, first.exp_name) == ('hopper-medium-v2', 'plans/defaults/freq1_H15_beam128')
    assert sorted(first.returns) == [100.0 * seed for seed in range(12)]
    np.testing.assert_allclose(sorted(first.scores), 10 * np.arange(12))
    assert (second.exp_name, len(second.rollouts)) == ('plans/defaults/other', 1)


@pytest.mark.parametrize('key', ['environment', 'physics', 'data_source'])
def test_rollouts_of_different_provenance_are_never_averaged(tmp_path, write_rollout, key):
    write_rollout(tmp_path / PLANS / '0')
    write_rollout(tmp_path / PLANS / '1', **{key: 'another'})
    assert [len(experiment.rollouts) for experiment in load_results(tmp_path)] == [1, 1]


def test_the_folder_names_the_data_set_where_the_file_does_not(tmp_path, write_rollout):
    write_rollout(tmp_path / 'ant-medium-v2/plans/pretrained/3', reference=True)
    (found,) = load_results(tmp_path)
    assert (found.dataset, found.exp_name) == ('ant-medium-v2', 'plans/pretrained')
    (found,) = load_results(tmp_path / 'ant-medium-v2')
    assert (found.dataset, found.exp_name) == ('ant-medium-v2', 'plans/pretrained')


def test_data_sets_and_experiments_can_be_chosen(tmp_path, write_rollout):
    write_rollout(tmp_path / PLANS / '0')
    write_rollout(tmp_path / 'hopper-medium-v2/plans/long/0')
    write_rollout(tmp_path / 'mujoco/hopper/medium-v0/plans/long/0', dataset='mujoco/hopper/medium-v0')
    assert len(load_results(tmp_path)) == 3
    assert len(load_results(tmp_path, dataset='hopper-medium-v2')) == 2
    assert len(load_results(tmp_path, dataset='mujoco/hopper/medium-v0')) == 1
    assert [found.dataset for found in load_results(tmp_path, exp_name='plans/long')] == [
        'hopper-medium-v2',
        'mujoco/hopper/medium-v0',
    ]


def test_no_result_at_all_says_where_it_looked_and_how_to_make_one(tmp_path):
    with pytest.raises(InputError) as caught:
        load_results(tmp_path / 'nowhere', dataset='ant-medium-v2')
    where = tmp_path / 'nowhere/ant-medium-v2'
    assert f'found no plans/**/rollout.json in {where}, which is not a folder' in str(caught.value)
    assert 'python scripts/plan.py --dataset ant-medium-v2' in str(caught.value)


def test_a_pattern_that_fits_nothing_names_the_experiments_that_are_there(tmp_path, write_rollout):
    write_rollout(tmp_path / PLANS / '0')
    with pytest.raises(InputError, match=r'There are: plans/defaults/freq1_H15_beam128'):
        load_results(tmp_path, exp_name='plans/mine')


# ------------------------------- statistics ------------------------------- #


def test_the_standard_error_is_that_of_the_sample():
    numbers = np.random.default_rng(0).normal(size=15).tolist()
    mean, error = mean_and_error(numbers)
    assert mean == pytest.approx(np.mean(numbers))
    assert error == pytest.approx(np.std(numbers, ddof=1) / np.sqrt(15))


def test_one_number_has_no_standard_error_and_none_has_no_mean():
    assert mean_and_error([3.0]) == (3.0, None)
    assert mean_and_error([]) == (None, None)


@pytest.mark.parametrize(
    'source', ['D4RL', 'd4rl: hopper_medium-v2.hdf5', 'http://rail.eecs.berkeley.edu/datasets/offline_rl/x.hdf5']
)
def test_d4rl_data_in_d4rl_physics_is_comparable(tmp_path, write_rollout, source):
    write_rollout(tmp_path / PLANS / '0', data_source=source)
    chosen, left_out = choose_comparable(load_results(tmp_path))
    assert list(chosen) == [('medium', 'hopper', 'trajectory_transformer')]
    assert left_out == []


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        (dict(physics='stock'), 'physics stock'),
        (dict(step=300), 'episodes cut at 300 steps'),
        (dict(data_source='data/mine.hdf5'), 'data source data/mine.hdf5'),
        (dict(data_source='d4rl-like.hdf5'), 'data source d4rl-like.hdf5'),
        (dict(score=None), 'no score'),
        (dict(dataset='hopper-mine'), 'not a dataset of the paper'),
        (dict(reference=True), 'physics unknown'),
    ],
)
def test_anything_else_is_left_out_with_the_reason(tmp_path, write_rollout, changes, reason):
    write_rollout(tmp_path / PLANS / '0', **changes)
    experiments = load_results(tmp_path)
    assert choose_comparable(experiments) == ({}, [(experiments[0], reason)])


def test_two_experiments_on_one_data_set_must_be_chosen_between(tmp_path, write_rollout):
    write_rollout(tmp_path / PLANS / '0')
    write_rollout(tmp_path / PLANS.with_name('other') / '0')
    with pytest.raises(InputError, match=r'plans/defaults/freq1_H15_beam128 .*plans/defaults/other'):
        choose_comparable(load_results(tmp_path))


# -------------------------------- printing -------------------------------- #


def test_the_table_is_aligned_and_shows_returns_scores_and_provenance(tmp_path, write_rollout):
    for seed, score in enumerate([0.4, 0.5, 0.6]):
        write_rollout(tmp_path / PLANS / str(seed), seed=seed, score=score, return_=1000 + 100 * seed)
    write_rollout(
        tmp_path / 'mine/plans/x/0',
        dataset='mine',
        score=None,
        return_=-7,
        physics='stock',
        data_source='data/mine.hdf5',
    )
    header, hopper, mine = format_experiments(load_results(tmp_path)).splitlines()
    for line, cells in [
        (hopper, ['1100.0 ± 57.7', '50.0 ± 5.8', '3', 'Hopper-v4', 'd4rl', 'D4RL']),
        (mine, ['-7.0 ± -', '-', '1', 'Hopper-v4', 'stock', 'data/mine.hdf5']),
    ]:
        assert [cell.strip() for cell in line.split('  ') if cell.strip()][2:] == cells
        for title, cell in zip(['return', '100 x score', 'n'], cells, strict=False):
            assert line[: header.index(f' {title} ') + len(title) + 1].endswith(cell)
        assert line.index(cells[-1]) == header.index('data source')


def test_repeated_seeds_and_mixed_epochs_are_pointed_out(tmp_path, write_rollout):
    for number, epoch in enumerate([10, 20, 20]):
        write_rollout(tmp_path / PLANS / str(number), seed=42, gpt_epoch=epoch)
    _, _, *warnings = format_experiments(load_results(tmp_path)).splitlines()
    assert '3 rollouts, but 1 seeds' in warnings[0]
    assert 'different epochs: 10, 20' in warnings[1]


def test_the_command_reads_the_logs_beneath_it_by_default(tmp_path, write_rollout):
    write_rollout(tmp_path / 'logs' / PLANS / '0')
    done = run_command(tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'hopper-medium-v2' in done.stdout


def test_the_command_ends_an_input_error_with_its_message_alone(tmp_path):
    done = run_command(tmp_path, 'elsewhere')
    assert done.returncode == 2
    assert done.stdout == ''
    assert done.stderr.startswith('read_results.py: error: found no plans/**/rollout.json in elsewhere')
    assert 'Traceback' not in done.stderr


def test_logs_are_named_by_position_or_by_flag(tmp_path, write_rollout, capsys):
    write_rollout(tmp_path / PLANS / '0')
    main([str(tmp_path), '--exp_name', 'plans/*'])
    by_position = capsys.readouterr().out
    main(['--logbase', str(tmp_path), '--dataset', 'hopper-medium-v2'])
    assert capsys.readouterr().out == by_position
    assert json.loads((tmp_path / PLANS / '0/rollout.json').read_text())['environment'] in by_position


def run_command(folder, *flags):
    script = Path(__file__).parents[2] / 'plotting/read_results.py'
    return subprocess.run(
        [sys.executable, script, *flags],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONIOENCODING': 'utf-8'},
        check=False,
    )


def test_episodes_of_two_models_are_kept_apart_and_said_to_be(tmp_path, capsys):
    for k in range(7):
        folder = tmp_path / f'hopper-medium-v2/plans/x/{k}'
        folder.mkdir(parents=True)
        (folder / 'rollout.json').write_text(
            json.dumps(
                {
                    'score': 0.5,
                    'return': 100 + k,
                    'step': 1000,
                    'term': False,
                    'gpt_epoch': 1,
                    'seed': k,
                    'identity': 'one' if k < 5 else 'two',
                }
            )
        )
    main([str(tmp_path)])
    said = capsys.readouterr().out
    assert '102.0 ± 0.7' in said
    assert '105.5 ± 0.5' in said
    assert 'hopper-medium-v2 plans/x: 2 lines, because its rollouts are of different models, settings or data' in said
    assert 'the deviation of the sample (n - 1)' in said


def test_evaluations_stand_beside_plans(tmp_path):
    for root, algorithm in (('plans', 'trajectory_transformer'), ('evaluations', 'behavior_cloning')):
        folder = tmp_path / f'hopper-medium-v2/{root}/x/0'
        folder.mkdir(parents=True)
        (folder / 'rollout.json').write_text(
            json.dumps({'score': 0.5, 'return': 1, 'step': 1000, 'term': False, 'gpt_epoch': 1, 'algorithm': algorithm})
        )
    found = load_results(tmp_path)
    assert {(one.exp_name, one.algorithm) for one in found} == {
        ('plans/x', 'trajectory_transformer'),
        ('evaluations/x', 'behavior_cloning'),
    }
