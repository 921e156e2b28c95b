"""A learning curve is drawn from whatever a run has written so far."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from plotting.curve import draw_learning_curve, logged, lower_number, main, plot_run, read_metrics
from trajectory.utils.errors import InputError

LOSS_COLOR, HELDOUT_COLOR = [0.227, 0.427, 0.710], [0.851, 0.510, 0.169]


def line(step, **changes):
    return (
        json.dumps(
            {
                'epoch': step // 10,
                'step': step,
                'tokens': 1000 * step,
                'loss': 3 / (1 + step),
                'learning_rate': 6e-4,
                **changes,
            }
        )
        + '\n'
    )


@pytest.fixture
def metrics_path(tmp_path):
    path = tmp_path / 'logs/hopper-medium-v2/gpt/azure/metrics.jsonl'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(line(step) for step in range(50)))
    return path


def count_pixels(path, color):
    return np.isclose(imread(path)[..., :3], color, atol=0.02).all(axis=-1).sum()


def test_the_loss_is_drawn_and_held_out_loss_where_there_is_some(metrics_path, tmp_path):
    draw_learning_curve(metrics_path, tmp_path / 'deep/without.png')
    assert count_pixels(tmp_path / 'deep/without.png', LOSS_COLOR) > 200
    assert count_pixels(tmp_path / 'deep/without.png', HELDOUT_COLOR) == 0

    lines = [line(step, heldout_loss=2.0 if step % 10 == 0 else None) for step in range(50)]
    metrics_path.write_text(''.join(lines))
    draw_learning_curve(metrics_path, tmp_path / 'with.png')
    assert count_pixels(tmp_path / 'with.png', HELDOUT_COLOR) > 200


def test_a_single_line_is_drawn_as_a_point(metrics_path, tmp_path):
    metrics_path.write_text(line(100))
    draw_learning_curve(metrics_path, tmp_path / 'learning_curve.png')
    assert count_pixels(tmp_path / 'learning_curve.png', LOSS_COLOR) > 20


def test_the_ticks_of_a_single_line_differ(metrics_path):
    from matplotlib.figure import Figure

    from plotting.curve import dress, plot_run, read_metrics

    metrics_path.write_text(line(100))
    top, bottom = Figure().subplots(2, 1, sharex=True)
    plot_run(top, bottom, read_metrics(metrics_path))
    dress(top, bottom)
    for axes, axis in ((top, 'y'), (bottom, 'x'), (bottom, 'y')):
        formatter = getattr(axes, f'{axis}axis').get_major_formatter()
        low, high = getattr(axes, f'get_{axis}lim')()
        ticks = [tick for tick in getattr(axes, f'get_{axis}ticks')() if low <= tick <= high]
        labels = formatter.format_ticks(ticks)
        assert len(set(labels)) == len(labels) > 1, (axis, labels)


def test_a_truncated_last_line_is_passed_over(metrics_path):
    whole = read_metrics(metrics_path)
    with metrics_path.open('ab') as file:
        file.write(line(50).encode()[:25] + '±'.encode()[:1])  # cut within a character
    assert read_metrics(metrics_path) == whole
    assert len(whole) == 50


def test_a_resumed_run_forgets_what_lay_beyond_the_point_of_resuming(metrics_path):
    metrics_path.write_text(line(1) + line(2) + line(3) + line(4) + line(2, loss=9.0) + line(3, loss=8.0))
    assert [(record['step'], record['loss']) for record in read_metrics(metrics_path)] == [(1, 1.5), (2, 9.0), (3, 8.0)]


@pytest.mark.parametrize(
    ('content', 'complaint'),
    [
        ('', 'holds no metrics yet'),
        ('{"epoch": 0, "st', 'holds no metrics yet'),
        (line(0) + '{"epoch": 0, "st\n' + line(1), 'line 2 of .* is not valid JSON'),
        (line(0) + '{"epoch": 0, "step": 1, "tokens": 5}\n', 'line 2 of .* has no number for the loss'),
        (line(0, loss='low'), 'line 1 of .*: loss is low, expected a number'),
        (line(0, loss=1.7e308), 'line 1 of .*: loss is 1.7e.308, expected a number'),
        (line(0, heldout_loss={}), 'line 1 of .*: heldout_loss is {}, expected a number'),
        (100_000 * '[' + '\n' + line(1), 'line 1 of .* is not valid JSON: nested too deeply'),
        ('7\n', 'line 1 of .* has no number for epoch, step'),
    ],
)
def test_metrics_that_cannot_be_drawn_are_told_with_the_line(metrics_path, content, complaint):
    metrics_path.write_text(content)
    with pytest.raises(InputError, match=complaint):
        read_metrics(metrics_path)


def test_a_loss_that_is_not_a_number_leaves_a_gap(metrics_path, tmp_path):
    metrics_path.write_text(line(0) + line(1) + line(2, loss=float('nan')))
    draw_learning_curve(metrics_path, tmp_path / 'learning_curve.png')
    assert count_pixels(tmp_path / 'learning_curve.png', LOSS_COLOR) > 100


def test_the_command_takes_a_run_and_writes_beside_its_metrics(metrics_path, capsys):
    run = metrics_path.parent
    main([str(run)])
    assert (run / 'learning_curve.png').exists()
    assert capsys.readouterr().out == f'wrote {run}/learning_curve.png\n'
    main([str(metrics_path), '--savepath', str(run / 'other.png')])
    assert (run / 'other.png').read_bytes() == (run / 'learning_curve.png').read_bytes()


def test_the_command_ends_an_input_error_with_its_message_alone(tmp_path):
    script = Path(__file__).parents[2] / 'plotting/curve.py'
    done = subprocess.run(
        [sys.executable, script, 'logs/nothing'], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        'curve.py: error: cannot read logs/nothing/metrics.jsonl: No such file or directory.\n'
        '  Pass the folder of a training run, logs/<dataset>/<exp_name>.\n'
    )


def test_numbers_of_one_group_are_drawn_together(tmp_path):
    rows = [
        {'epoch': n, 'step': n, 'returns/before': n, 'returns/after': 2 * n, 'returns/heldout_0': 3 * n, 'kl': 0.01 / n}
        for n in range(1, 5)
    ]
    assert logged(rows[0]) == ['returns/before', 'returns/after']
    assert lower_number(rows[0]) == 'kl'
    (tmp_path / 'metrics.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    figure = Figure()
    top, bottom = figure.subplots(2, 1)
    plot_run(top, bottom, read_metrics(tmp_path / 'metrics.jsonl'))
    assert [line.get_label() for line in top.lines] == ['before', 'after']
    assert list(top.lines[1].get_ydata()) == [2, 4, 6, 8]
    assert len(bottom.lines) == 1
