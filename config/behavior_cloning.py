"""Settings of behavior cloning: an MLP on the last observations, or on those of the best episodes alone (%BC)."""

from dataclasses import dataclass
from typing import Annotated as Flag  # a type, and the sentence --help prints

from trajectory.cli.settings import EvaluateRun, TrainRun


@dataclass
class Train(TrainRun):
    pct_traj: Flag[float, 'share of the steps to learn from, of the episodes of highest return; 0.1 is 10% BC'] = 1.0
    context: Flag[int, 'observations that an action is chosen by, the last ones'] = 1
    width: Flag[int, 'units of a hidden layer'] = 256
    n_layer: Flag[int, 'hidden layers'] = 2
    dropout: Flag[float, 'dropout probability after each hidden layer'] = 0.0
    n_epochs: Flag[int, 'epochs to train'] = 20
    batch_size: Flag[int, 'steps per update'] = 256
    learning_rate: Flag[float, 'step size of AdamW'] = 1e-3
    weight_decay: Flag[float, 'weight decay of AdamW'] = 1e-4
    exp_name: Flag[str, 'name of the run, and of its folder'] = 'bc/default'


@dataclass
class Evaluate(EvaluateRun):
    loadpath: Flag[str, 'exp_name of the training run to load'] = 'bc/default'


algorithm = 'behavior_cloning'
experiments = {'train': Train, 'evaluate': Evaluate}
