"""The picture of returns reached against returns asked for."""

import json

import numpy as np
import pytest
from matplotlib.image import imread

from plotting.read_results import load_results
from plotting.targets import find_targets, main


@pytest.fixture
def logs(tmp_path):
    for target in (3600, 1800, -5.5):
        for k in range(3):
            folder = tmp_path / f'logs/x/evaluations/dt/a/target_return{target:g}/{k}'
            folder.mkdir(parents=True)
            (folder / 'rollout.json').write_text(json.dumps({
                'score': 0.5, 'return': target / 2 + k, 'step': 9, 'term': False, 'gpt_epoch': 1, 'seed': k,
                'algorithm': 'decision_transformer',
            }))  # fmt: skip
    return tmp_path / 'logs'


def test_targets_are_read_from_the_names_in_order(logs):
    ((name, points),) = find_targets(load_results(logs)).items()
    assert name == 'evaluations/dt/a'
    assert [target for target, _ in points] == [-5.5, 1800, 3600]
    assert points[2][1].returns == [1800, 1801, 1802]


def test_the_picture_is_drawn(logs, tmp_path, capsys):
    main([str(logs), '--dataset', 'x', '--savepath', str(tmp_path / 'x.png')])
    assert capsys.readouterr().out == f'wrote {tmp_path}/x.png\n'
    picture = imread(tmp_path / 'x.png')
    assert np.ptp(picture[..., :3]) > 0.5


def test_without_targets_it_says_how_to_get_some(logs, tmp_path, capsys):
    for folder in list((logs / 'x/evaluations/dt/a').iterdir()):
        folder.rename(folder.with_name(folder.name.replace('target', 'other')))
    with pytest.raises(SystemExit):
        main([str(logs), '--dataset', 'x', '--savepath', str(tmp_path / 'x.png')])
    assert 'asked for a return' in capsys.readouterr().err
