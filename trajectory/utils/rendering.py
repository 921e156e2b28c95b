"""Draw what a robot did, and what a plan imagines it would do.

Every renderer has the same four calls, `render`, `renders`, `render_plan` and `render_rollout`, and draws on a copy:
the environment it was given never notices.
"""
import atexit
import contextlib
import copy
import os
from pathlib import Path

import numpy as np

from trajectory.utils.errors import InputError
from trajectory.utils.layout import TransitionLayout
from trajectory.utils.serialization import write_atomically
from trajectory.utils.video import save_video, save_videos

DIM = 256          # pixels of a side
MAX_GEOMS = 1000


def make_renderer(name: str | None, env):
    """A renderer by its name; None draws nothing."""
    if name is not None and name not in RENDERERS:
        raise InputError(f"unknown renderer '{name}'; there are: {', '.join(RENDERERS)}, and None")
    return RENDERERS[name](env) if name else DebugRenderer(env)


def split(sequence: np.ndarray, observation_dim: int, action_dim: int):
    """Take transitions apart.    sequence : [ T x D ]    returns : observations, actions, rewards, values"""
    layout = TransitionLayout(observation_dim, action_dim)
    return (sequence[:, layout.observation], sequence[:, layout.action],
            sequence[:, layout.reward], sequence[:, layout.value])


def set_state(env, state: np.ndarray) -> None:
    """Put a robot into a state.    state : [ nq + nv ]  positions, then velocities"""
    n_positions = env.unwrapped.model.nq
    env.unwrapped.set_state(state[:n_positions], state[n_positions:])


def rollout_from_state(env, state: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """What the real physics makes of some actions; the environment is put back as it was.

    actions : [ T x action_dim ]    returns : [ T + 1 x nq + nv ]  states
    """
    import mujoco

    robot, kind = env.unwrapped, mujoco.mjtState.mjSTATE_INTEGRATION
    before = np.empty(mujoco.mj_stateSize(robot.model, kind))
    mujoco.mj_getState(robot.model, robot.data, before, kind)
    try:
        set_state(env, state)
        states = [robot.state_vector()]
        for action in actions:
            robot.do_simulation(action, robot.frame_skip)
            states.append(robot.state_vector())
    finally:
        mujoco.mj_setState(robot.model, robot.data, before, kind)
        mujoco.mj_forward(robot.model, robot.data)
    return np.array(states)


class DebugRenderer:
    """Draws nothing, and takes every call."""

    def __init__(self, env):
        self.env = env

    def render(self, state: np.ndarray) -> np.ndarray:
        """One frame.    state : positions, then velocities    returns : [ DIM x DIM x 3 ] uint8"""
        return self.renders([state])[0]

    def renders(self, states: np.ndarray) -> np.ndarray:
        """A frame a state.    returns : [ T x DIM x DIM x 3 ] uint8"""
        return np.zeros((len(states), DIM, DIM, 3), dtype=np.uint8)

    def render_plan(self, savepath: str | Path, sequence: np.ndarray, state: np.ndarray) -> None:
        """What a plan imagines, beside what its actions do.

        sequence : [ H x D ]  imagined transitions      state : [ nq + nv ]  the state they begin in
        """

    def render_rollout(self, savepath: str | Path, states: np.ndarray) -> None:
        """A whole episode, the first state and the last included.    states : [ T x nq + nv ]"""


class Renderer(DebugRenderer):
    """Films a walking robot with MuJoCo, headless where there is no screen; the camera follows the torso."""

    fps = 30

    def __init__(self, env):
        super().__init__(env)
        if not os.environ.get('MUJOCO_GL') and not os.environ.get('DISPLAY'):
            os.environ['MUJOCO_GL'] = 'egl'
        # triton and Mesa's software driver each bring an LLVM; loaded second, triton's crashes the process
        with contextlib.suppress(ImportError):
            import triton  # noqa: F401
        import mujoco

        self.model = copy.copy(env.unwrapped.model)
        self.model.vis.quality.shadowsize = 0  # shadows cost two thirds of a frame in software
        self.data = mujoco.MjData(self.model)
        try:
            self.film = mujoco.Renderer(self.model, DIM, DIM, max_geom=MAX_GEOMS)
        except Exception as error:  # noqa: BLE001  every driver fails in its own way
            raise InputError(f'this machine cannot draw ({type(error).__name__}: {error}).\n'
                             '  Plan without pictures: --renderer None; or install libegl1 and set MUJOCO_GL=egl.'
                             ) from error
        atexit.register(self.film.close)  # while the driver is still there to be asked
        self.camera = mujoco.MjvCamera()
        self.camera.type = mujoco.mjtCamera.mjCAMERA_TRACKING
        self.camera.trackbodyid = 1
        self.camera.distance = 4
        self.camera.elevation, self.camera.azimuth = -15, 90

    def renders(self, states: np.ndarray) -> np.ndarray:
        import mujoco

        frames = []
        for state in states:
            self.data.qpos[:], self.data.qvel[:] = state[:self.model.nq], state[self.model.nq:]
            mujoco.mj_forward(self.model, self.data)
            self.film.update_scene(self.data, self.camera)
            frames.append(self.film.render().copy())
        return np.array(frames)

    def to_states(self, observations: np.ndarray, state: np.ndarray) -> np.ndarray:
        """States of imagined observations, which leave out how far the robot is: it moves on with its velocity.

        observations : [ T x observation_dim ]      state : [ nq + nv ]  the one the first was made in
        """
        n_positions, n_velocities = self.model.nq, self.model.nv
        n_hidden = n_positions + n_velocities - observations.shape[1]
        positions = observations[:, :n_positions - n_hidden]
        velocities = observations[:, n_positions - n_hidden:]
        moved = np.cumsum(velocities[:, :n_hidden] * self.env.unwrapped.dt, axis=0)
        place = state[:n_hidden] + np.concatenate([np.zeros((1, n_hidden)), moved[:-1]])
        return np.concatenate([place, positions, velocities], axis=1)

    def render_plan(self, savepath: str | Path, sequence: np.ndarray, state: np.ndarray) -> None:
        action_dim = self.env.action_space.shape[0]
        observation_dim = sequence.shape[1] - TransitionLayout(0, action_dim).dim
        observations, actions, _, _ = split(sequence, observation_dim, action_dim)
        simulated = rollout_from_state(self.env, state, actions)[:-1]
        save_videos(savepath, self.renders(self.to_states(observations, state)), self.renders(simulated),
                    fps=self.fps // 3)

    def render_rollout(self, savepath: str | Path, states: np.ndarray) -> None:
        save_video(savepath, self.renders(states), fps=self.fps)


class KitchenRenderer(Renderer):
    """Films the kitchen: its observations are the joints of the robot and the objects."""

    def to_states(self, observations: np.ndarray, state: np.ndarray) -> np.ndarray:
        still = np.zeros((len(observations), self.model.nv))
        return np.concatenate([observations[:, :self.model.nq], still], axis=1)


class Maze2dRenderer(DebugRenderer):
    """Draws paths through a maze from above, as a picture: walls, start, end, and time as colour."""

    def renders(self, states: np.ndarray) -> np.ndarray:
        return np.stack([self._draw([np.asarray(states)[:end + 1]]) for end in range(len(states))])

    def render_plan(self, savepath: str | Path, sequence: np.ndarray, state: np.ndarray) -> None:
        """The imagined path, beside where its actions lead."""
        action_dim = self.env.action_space.shape[0]
        observations, actions, _, _ = split(sequence, sequence.shape[1] - TransitionLayout(0, action_dim).dim, action_dim)
        self._save(savepath, [observations, rollout_from_state(self.env, state, actions)])

    def render_rollout(self, savepath: str | Path, states: np.ndarray) -> None:
        self._save(savepath, [np.asarray(states)])

    def _save(self, savepath, paths):
        from PIL import Image

        picture = Path(savepath).with_suffix('.png')
        with write_atomically(picture) as partial:
            Image.fromarray(self._draw(paths)).save(partial)

    def _draw(self, paths):
        """Panels side by side.    paths : each [ T x 2 or more ], x and y first    returns : [ DIM x n·DIM x 3 ]"""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(len(paths) * DIM / 100, DIM / 100), dpi=100)
        canvas = FigureCanvasAgg(figure)
        for panel, path in zip(figure.subplots(1, len(paths), squeeze=False)[0], paths, strict=True):
            for (x, y), size in self._walls():
                panel.add_patch(_square(x, y, size))
            panel.scatter(path[:, 0], path[:, 1], c=np.arange(len(path)), cmap='viridis', s=6, zorder=2)
            panel.plot(*path[0, :2], 'o', color='tab:green', zorder=3)
            panel.plot(*path[-1, :2], 'X', color='tab:red', zorder=3)
            panel.set_aspect('equal')
            panel.autoscale_view()
            panel.axis('off')
        figure.tight_layout(pad=0.2)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def _walls(self):
        """Centre and size of every wall, of a maze that has a map."""
        maze = getattr(self.env.unwrapped, 'maze', None)
        if maze is None:
            return []
        return [(maze.cell_rowcol_to_xy(np.array([row, column])), maze.maze_size_scaling)
                for row, cells in enumerate(maze.maze_map) for column, cell in enumerate(cells) if cell == 1]


class AntMazeRenderer(Maze2dRenderer):
    """The same picture for Ant, whose observation begins with its x and y."""


def _square(x, y, size):
    from matplotlib.patches import Rectangle

    return Rectangle((x - size / 2, y - size / 2), size, size, color='0.6', zorder=1)


RENDERERS = {
    'Renderer': Renderer,
    'DebugRenderer': DebugRenderer,
    'KitchenRenderer': KitchenRenderer,
    'AntMazeRenderer': AntMazeRenderer,
    'Maze2dRenderer': Maze2dRenderer,
}
