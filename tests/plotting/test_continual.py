"""The heat map of scores over time, and its table."""

import json
import re

import numpy as np
import pytest
from matplotlib.image import imread

from plotting import report
from plotting.continual import main, read_sequence
from trajectory.utils.errors import InputError


@pytest.fixture
def run(tmp_path):
    def row(update, current, **scores):
        return {'update': update, 'current': current,
                'tasks': {name: {'score': s, 'any_success': 1.0} for name, s in scores.items()}}  # fmt: skip

    rows = [row(0, 0, a=0.0, b=0.0, c=1.0), row(5, 0, a=1.0, b=0.0, c=0.5), row(10, 1, a=0.25, b=1.0, c=0.25)]
    folder = tmp_path / 'l2m'
    folder.mkdir()
    (folder / 'continual.json').write_text(json.dumps({'sequence': ['a', 'b'], 'others': ['c'], 'evaluations': rows}))
    return folder


def test_scores_are_read_and_summed_up(run):
    sequence = read_sequence(run)
    assert sequence.tasks == ('a', 'b', 'c')
    assert sequence.scores.tolist() == [[0, 0, 1], [1, 0, 0.5], [0.25, 1, 0.25]]
    assert sequence.forgotten == pytest.approx((0.75 + 0) / 2)
    assert sequence.lost_of_others == 0.75
    assert read_sequence(run, 'any_success').scores.min() == 1


def test_the_picture_is_drawn_and_the_table_printed(run, tmp_path, capsys):
    main([str(run), str(run), '--savepath', str(tmp_path / 'x.png')])
    printed = capsys.readouterr().out
    assert re.search(r'l2m +final 0.62 \(0.25, 1.00\) \| forgetting 0.38 \| others lost 0.75', printed)
    picture = imread(tmp_path / 'x.png')[..., :3]
    assert np.ptp(picture) > 0.5


NO_SCORES = (
    {'evaluations': []},
    {'sequence': ['z']},
    {'evaluations': [{'update': 0, 'current': 9, 'tasks': {}}]},
    None,
)


@pytest.mark.parametrize('change', NO_SCORES)
def test_what_holds_no_scores_is_refused(run, change):
    path = run / 'continual.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **change} if change else [1]))
    with pytest.raises(InputError, match='holds no scores of tasks over time'):
        read_sequence(run)


def test_the_report_shows_the_heat_map(run, tmp_path):
    folder = tmp_path / 'logs/metaworld/mddt/l2m'
    folder.parent.mkdir(parents=True)
    run.rename(folder)
    (folder / 'metrics.jsonl').write_text(json.dumps({'epoch': 1, 'step': 10, 'loss': 1.0}) + '\n')
    report.main([str(tmp_path / 'logs')])
    page = (tmp_path / 'logs/report.html').read_text()
    assert 'Scores of tasks over time' in page
    assert 'Scores of each task over the updates of mddt/l2m' in page
