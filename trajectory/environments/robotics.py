"""Build D4RL's mazes and kitchens from gymnasium-robotics: its simulations, under D4RL's names, columns and rewards.

What corresponds to D4RL, by its source (version 1.1), and what does not, for which the physics is called `stock`:

    maze2d    maps, time step, forces, coordinates, starts, goals, rewards and step limits are D4RL's; the MuJoCo is
              today's, with which contacts with walls begin 2 mm sooner
    antmaze   maps, coordinates, starts, goals, rewards and step limits are D4RL's; the ant is Gymnasium's, five times
              as strong (150 N m to 30), and acts twice as often (20 Hz to 10)
    kitchen   tasks, columns and step limit are D4RL's, as is the robot's noise; a task counts as done by where its
              object is, where D4RL looked at its noisy observation

In gymnasium-robotics x grows along a row of the map, and y from the bottom row up. In D4RL's maze2d x grows down the
rows and y along them; in its antmaze x grows along the rows and y down them. So it is given the map turned or
mirrored, and what is left between the two is a shift.
"""

import contextlib
import io
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium.envs.mujoco.mujoco_env import MujocoEnv

from trajectory.environments.offline import OfflineEnvironment, make_quietly
from trajectory.utils.errors import InputError

MAPS = {  # '#' a wall; the first row and column are 0
    'open': ('#######', '#     #', '#     #', '#     #', '#######'),
    'umaze': ('#####', '#   #', '### #', '#   #', '#####'),
    'medium': ('########', '#  ##  #', '#  #   #', '##   ###', '#  #   #', '# #  # #', '#   #  #', '########'),
    'large': (
        '############',
        '#    #     #',
        '# ## # # # #',
        '#      #   #',
        '# #### ### #',
        '#  # #     #',
        '## # # # ###',
        '#  #   #   #',
        '############',
    ),
    'eval-umaze': ('#####', '#   #', '# ###', '#   #', '#####'),
    'eval-medium': ('########', '#      #', '# # ## #', '#    # #', '###  ###', '#      #', '#  ##  #', '########'),
    'eval-large': (
        '############',
        '#  #   #   #',
        '## ### # # #',
        '#  # #     #',
        '# ## #  ## #',
        '#      #   #',
        '# ## # # ###',
        '#    #     #',
        '############',
    ),
}
POINT_GOALS = {
    'open': (2, 3),
    'umaze': (1, 1),
    'medium': (6, 6),
    'large': (7, 9),
    'eval-umaze': (1, 3),
    'eval-medium': (1, 6),
    'eval-large': (1, 9),
}  # row and column
POINT_STEPS = {'open': 150, 'umaze': 300, 'medium': 600, 'large': 800}
ANT_GOALS = {'umaze': (3, 1), 'medium': (6, 6), 'large': (7, 9)}
ANT_STEPS = {'umaze': 700, 'medium': 1000, 'large': 1000}
ANT_START = (1, 1)
GOAL_RADIUS = 0.5
KITCHEN_STEPS = 280
KITCHEN_NOISE = 0.1  # of the robot's positions, as a share of what its makers measured
KITCHEN_TASKS = {
    'complete': ('microwave', 'kettle', 'light switch', 'slide cabinet'),
    'partial': ('microwave', 'kettle', 'light switch', 'slide cabinet'),
    'mixed': ('microwave', 'kettle', 'bottom burner', 'light switch'),
}


def make_task(name: str, data: str) -> OfflineEnvironment:
    """One of D4RL's mazes or kitchens.    name : as D4RL's catalogue has it    data : the dataset's name"""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # it brings news
            import gymnasium_robotics
    except ImportError as error:
        raise InputError(
            f'{name} is simulated by gymnasium-robotics, which is not installed.\n'
            '  Install it: pip install -e .[robotics]'
        ) from error
    gymnasium.register_envs(gymnasium_robotics)
    kinds = {'maze2d': PointMaze, 'antmaze': AntMaze, 'kitchen': Kitchen}
    return kinds[name.split('-', 1)[0]](name, data)


class Maze(OfflineEnvironment):
    """A robot that is to reach a place. Observation and state are one: positions, x and y first, then velocities.

    goal  : [ x, y ]    cells : [ cells x 2 ], the middles of where one can be    walls : [ walls x 2 ]
    """

    id_there: str  # of the environment in gymnasium-robotics
    ends_at_goal = False

    def __init__(self, id: str, data: str, layout: str, max_episode_steps: int):
        is_wall = np.array([[cell == '#' for cell in row] for row in MAPS[layout]])
        env = make_quietly(
            self.id_there, maze_map=self.turn(is_wall).astype(int).tolist(), max_episode_steps=max_episode_steps
        )
        super().__init__(env, data, 'stock')
        self.id = id
        Path(self.unwrapped.tmp_xml_file_path).unlink(missing_ok=True)  # else it stays for good
        self.places = np.argwhere(~is_wall)  # rows and columns
        self.cells, self.walls = self.to_xy(self.places), self.to_xy(np.argwhere(is_wall))
        self.wall_side = float(self.unwrapped.maze.maze_size_scaling)
        self.shift = self.to_xy((np.array(is_wall.shape) - 1) / 2)  # of what is its origin, the map's middle
        self._rewards_nearness = '-dense-' in id
        self._is_own_goal = True
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, self.state_vector().shape)

    def reset(self, *, seed=None, options=None):
        """Begin as D4RL does.    options : {'goal': 'random'} for a goal other than D4RL's, drawn as D4RL draws them"""
        self.env.reset(seed=seed)
        rng = self.unwrapped.np_random
        self._is_own_goal = (options or {}).get('goal') != 'random'
        self.goal = self._own_goal(rng) if self._is_own_goal else self.random_place(rng)
        self.unwrapped.goal = self.goal - self.shift
        self.unwrapped.update_target_site_pos()
        self.set_state(*self._start(rng))
        return self.observe(), {'success': self._is_there()}

    def step(self, action):
        *_, truncated, info = self.env.step(action)
        success = self._is_there()
        reward = np.exp(-self._distance()) if self._rewards_nearness else float(success)
        return self.observe(), float(reward), self.ends_at_goal and success, truncated, {**info, 'success': success}

    def state_vector(self) -> np.ndarray:
        state = self.robot.state_vector()
        state[:2] += self.shift
        return state

    def set_state(self, qpos: np.ndarray, qvel: np.ndarray) -> None:
        shifted = np.array(qpos, dtype=float)
        shifted[:2] -= self.shift
        self.robot.set_state(shifted, np.asarray(qvel))

    def observe(self) -> np.ndarray:
        return self.state_vector()

    def observe_goal(self) -> np.ndarray:
        """What is to be seen at the goal: the robot there, as it is built and at rest."""
        robot = self.robot
        return np.concatenate([self.goal, robot.init_qpos[2:], np.zeros(robot.model.nv)])

    def get_normalized_score(self, episode_return: float) -> float | None:
        """None for an episode with another goal than D4RL's too."""
        return super().get_normalized_score(episode_return) if self._is_own_goal else None

    def _distance(self):
        return np.linalg.norm(self.state_vector()[:2] - self.goal)

    def _is_there(self):
        return bool(self._distance() <= GOAL_RADIUS)


class PointMaze(Maze):
    """Maze2d: a ball that two forces push, [ x, y, speed along x, speed along y ], in cells of 1."""

    id_there = 'PointMaze_UMaze-v3'

    def __init__(self, id: str, data: str):
        layout = id.removeprefix('maze2d-').rsplit('-', 1)[0].removesuffix('-dense')
        super().__init__(id, data, layout, POINT_STEPS[layout.removeprefix('eval-')])
        self._own_place = np.array(POINT_GOALS[layout], dtype=float)

    @property
    def robot(self) -> MujocoEnv:
        return self.unwrapped.point_env

    @staticmethod
    def turn(cells: np.ndarray) -> np.ndarray:
        """The map that makes x grow down its rows, and y along them."""
        return cells.T[::-1]

    @staticmethod
    def to_xy(places: np.ndarray) -> np.ndarray:
        """The middles of cells; D4RL's ball hangs at 1.2 where its walls count from 1.    places : [ … x 2 ]"""
        return places - 0.2

    def random_place(self, rng: np.random.Generator) -> np.ndarray:
        """[ x, y ]  where D4RL begins, and what it takes for a goal where one is to be drawn."""
        return rng.choice(self.places) + rng.uniform(-0.1, 0.1, size=2)

    def _own_goal(self, _):
        return self._own_place

    def _start(self, rng):
        return self.random_place(rng), 0.1 * rng.standard_normal(2)


class AntMaze(Maze):
    """AntMaze: an ant of 29 columns, 15 positions and 14 velocities, in cells of 4, its start's middle the origin."""

    id_there = 'AntMaze_UMaze-v4'
    ends_at_goal = True

    def __init__(self, id: str, data: str):
        layout = id.split('-')[1]
        super().__init__(id, data, layout, ANT_STEPS[layout])
        self._own_place = np.array(ANT_GOALS[layout])

    @property
    def robot(self) -> MujocoEnv:
        return self.unwrapped.ant_env

    @staticmethod
    def turn(cells: np.ndarray) -> np.ndarray:
        """The map that makes x grow along its rows, and y down them."""
        return cells[::-1]

    @staticmethod
    def to_xy(places: np.ndarray) -> np.ndarray:
        """The middles of cells.    places : [ … x 2 ]"""
        return 4.0 * (places - np.array(ANT_START))[..., ::-1]

    def random_place(self, rng: np.random.Generator) -> np.ndarray:
        """[ x, y ]  of a goal where one is to be drawn."""
        return self._near(rng.choice(self.places), rng)

    def _own_goal(self, rng):
        return self._near(self._own_place, rng)

    def _near(self, place, rng):
        return np.maximum(self.to_xy(place) + rng.uniform(0, 1, size=2) + rng.uniform(0, 0.5, size=2), 0)

    def _start(self, rng):
        robot = self.robot
        qpos = robot.init_qpos + rng.uniform(-0.1, 0.1, size=robot.model.nq)
        qpos[:2] = rng.uniform(-0.1, 0.1, size=2)
        return qpos, robot.init_qvel + 0.1 * rng.standard_normal(robot.model.nv)


class Kitchen(OfflineEnvironment):
    """FrankaKitchen, whose 60 columns are 9 of the robot and 21 of the objects, positions all, and their 30 goals.

    gymnasium-robotics has 59, positions and velocities of each: the goal is put in place of the velocities, with zeros
    for what no task moves.
    """

    def __init__(self, id: str, data: str):
        from gymnasium_robotics.envs.franka_kitchen.kitchen_env import OBS_ELEMENT_GOALS, OBS_ELEMENT_INDICES

        tasks = KITCHEN_TASKS[id.split('-')[1]]
        env = make_quietly(
            'FrankaKitchen-v1',
            tasks_to_complete=list(tasks),
            robot_noise_ratio=KITCHEN_NOISE,
            max_episode_steps=KITCHEN_STEPS,
        )
        super().__init__(env, data, 'stock')
        self.id = id
        self._goals = np.zeros(self.robot.model.nq)
        for task in tasks:
            self._goals[OBS_ELEMENT_INDICES[task]] = OBS_ELEMENT_GOALS[task]
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2 * len(self._goals),))

    @property
    def robot(self) -> MujocoEnv:
        return self.unwrapped.robot_env

    def _pad(self, observation):
        n_robot = 9
        columns = observation['observation']
        robot, objects = columns[:n_robot], columns[2 * n_robot : 2 * n_robot + len(self._goals) - n_robot]
        return np.concatenate([robot, objects, self._goals])

    def observe(self) -> np.ndarray:
        """The present state without noise, of which an observation has some."""
        return np.concatenate([self.robot.data.qpos, self._goals])
