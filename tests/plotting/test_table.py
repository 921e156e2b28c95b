"""The table is the paper's, compiles, and holds of our results only what is comparable."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plotting import scores
from plotting.read_results import Experiment
from plotting.table import (
    ALGORITHMS,
    OURS,
    add_ours,
    describe_ours,
    format_algorithm,
    format_algorithms,
    format_averages,
    format_averages_block,
    format_buffer_block,
    format_result,
    format_row,
    format_table,
    get_result,
    main,
    our_columns,
)

DOCUMENT = r"""\documentclass{article}
\usepackage{booktabs}
\begin{document}
\small
%s
\end{document}
"""


def test_results_have_a_mean_and_for_tt_an_error():
    assert get_result('TT', 'medium-expert', 'ant') == (116.1, 9.0)
    assert get_result('CQL', 'medium', 'hopper') == (58.5, None)
    assert get_result('CQL', 'medium', 'ant') == (None, None)


def test_results_are_formatted_with_one_decimal_and_a_raised_error():
    assert format_result(95.0, 0.2) == r'$95.0$ \scriptsize{\raisebox{1pt}{$\pm 0.2$}}'
    assert format_result(4.31) == '$4.3$'
    assert format_result(None) == '$-$'


def test_a_row_names_its_setting_and_has_one_cell_per_algorithm():
    assert format_row('medium-replay', 'halfcheetah', ['BC', 'TT']) == (
        r'Medium-Replay & HalfCheetah & $4.3$ & $41.9$ \scriptsize{\raisebox{1pt}{$\pm 2.5$}} \\'
    )
    assert len(format_buffer_block('medium', ALGORITHMS).splitlines()) == 4


def test_the_heading_names_every_algorithm():
    heading = format_algorithms(['BC', 'TT'])
    assert heading.endswith(rf'& {format_algorithm("BC")} & {format_algorithm("TT")} \\')
    assert heading.count('&') == 3


def test_the_averages_are_the_published_ones():
    without_ant, all_settings = format_averages_block(ALGORITHMS).splitlines()
    assert without_ant.endswith(r'& $47.7$ & $47.8$ & $36.9$ & $77.6$ & $74.7$ & $78.9$ \\')
    assert all_settings.endswith(r'& $-$ & $-$ & $-$ & $-$ & $-$ & $82.2$ \\')
    assert format_averages('without Ant', scores.SETTINGS_WITHOUT_ANT, ALGORITHMS) == without_ant


def test_every_line_of_the_table_has_as_many_columns_as_declared():
    lines = format_table().splitlines()
    assert lines[0] == r'\begin{tabular}{llrrrrrr}'
    rows = [line for line in lines if line.endswith(r'\\')]
    assert len(rows) == 1 + 12 + 2
    assert {row.count('&') + row.count(r'\multicolumn{2}') for row in rows} == {7}


@pytest.mark.skipif(shutil.which('pdflatex') is None, reason='pdflatex is not installed')
def test_the_table_compiles(tmp_path, write_rollout, capsys):
    write_rollout(tmp_path / 'logs/hopper-medium-v2/plans/x/0', score=0.6)
    write_rollout(tmp_path / 'logs/hopper-mine/plans/my_50%/0', dataset='hopper-mine', data_source='a_b & c\n\\d')
    main([])
    main(['--results', str(tmp_path / 'logs')])
    (tmp_path / 'table.tex').write_text(DOCUMENT % capsys.readouterr().out, encoding='utf-8')
    command = ['pdflatex', '-interaction=nonstopmode', '-halt-on-error', 'table.tex']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors='replace', check=False)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / 'table.pdf').exists()


def test_our_column_shows_mean_and_error_of_comparable_results(tmp_path, write_rollout, capsys):
    for seed, score in enumerate([0.5, 0.6, 0.7]):
        write_rollout(tmp_path / f'hopper-medium-v2/plans/x/{seed}', seed=seed, score=score)
    write_rollout(tmp_path / 'ant-medium-v2/plans/x/0', dataset='ant-medium-v2', score=0.9)
    main(['--results', str(tmp_path)])
    printed = capsys.readouterr().out
    assert r'\begin{tabular}{llrrrrrrr}' in printed
    hopper = next(line for line in printed.splitlines() if line.startswith('Medium & Hopper'))
    assert hopper.endswith(r'& $60.0$ \scriptsize{\raisebox{1pt}{$\pm 5.8$}} \\')
    ant = next(line for line in printed.splitlines() if line.startswith('Medium & Ant'))
    assert ant.endswith(r'& $90.0$ \\')
    assert r'& $78.9$ & $-$ \\' in printed
    assert '%   hopper-medium-v2 plans/x: TT (rerun), n = 3, environment Hopper-v4, physics d4rl, data' in printed
    assert 'Left out' not in printed
    assert OURS not in scores.means['medium']['hopper']  # the published numbers stay as they are


def test_nine_results_of_ours_have_an_average(tmp_path, write_rollout, capsys):
    for number, (buffer, environment) in enumerate(scores.SETTINGS_WITHOUT_ANT):
        name = f'{environment}-{buffer}-v2'
        write_rollout(tmp_path / name / 'plans/x/0', dataset=name, score=0.1 * number)
    main(['--results', str(tmp_path)])
    assert r'& $78.9$ & $40.0$ \\' in capsys.readouterr().out


def test_what_is_not_comparable_is_left_out_and_named_beneath(tmp_path, write_rollout, capsys):
    write_rollout(tmp_path / 'hopper-medium-v2/plans/x/0', score=0.77, physics='stock')
    write_rollout(
        tmp_path / 'walker2d-medium-v2/plans/x/0',
        score=0.77,
        dataset='walker2d-medium-v2',
        data_source='data/mine.hdf5',
    )
    main(['--results', str(tmp_path)])
    table, _, comments = capsys.readouterr().out.partition('\\end{tabular}\n')
    assert '77.0$ \\\\' not in table.replace('77.0$ \\scriptsize', '')
    assert all(line.startswith('% ') for line in comments.splitlines())
    assert 'nothing comparable was found' in comments
    assert 'hopper-medium-v2 plans/x: physics stock (environment Hopper-v4' in comments
    assert 'walker2d-medium-v2 plans/x: data source data/mine.hdf5' in comments


def test_the_comments_beware_of_repeated_seeds(tmp_path, write_rollout, capsys):
    for number in range(2):
        write_rollout(tmp_path / f'hopper-medium-v2/plans/x/{number}', seed=42)
    main(['--results', str(tmp_path)])
    assert '%   beware: hopper-medium-v2 plans/x: 2 rollouts, but 1 seeds' in capsys.readouterr().out


def test_the_command_runs_as_a_script_and_ends_input_errors_with_code_2(tmp_path):
    script = Path(__file__).parents[2] / 'plotting/table.py'
    done = subprocess.run(
        [sys.executable, script, '--results', 'nowhere'], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ''
    assert done.stderr.startswith('table.py: error: found no plans/**/rollout.json in nowhere')
    assert 'Traceback' not in done.stderr


def test_no_name_ends_the_comment_that_it_stands_in():
    experiment = Experiment('x\n\\input{|id}', 'plans/y\u2028\\input{|id}', 'e', 'd4rl', 'a\r\\input{|id}', ())
    for line in describe_ours({}, [(experiment, 'why\x85\\input{|id}')]).splitlines():
        assert line.startswith('% ')


def test_each_method_has_a_column_of_its_own():
    rollouts = tuple(
        {'score': 0.5, 'return': 1, 'step': 1000, 'term': False, 'seed': k, 'gpt_epoch': 1} for k in range(3)
    )
    facts = ('hopper-medium-v2', 'x', 'Hopper-v4', 'd4rl', 'D4RL', rollouts)
    chosen = {
        ('medium', 'hopper', algorithm): Experiment(*facts, algorithm)
        for algorithm in ('behavior_cloning', 'trajectory_transformer', 'decision_transformer', 'new')
    }
    assert our_columns(chosen) == ['TT (rerun)', 'DT (rerun)', 'BC (rerun)', 'new (rerun)']
    means, _ = add_ours(chosen)
    assert means['medium']['hopper']['DT (rerun)'] == 50
