"""Draw what a robot did, and what a plan imagines it would do.

Every renderer has the same four calls, `render`, `renders`, `render_plan` and `render_rollout`, and draws on
a copy: the environment it was given never notices. They take observations, or whole states ([ nq + nv ],
positions and then velocities), told apart by their width.
"""

import atexit
import contextlib
import copy
import importlib
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from trajectory.utils.errors import InputError
from trajectory.utils.files import mkdir, write_atomically
from trajectory.utils.layout import TransitionLayout
from trajectory.utils.video import save_video, save_videos

DIM = 256  # pixels of a side
MAX_HIDDEN = 2  # leading positions an observation may leave out: x, and y of a robot that floats
PIXEL = 72 / DIM  # points: a picture is one inch of `dim` pixels, so lines grow with it


def make_renderer(name, env=None):
    """A renderer by its name; None draws nothing.

    name : or the settings of a run, as the reference's scripts pass them alone: with `renderer` and `dataset`
    """
    if hasattr(name, 'renderer'):
        from trajectory.datasets.sources import load_environment

        env, name = load_environment(name.dataset), name.renderer
    if name is not None and name not in RENDERERS:
        raise InputError(f"unknown renderer '{name}'; there are: {', '.join(RENDERERS)}, and None")
    if name and env.robot is None:
        raise InputError('--backend d4rl draws nothing.\n  Plan without pictures: --renderer None.')
    return RENDERERS[name](env) if name else DebugRenderer(env)


def split(sequence: np.ndarray, observation_dim: int, action_dim: int):
    """Take transitions apart.    sequence : [ T x D ]    returns : observations, actions, rewards, values"""
    layout = TransitionLayout(observation_dim, action_dim)
    return (
        sequence[:, layout.observation],
        sequence[:, layout.action],
        sequence[:, layout.reward],
        sequence[:, layout.value],
    )


def set_state(env, state: np.ndarray) -> None:
    """Put a robot into a state.

    state : [ nq + nv ]  positions, then velocities; or an observation, whose hidden positions become 0
    """
    n_positions = env.robot.model.nq
    if len(state) != n_positions + env.robot.model.nv:
        state = DebugRenderer(env).to_states(np.asarray(state)[None])[0]
    env.set_state(state[:n_positions], state[n_positions:])


def rollout_from_state(env, state: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """What the real physics makes of some actions; the environment never notices, nor does its clock.

    actions : [ T x action_dim ]    returns : [ T + 1 x d ]  observations
    """
    return _simulate(env, state, actions, env.observe)


def _simulate(env, state, actions, read: Callable[[], np.ndarray]):
    """Read something of the robot before and after each action."""
    robot, own = env.robot, dict(vars(env.robot))
    # A saved and restored state would not do: Ant's next reward reads body positions of the last substep; and the
    # kitchen's robot remembers what it saw, and draws the noise on it.
    robot.data, robot._np_random = copy.copy(robot.data), copy.deepcopy(robot.np_random)
    try:
        set_state(env, state)
        readings = [read()]
        for action in actions:
            robot.step(action)  # the bare robot's: no limit counts it
            readings.append(read())
    finally:
        vars(robot).update(own)
    return np.array(readings)


class DebugRenderer:
    """Draws nothing, and takes every call.    dim : pixels of a side, unless a call asks for others"""

    def __init__(self, env, dim: int = DIM):
        self.env = env
        self.dim = dim

    def render(self, observation: np.ndarray, dim: int | None = None) -> np.ndarray:
        """One frame.    observation : [ d ], or a state    returns : [ dim x dim x 3 ] uint8"""
        return self.renders(np.asarray(observation)[None], dim)[0]

    def renders(self, observations: np.ndarray, dim: int | None = None) -> np.ndarray:
        """A frame a row.    observations : [ T x d ], or states    returns : [ T x dim x dim x 3 ] uint8"""
        dim = dim or self.dim
        return np.zeros((len(observations), dim, dim, 3), dtype=np.uint8)

    def render_plan(
        self, savepath: str | Path, sequence: np.ndarray, state: np.ndarray | None = None, fps: int | None = None
    ):
        """What a plan imagines, beside what its actions do.

        sequence : [ H x D ]  imagined transitions
        state    : [ nq + nv ]  the state they begin in; None takes what the first observation tells of it
        fps      : frames a second; None: 10, slow enough to see each transition
        """

    def render_rollout(self, savepath: str | Path, observations: np.ndarray, fps: int | None = None):
        """A whole episode, the last row included.    observations : [ T x d ], or states    fps : frames a second"""

    def _imagined(self, sequence):
        """Its observations, however many columns preprocessing left, and its actions."""
        action_dim = self.env.action_space.shape[0]
        observation_dim = sequence.shape[1] - TransitionLayout(0, action_dim).dim
        return split(sequence, observation_dim, action_dim)[:2]

    def to_states(self, observations: np.ndarray, state: np.ndarray | None = None) -> np.ndarray:
        """States of observations; those leave out how far the robot is, so it moves on with its velocity.

        observations : [ T x d ], or states already, which stay as they are
        state        : [ nq + nv ]  the one the first was made in; None puts that at the origin
        returns      : [ T x nq + nv ]
        """
        model = self.env.robot.model
        observations = np.asarray(observations, dtype=float)
        positions, velocities = self.unpack(observations)
        n_hidden = model.nq - positions.shape[1]
        if not n_hidden:
            return np.concatenate([positions, velocities], axis=1)
        start = np.zeros((1, n_hidden)) if state is None else np.asarray(state)[None, :n_hidden]
        moves = velocities[:-1, :n_hidden] * self.env.robot.dt
        place = np.cumsum(np.concatenate([start, moves]), axis=0)
        return np.concatenate([place, positions, velocities], axis=1)

    def unpack(self, observations: np.ndarray):
        """Positions and velocities in observations.

        observations : [ T x d ]    returns : [ T x nq ], less the leading ones left out, and [ T x nv ]
        """
        import mujoco

        model = self.env.robot.model
        n_hidden = model.nq + model.nv - observations.shape[1]
        if n_hidden < 0 and model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE:
            n_hidden = MAX_HIDDEN  # and contact forces behind the velocities
        if not 0 <= n_hidden <= MAX_HIDDEN:
            raise InputError(
                f'an observation of {observations.shape[1]} columns does not tell the {model.nq} positions '
                f'and {model.nv} velocities of {self.env.id}.\n'
                '  Plan without pictures: --renderer None; or name the renderer made for this robot.'
            )
        n_positions = model.nq - n_hidden
        return observations[:, :n_positions], observations[:, n_positions : n_positions + model.nv]


class Renderer(DebugRenderer):
    """Films a walking robot with MuJoCo, headless where there is no screen; the camera follows the torso."""

    fps = 30
    plan_fps = 10  # a plan is a few transitions: slow enough to see each

    def __init__(self, env, dim: int = DIM):
        super().__init__(env, dim)
        # triton and Mesa's software driver each bring an LLVM; loaded second, triton's crashes the process
        with contextlib.suppress(ImportError):
            import triton  # noqa: F401
        import mujoco

        self.model = copy.copy(env.robot.model)
        self.model.vis.quality.shadowsize = 0  # shadows cost two thirds of a frame in software
        self.data = mujoco.MjData(self.model)
        self.camera = mujoco.MjvCamera()
        self.aim(self.camera)
        self.films = {}
        self._film(dim)  # so that a machine that cannot draw says so before the episode, not after

    def aim(self, camera) -> None:
        """Point the camera."""
        import mujoco

        camera.type = mujoco.mjtCamera.mjCAMERA_TRACKING
        camera.trackbodyid = 1  # the first body after the world: the torso
        camera.distance, camera.elevation, camera.azimuth = 4, -15, 90

    def renders(self, observations: np.ndarray, dim: int | None = None) -> np.ndarray:
        import mujoco

        states = self.to_states(observations)
        states[:, :2] -= self.env.shift
        film = self._film(dim or self.dim)
        frames = np.empty((len(states), film.height, film.width, 3), dtype=np.uint8)
        for state, frame in zip(states, frames, strict=True):
            self.data.qpos[:], self.data.qvel[:] = state[: self.model.nq], state[self.model.nq :]
            mujoco.mj_forward(self.model, self.data)
            film.update_scene(self.data, self.camera)
            film.render(out=frame)
        return frames

    def render_plan(
        self, savepath: str | Path, sequence: np.ndarray, state: np.ndarray | None = None, fps: int | None = None
    ):
        observations, actions = self._imagined(sequence)
        imagined = self.to_states(observations, state)
        start = imagined[0] if state is None else state
        simulated = _simulate(self.env, start, actions, self.env.state_vector)[:-1]  # step for step beside it
        save_videos(savepath, self.renders(imagined), self.renders(simulated), fps=fps or self.plan_fps)

    def render_rollout(self, savepath: str | Path, observations: np.ndarray, fps: int | None = None):
        save_video(savepath, self.renders(observations), fps=fps or self.fps)

    def _film(self, dim):
        """The drawing board of this size."""
        if dim not in self.films:
            self.model.vis.global_.offwidth = self.model.vis.global_.offheight = dim
            self.films[dim] = _open_film(self.model, dim)
        return self.films[dim]


class KitchenRenderer(Renderer):
    """Films the kitchen: its observations are the positions of robot and objects, and perhaps the goal."""

    def aim(self, camera) -> None:
        camera.lookat[:] = -0.2, 0.5, 2.0
        camera.distance, camera.elevation, camera.azimuth = 2.2, -35, 70

    def unpack(self, observations: np.ndarray):
        model = self.env.robot.model
        return observations[:, : model.nq], np.zeros((len(observations), model.nv))


class Maze2dRenderer(DebugRenderer):
    """Draws paths through a maze from above, as a picture: walls, goal, start, end, and time as colour.

    The first two columns of a row are x and y. An episode's picture has the plans that were drawn before it, too.
    """

    def __init__(self, env, dim: int = DIM):
        super().__init__(env, dim)
        self.imagined = []  # paths, [ T x 2 ]

    def renders(self, observations: np.ndarray, dim: int | None = None) -> np.ndarray:
        """The path as it grows."""
        path = np.asarray(observations)
        return np.stack([self._draw([path[: end + 1]], path, dim or self.dim) for end in range(len(path))])

    def render_plan(
        self,
        savepath: str | Path,
        sequence: np.ndarray,
        state: np.ndarray | None = None,
        fps: int | None = None,  # noqa: ARG002
    ):
        """The imagined path, beside where its actions lead."""
        observations, actions = self._imagined(sequence)
        start = self.to_states(observations[:1])[0] if state is None else state
        self.imagined.append(observations[:, :2])
        self._save(savepath, [observations, _simulate(self.env, start, actions, self.env.state_vector)])

    def render_rollout(self, savepath: str | Path, observations: np.ndarray, fps: int | None = None):  # noqa: ARG002
        self._save(savepath, [np.asarray(observations)], self.imagined)

    def _save(self, savepath, paths, imagined=()):
        """Write a picture, also where a video was asked for."""
        import imageio.v3 as imageio

        picture = Path(savepath).with_suffix('.png')
        mkdir(picture.parent)
        view = np.concatenate([path[:, :2] for path in paths])
        with write_atomically(picture) as partial:
            imageio.imwrite(partial, self._draw(paths, view, self.dim, imagined))

    def _draw(self, paths, view, dim, imagined=()):
        """Panels side by side, all of one view.

        paths    : [ T x 2 or more ] each, x and y first
        view     : [ points x 2 or more ]  what every panel has room for, beside the walls
        imagined : [ T x 2 ] each, drawn in every panel
        returns  : [ dim x n * dim x 3 ]
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(len(paths), 1), dpi=dim)
        canvas = FigureCanvasAgg(figure)
        for k, path in enumerate(paths):
            panel = figure.add_axes((k / len(paths), 0, 1 / len(paths), 1))
            for wall in self._walls():
                panel.add_patch(wall)
            panel.update_datalim(view[:, :2])
            panel.plot(path[:, 0], path[:, 1], color='0.75', linewidth=PIXEL, zorder=2)
            panel.scatter(
                path[:, 0],
                path[:, 1],
                c=np.arange(len(path)),
                cmap='viridis',
                s=(3 * PIXEL) ** 2,
                linewidths=0,
                zorder=3,
            )
            for plan in imagined:
                panel.plot(plan[:, 0], plan[:, 1], color='tab:orange', linewidth=2 * PIXEL, zorder=3.5)
            if self.env.goal is not None:
                panel.plot(
                    *self.env.goal,
                    '*',
                    color='gold',
                    markersize=16 * PIXEL,
                    markeredgecolor='k',
                    markeredgewidth=PIXEL,
                    zorder=3.8,
                )
            for end, marker, color in ((0, 'o', 'tab:green'), (-1, 'X', 'tab:red')):
                panel.plot(*path[end, :2], marker, color=color, markersize=8 * PIXEL, markeredgewidth=0, zorder=4)
            panel.set_aspect('equal', adjustable='datalim')
            panel.autoscale_view()
            panel.axis('off')
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def _walls(self):
        """A square for every wall, of an environment that has some."""
        from matplotlib.patches import Rectangle

        if self.env.walls is None:
            return []
        side = self.env.wall_side
        return [Rectangle(middle - side / 2, side, side, color='0.6', linewidth=0) for middle in self.env.walls]


class AntMazeRenderer(Maze2dRenderer):
    """The same picture for Ant, whose rows begin with its x and y too."""


def _open_film(model, dim):
    """MuJoCo's drawing board, closed at exit while its driver is still there to be asked."""
    import mujoco

    unsettled = not os.environ.get('MUJOCO_GL') and not os.environ.get('DISPLAY')
    try:
        if unsettled and platform.system() == 'Linux':
            os.environ['MUJOCO_GL'] = 'egl'
            # MuJoCo read the variable when it was imported, which was before anyone asked for pictures.
            importlib.reload(sys.modules[mujoco.Renderer.__module__].gl_context)
        film = mujoco.Renderer(model, dim, dim)
    except Exception as error:  # every driver fails in its own way
        raise InputError(
            f'this machine cannot draw ({type(error).__name__}: {error}).\n'
            '  Plan without pictures: --renderer None; or install libegl1; or set MUJOCO_GL=osmesa.'
        ) from error
    atexit.register(film.close)
    return film


RENDERERS = {
    'Renderer': Renderer,
    'DebugRenderer': DebugRenderer,
    'KitchenRenderer': KitchenRenderer,
    'AntMazeRenderer': AntMazeRenderer,
    'Maze2dRenderer': Maze2dRenderer,
}
