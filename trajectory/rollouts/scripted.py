"""Record episodes of a suite's tasks by hand-written policies, undisturbed or disturbed."""

from collections.abc import Sequence

import numpy as np

from trajectory.environments.suites.making import make_suite_env
from trajectory.environments.suites.registry import SuiteTask
from trajectory.utils.errors import InputError
from trajectory.utils.progress import Silent

COLUMNS = ('observations', 'actions', 'rewards', 'terminals', 'timeouts', 'successes')


def scripted_policy(task: SuiteTask):
    """The hand-written policy of a task; it has `act(env) -> action`."""
    if task.suite == 'metaworld':
        from trajectory.environments.suites.metaworld import ScriptedPolicy
    elif task.suite == 'dm_control':
        from trajectory.environments.suites.dm_control import ScriptedPolicy
    else:
        raise InputError(f'{task.name} has no hand-written policy.\n  Record it by --robot instead of --suite.')
    return ScriptedPolicy(task)


def record_scripted(
    task: SuiteTask, n_episodes: int, seed: int = 0, noises: Sequence[float] = (0.0,), progress=None
) -> dict[str, np.ndarray]:
    """Columns of D4RL's layout, and `successes` [ steps ] where the task tells them.

    The k-th episode has the seed `seed + k`. Its actions are disturbed as they are taken, by normal noise whose
    deviation is one of `noises` in turn, and recorded as they were intended: so the data shows how to recover.
    """
    env, policy, progress = make_suite_env(task), scripted_policy(task), progress or Silent()
    rows = []
    for k in range(n_episodes):
        rng = np.random.default_rng([seed + k, 1])
        observation, _ = env.reset(seed=seed + k)
        over = False
        while not over:
            intended = policy.act(env)
            taken = np.clip(intended + noises[k % len(noises)] * rng.normal(size=intended.shape), -1, 1)
            following, reward, terminated, truncated, info = env.step(taken)
            rows.append((observation, intended, reward, terminated, truncated, info.get('success', False)))
            observation, over = following, terminated or truncated
        progress.update()
    env.close()
    columns = {name: np.array(column) for name, column in zip(COLUMNS, zip(*rows, strict=True), strict=True)}
    if not task.has_success:
        del columns['successes']
    return columns
