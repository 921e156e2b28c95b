"""The curve of returns over gradient steps, and the paths of 2-D navigation."""

import json

import numpy as np
import pytest
from matplotlib.image import imread

from plotting.adaptation import find_adaptations, main, read_paths
from plotting.read_results import load_results
from trajectory.utils.errors import InputError


@pytest.fixture
def logs(tmp_path, write_rollout):
    for steps in (0, 1, 10):
        for task in range(3):
            folder = tmp_path / f'logs/nav/evaluations/maml/a_trained/steps{steps}/{task}'
            write_rollout(
                folder, dataset='nav', return_=-40 + steps + task, task={'goal': [0.1 * task, 0.3]}, seed=task
            )
            if task < 2 and steps < 2:
                walk = np.cumsum(np.ones((9, 4, 2)) * 0.01, axis=0)
                np.savez(folder / 'episodes.npz', observations=walk, lengths=np.array([9, 5, 9, 9]))
    return tmp_path / 'logs'


def test_steps_are_read_from_the_names_in_order(logs):
    ((name, points),) = find_adaptations(load_results(logs)).items()
    assert name == 'evaluations/maml/a_trained'
    assert [steps for steps, _ in points] == [0, 1, 10]
    assert points[2][1].returns == [-30, -29, -28]


def test_paths_are_those_of_the_tasks_whose_episodes_were_kept(logs):
    paths = read_paths(logs / 'nav/evaluations/maml/a_trained/steps1')
    assert list(paths) == [0, 1]
    goal, walks = paths[1]
    assert goal.tolist() == [0.1, 0.3]
    assert [len(walk) for walk in walks] == [9, 5, 9, 9]


def test_the_pictures_are_drawn(logs, tmp_path, capsys):
    main([str(logs), '--dataset', 'nav', '--savepath', str(tmp_path / 'a.png'), '--paths', str(tmp_path / 'p.png')])
    assert capsys.readouterr().out == f'wrote {tmp_path}/a.png\nwrote {tmp_path}/p.png\n'
    for name in 'ap':
        assert np.ptp(imread(tmp_path / f'{name}.png')[..., :3]) > 0.5


def test_without_results_it_says_how_to_get_some(logs, tmp_path, capsys):
    for folder in list((logs / 'nav/evaluations/maml/a_trained').iterdir()):
        folder.rename(folder.with_name(folder.name.replace('steps', 'other')))
    with pytest.raises(SystemExit):
        main([str(logs), '--dataset', 'nav', '--savepath', str(tmp_path / 'x.png')])
    assert 'Evaluate a run: python scripts/evaluate.py --config config.meta --env nav' in capsys.readouterr().err


def test_paths_of_tasks_without_goals_are_refused(logs):
    folder = logs / 'nav/evaluations/maml/a_trained/steps0'
    rollout = json.loads((folder / '0/rollout.json').read_text())
    (folder / '0/rollout.json').write_text(json.dumps({**rollout, 'task': {'velocity': 1.0}}))
    with pytest.raises(InputError, match='is of no task with a goal'):
        read_paths(folder)
