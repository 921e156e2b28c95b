"""Make the environment of a suite's task; the package of all but robots is an extra of the suite's name."""

from trajectory.environments.suites.registry import SuiteTask


def make_suite_env(task: SuiteTask, render_mode: str | None = None):
    """A `gymnasium.Env` whose seed draws the goal."""
    if task.suite == 'metaworld':
        from trajectory.environments.suites.metaworld import MetaWorldEnv as Env
    elif task.suite == 'dm_control':
        from trajectory.environments.suites.dm_control import DMControlEnv as Env
    else:
        from trajectory.environments.suites.robots import RobotEnv as Env
    return Env(task, render_mode)
