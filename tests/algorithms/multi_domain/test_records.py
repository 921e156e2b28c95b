"""The folder of a multi-domain run: scores over time, evaluations, and what is refused."""

import json
import re

import numpy as np
import pytest

from tests.algorithms.multi_domain.test_algorithm import SMALL, TASKS, data, logbase  # noqa: F401  fixtures
from tests.scripts.test_train_and_plan import start
from trajectory.algorithms.multi_domain.records import load_policy, summarize
from trajectory.utils.errors import InputError


def test_scores_over_time_are_summed_up():
    def row(update, current, **scores):
        return {'update': update, 'current': current, 'tasks': {name: {'score': s} for name, s in scores.items()}}

    history = [row(0, 0, a=0.0, b=0.0, c=1.0), row(5, 0, a=1.0, b=0.0, c=0.5), row(10, 1, a=0.25, b=1.0, c=0.0)]
    summary = summarize(history, ['a', 'b'])
    assert summary['others'] == ['c']
    assert summary['others_average'] == [1, 0.5, 0]
    assert summary['average'] == [0, 0.5, 0.625]
    assert summary['mean_forgetting'] == [None, None, 0.375]
    assert summary['forgetting'][2] == [0.75, 0.0]


def test_a_sequence_is_evaluated_before_and_after_each_task(data, logbase):  # noqa: F811
    pytest.importorskip('metaworld')
    flags = ('--config', 'config.continual', '--data_path', data, '--logbase', logbase, *SMALL, '--tasks', TASKS[2],
             TASKS[1], '--base', 'base', '--finetuning', 'l2m_lora', '--num_updates', 3, '--n_keys', 4,
             '--eval_every', 1, '--eval_episodes', 1, '--eval_tasks', TASKS[0], '--exp_name', 'l2m')  # fmt: skip
    start('train', *flags)
    folder = logbase / 'metaworld/l2m'
    summary = json.loads((folder / 'continual.json').read_text())
    assert [one['update'] for one in summary['evaluations']] == [0, 3, 6]
    assert [one['current'] for one in summary['evaluations']] == [0, 0, 1]
    assert set(summary['evaluations'][0]['tasks']) == set(TASKS)
    start('evaluate', '--config', 'config.continual', '--logbase', logbase, '--loadpath', 'l2m', '--tasks', TASKS[0],
          '--n_episodes', 2, '--modulators', 'False', '--n_videos', 1)  # fmt: skip
    rollouts = [
        json.loads((logbase / f'metaworld/evaluations/l2m/{TASKS[0]}/{k}/rollout.json').read_text()) for k in (0, 1)
    ]
    assert [rollout['seed'] for rollout in rollouts] == [0, 1]
    films = list((logbase / 'metaworld/evaluations').glob('**/rollout.mp4'))
    assert [film.parent.name for film in films] == ['0']
    assert films[0].stat().st_size > 10_000
    assert {rollout['environment'] for rollout in rollouts} == {TASKS[0]}
    assert {'any_success', 'success', 'score', 'return'} <= set(rollouts[0])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'context': 0}, 'context is'),
        ({'model': {}}, 'says nothing of state_dim'),
        ({'state_mean': [0.0]}, 'state_mean is'),
        ({'tasks': ['nothing']}, 'names no tasks of the suites'),
        ({'targets': {}}, 'or not their targets'),
        ({'finetuning': 'magic'}, 'finetuning is'),
    ],
)
def test_a_broken_recipe_is_refused(logbase, tmp_path, change, message):  # noqa: F811
    folder = logbase / 'metaworld/base'
    for path in folder.glob('state_*.pt'):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    recipe = json.loads((folder / 'model_config.json').read_text())
    (tmp_path / 'model_config.json').write_text(json.dumps({**recipe, **change}))
    with pytest.raises(InputError, match=re.escape(message)):
        load_policy(tmp_path, 'latest', 'cpu')


def test_recipes_hold_plain_numbers(logbase):  # noqa: F811
    recipe = json.loads((logbase / 'metaworld/base/model_config.json').read_text())
    assert np.shape(recipe['state_mean']) == (39,)
    assert recipe['targets'].keys() == set(TASKS[:2])
