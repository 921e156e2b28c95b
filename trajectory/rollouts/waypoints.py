"""Find the way through a maze, and push a ball along it: who records the episodes that goals are learned from."""

from collections import deque

import numpy as np

SPEED = 2.5  # at most, metres a second
BRAKING = 5.0  # of the distance to what is headed for, in metres, the share to go in a second
PUSH = 0.4  # force for a lack of speed of one metre a second, of the 1 there is
SPREAD = 0.15  # of the waypoints around the middles of their cells, metres
STUMBLES = 0.02  # chance of a step to be the first of a stumble: a push somewhere, from which it has to recover
LONGEST_STUMBLE = 20  # steps


class WaypointController:
    """Heads for the middle of the next cell on a shortest path to the goal's, and at last for the goal.

    cells : [ cells x 2 ]  the middles of where one can be, a metre apart
    stumbles : whether it does so at times, which shows what to do where it would never go
    """

    def __init__(self, cells: np.ndarray, rng: np.random.Generator, stumbles: bool = True):
        self.cells = cells
        self.rng = rng
        self.stumbles = stumbles
        self._pushes = 0  # left of a stumble
        apart = np.abs(cells[:, None] - cells).sum(axis=-1)
        self._neighbours = [np.flatnonzero(np.isclose(row, 1)) for row in apart]

    def head_for(self, goal: np.ndarray) -> None:
        """Take a new goal, and waypoints of its own.    goal : [ x, y ]"""
        self.goal = goal
        self._waypoints = self.cells + self.rng.uniform(-SPREAD, SPREAD, size=self.cells.shape)
        self._next = self._next_cells(self._cell_of(goal))

    def act(self, observation: np.ndarray) -> np.ndarray:
        """[ 2 ]  forces between −1 and 1.    observation : [ x, y, speed along x, speed along y ]"""
        if self.stumbles and self.rng.random() < STUMBLES:
            self._push = self.rng.uniform(-1, 1, size=2)
            self._pushes = self.rng.integers(1, LONGEST_STUMBLE, endpoint=True)
        if self._pushes:
            self._pushes -= 1
            return self._push
        place, speed = observation[:2], observation[2:]
        here = self._cell_of(place)
        towards = (self._waypoints[self._next[here]] if self._next[here] != here else self.goal) - place
        wanted = BRAKING * towards
        wanted *= min(1, SPEED / max(np.linalg.norm(wanted), 1e-9))
        return np.clip(PUSH * (wanted - speed), -1, 1)

    def _cell_of(self, place):
        return int(np.linalg.norm(self.cells - place, axis=1).argmin())

    def _next_cells(self, goal):
        """[ cells ]  of each cell the next on the way to the goal's, by breadth-first search from there."""
        following = {goal: goal}
        queue = deque([goal])
        while queue:
            cell = queue.popleft()
            for neighbour in self._neighbours[cell]:
                if neighbour not in following:
                    following[neighbour] = cell
                    queue.append(neighbour)
        return following
