"""The bar chart averages the same settings for everyone, and draws without TeX or a display."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from plotting.plot import average_all, describe_settings, draw_bars, main, read_ours
from plotting.scores import SETTINGS_WITHOUT_ANT, means
from plotting.table import OURS


def test_the_bars_are_the_published_averages():
    averages = {algorithm: round(average, 1) for algorithm, average in average_all(means).items()}
    assert averages == {
        'BC': 47.7,
        'MBOP': 47.8,
        'MOPO': 42.1,
        'BRAC': 36.9,
        'CQL': 77.6,
        'DT': 74.7,
        'TT (uniform)': 72.6,
        'TT': 78.9,
    }


def test_a_higher_average_is_a_higher_bar(tmp_path):
    draw_bars({'BC': 20.0, 'TT': 80.0}, SETTINGS_WITHOUT_ANT, tmp_path / 'deep/bar.png')
    picture = imread(tmp_path / 'deep/bar.png')[..., :3]
    counts = [
        np.isclose(picture, color, atol=0.02).all(axis=-1).sum()
        for color in ([0.722, 0.745, 0.780], [0.227, 0.427, 0.710])
    ]
    assert counts[1] / counts[0] == pytest.approx(4, rel=0.02)


def test_a_negative_average_stays_in_the_picture(tmp_path):
    draw_bars({'BC': 50.0, 'TT': -50.0}, SETTINGS_WITHOUT_ANT, tmp_path / 'bar.png')
    picture = imread(tmp_path / 'bar.png')[..., :3]
    counts = [
        np.isclose(picture, color, atol=0.02).all(axis=-1).sum()
        for color in ([0.722, 0.745, 0.780], [0.227, 0.427, 0.710])
    ]
    assert counts[1] / counts[0] == pytest.approx(1, rel=0.02)


def test_our_bar_makes_all_bars_average_the_settings_that_we_have(tmp_path, write_rollout, capsys):
    logs = tmp_path / 'logs'
    write_rollout(logs / 'hopper-medium-v2/plans/x/0', score=0.7)
    write_rollout(logs / 'walker2d-medium-v2/plans/x/0', score=0.8, dataset='walker2d-medium-v2', physics='stock')
    with_ours, settings = read_ours(logs, exp_name=None)
    assert settings == (('medium', 'hopper'),)
    averages = average_all(with_ours, settings)
    assert averages['CQL'] == 58.5
    assert averages['TT (uniform)'] == 67.4
    assert averages[OURS] == 70.0
    assert 'left out: walker2d-medium-v2 plans/x: physics stock' in capsys.readouterr().out


def test_the_picture_says_what_it_averages():
    assert describe_settings(SETTINGS_WITHOUT_ANT) == (
        'HalfCheetah, Hopper, Walker2d  ×  Medium-Expert, Medium, Medium-Replay'
    )
    assert describe_settings([('medium', 'hopper'), ('medium', 'walker2d'), ('medium-replay', 'hopper')]) == (
        'Medium: Hopper, Walker2d;  Medium-Replay: Hopper'
    )


def test_results_that_share_no_setting_with_the_published_ones_are_an_error(tmp_path, write_rollout, capsys):
    write_rollout(tmp_path / 'ant-medium-v2/plans/x/0', dataset='ant-medium-v2')
    with pytest.raises(SystemExit, match='2'):
        main(['--results', str(tmp_path), '--savepath', str(tmp_path / 'bar.png')])
    assert 'holds nothing to set beside the published scores' in capsys.readouterr().err
    assert not (tmp_path / 'bar.png').exists()


def test_the_command_writes_bar_png_by_default_without_tex(tmp_path):
    script = Path(__file__).parents[2] / 'plotting/plot.py'
    environment = {**os.environ, 'PATH': '/nowhere', 'PYTHONIOENCODING': 'utf-8'}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'wrote plotting/bar.png\n'
    assert imread(tmp_path / 'plotting/bar.png').std() > 0.1
