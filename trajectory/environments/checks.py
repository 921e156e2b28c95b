"""What cannot be simulated here, and the errors that say so."""

from trajectory.environments.catalogue import ROBOTS
from trajectory.utils.errors import InputError

PHYSICS = ('d4rl', 'stock')
D4RL_ROBOTS = tuple(f'{robot}-v4' for robot in ROBOTS.values())  # whose physics of MuJoCo 2.1.0 can be had


def check_physics(id: str, physics: str) -> None:
    """Raise InputError for physics that are unknown, or that the environment does not have."""
    if physics not in PHYSICS:
        raise InputError(f"unknown physics '{physics}' for {id}; there are: {', '.join(PHYSICS)}")
    if physics == 'd4rl' and id not in D4RL_ROBOTS:
        raise InputError(f'{id} has no D4RL physics; {", ".join(D4RL_ROBOTS)} have')


def unknown_environment(id: str, error: Exception) -> InputError:
    """The error for an environment that cannot be made."""
    return InputError(
        f"'{id}' is not an environment that Gymnasium can make here: {error}\n"
        '  Install what provides it, or correct metadata/env in the dataset.'
    )


def not_mujoco(id: str) -> InputError:
    """The error for an environment whose state cannot be read."""
    return InputError(
        f"'{id}' is no robot of MuJoCo's, whose state could be read.\n  Name one that is: Hopper-v4, say."
    )
