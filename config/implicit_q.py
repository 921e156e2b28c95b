"""Settings of implicit Q-learning: a policy of its own, and Q-functions for `scripts/plan.py --q_loadpath`."""

from dataclasses import dataclass
from typing import Annotated as Flag  # a type, and the sentence --help prints

from trajectory.cli.settings import EvaluateRun, TrainRun


@dataclass
class Train(TrainRun):
    expectile: Flag[
        float | None,
        "that V learns of Q over the data's actions; near 1: of the best. None: 0.9 in mazes, elsewhere 0.7",
    ] = None
    temperature: Flag[
        float | None, 'the policy weighs an action by exp(temperature x advantage). None: 10 in mazes, elsewhere 3'
    ] = None
    discount: Flag[float, 'factor per step on rewards'] = 0.99
    n_steps: Flag[int, 'steps whose rewards are counted before V is asked; 1 in the paper'] = 1
    target_update: Flag[float, 'share by which the slow Q-functions move towards the learning ones'] = 0.005
    reward_scale: Flag[
        float | None, 'factor of the rewards; None: in locomotion 1000 / (best return - worst), elsewhere 1'
    ] = None
    reward_shift: Flag[float | None, 'added to the rewards after that; None: -1 in AntMaze, elsewhere 0'] = None
    width: Flag[int, 'units of a hidden layer'] = 256
    n_layer: Flag[int, 'hidden layers'] = 2
    n_updates: Flag[int, 'updates of the whole run'] = 1_000_000
    epoch_updates: Flag[int, 'updates between two checkpoints of weights'] = 5_000
    batch_size: Flag[int, 'transitions per update'] = 256
    learning_rate: Flag[float, 'step size of Adam; of the policy it falls to 0 along a cosine'] = 3e-4
    exp_name: Flag[str, 'name of the run, and of its folder'] = 'iql/default'


@dataclass
class Evaluate(EvaluateRun):
    loadpath: Flag[str, 'exp_name of the training run to load'] = 'iql/default'


algorithm = 'implicit_q'
experiments = {'train': Train, 'evaluate': Evaluate}
