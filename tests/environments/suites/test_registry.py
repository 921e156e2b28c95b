"""The tasks of the suites, their splits and widths."""

import pytest

from tests.support import golden
from trajectory.environments.suites.registry import CW10, DMC6, DMC10, MT40, TASKS, expand_tasks, find_task
from trajectory.utils.errors import InputError

FACTS = golden('continual/tasks')


def test_the_splits_are_the_originals():
    meta_world, dm_control = FACTS['meta_world'], FACTS['dmcontrol']
    assert {task['today'] for task in meta_world if task['split'] == 'MT40'} == set(MT40)
    assert {task['today'] for task in meta_world if task['split'] != 'MT40'} == set(CW10)
    assert CW10[:3] == ('hammer-v3', 'push-wall-v3', 'faucet-close-v3')
    for split, own in (('DMC10', DMC10), ('DMC6', DMC6)):
        expected = [task for task in dm_control if task['split'] == split]
        assert {
            task['name']: (task['actions'], task['random_return'], task['data_mean_return']) for task in expected
        } == own
    assert len(TASKS) == 66 + 3  # robots


def test_splits_are_written_out_and_each_task_is_there_once():
    assert [task.name for task in expand_tasks(['reach-v3', 'cw10', 'hammer-v3'])] == ['reach-v3', *CW10]
    assert [task.name for task in expand_tasks(['reach-v3,dmc6'])] == ['reach-v3', *DMC6]
    assert find_task('walker-run').action_dim == 6
    assert find_task('walker-run').references == DMC10['walker-run'][1:]
    assert find_task('reach-v3').has_success


@pytest.mark.parametrize(
    ('name', 'near'), [('reech-v3', 'reach-v3'), ('reach-v2', 'reach-v3'), ('walker_run', 'walker-run')]
)
def test_an_unknown_task_is_refused_with_the_nearest(name, near):
    with pytest.raises(InputError, match=f"Did you mean '{near}'"):
        find_task(name)


def test_no_task_is_refused():
    with pytest.raises(InputError, match='no task is named'):
        expand_tasks([])
