"""Settings of MAML with TRPO: the defaults of the reference, on 2-D navigation, and its presets of other families."""

from collections.abc import Callable
from dataclasses import dataclass
from os import cpu_count
from typing import Annotated as Flag  # a type, and the sentence --help prints
from typing import Literal

from trajectory.cli.settings import BaseActRun, BaseTrainRun
from trajectory.cli.setup import watch

name_results = watch([('prefix', ''), ('loadpath', ''), ('weights', '')])  # evaluations/maml/default_trained


@dataclass
class Train(BaseTrainRun):
    # policy
    hidden_size: Flag[int, 'units of a hidden layer'] = 100
    num_layers: Flag[int, 'hidden layers'] = 2
    nonlinearity: Flag[Literal['relu', 'tanh'], 'of the hidden layers'] = 'relu'

    # adaptation
    gamma: Flag[float, 'discount of the rewards'] = 0.95
    tau: Flag[float, 'lambda of generalized advantage estimation'] = 1.0
    fast_lr: Flag[float, 'size of a gradient step of adaptation; 0 trains one policy for all tasks'] = 0.1
    fast_batch_size: Flag[int, 'episodes of each task, before each gradient step and after the last'] = 20
    num_steps: Flag[int, 'gradient steps of adaptation'] = 1
    first_order: Flag[bool, 'hold the gradients of adaptation constant in the meta-gradient'] = False

    # meta-optimization
    num_batches: Flag[int, 'updates'] = 100
    meta_batch_size: Flag[int, 'tasks of an update'] = 30
    max_kl: Flag[float, 'radius of the trust region'] = 0.01
    cg_iters: Flag[int, 'iterations of conjugate gradient'] = 10
    cg_damping: Flag[float, 'damping of conjugate gradient'] = 1e-5
    ls_max_steps: Flag[int, 'steps that the line search tries'] = 15
    ls_backtrack_ratio: Flag[float, 'by which each is shorter than the last'] = 0.8
    num_workers: Flag[int, 'processes that simulate robots; the results do not depend on it'] = cpu_count() or 1
    log_freq: Flag[int, 'updates between two log lines'] = 1
    exp_name: Flag[str, 'name of the run, and of its folder'] = 'maml/default'


@dataclass
class Evaluate(BaseActRun):
    n_tasks: Flag[int, 'held-out tasks, with seeds that count up from --seed'] = 40
    n_episodes: Flag[int, 'episodes of each task, after each number of gradient steps'] = 20
    num_steps: Flag[int, 'gradient steps'] = 3
    fast_lr: Flag[float | None, 'size of the first gradient step, later ones half of it; None: as trained'] = None
    weights: Flag[Literal['trained', 'untrained'], 'those of the run, or random ones to compare with'] = 'trained'
    num_workers: Flag[int, 'processes that simulate robots; the results do not depend on it'] = cpu_count() or 1
    n_videos: Flag[int, 'tasks whose episodes are kept, and filmed where there is a robot; the first ones'] = 4
    loadpath: Flag[str, 'exp_name of the training run to load'] = 'maml/default'
    epoch: Flag[int | Literal['latest'], 'checkpoint to load, in updates'] = 'latest'
    prefix: Flag[str, 'beginning of exp_name; a slash at its end makes it a folder'] = 'evaluations/'
    exp_name: Flag[str | Callable, 'name of the results; built from prefix, loadpath and weights'] = name_results


algorithm = 'maml'
experiments = {'train': Train, 'evaluate': Evaluate}
dataset = '2DNavigation-v0'
aliases = {'env': 'dataset', 'env_name': 'dataset', 'output_folder': 'exp_name'}

# ------------------------- presets of later versions of the reference ------------------------ #

bandit = {'hidden_size': 32, 'fast_lr': 0.5, 'gamma': 0.99, 'meta_batch_size': 20}
Bandit_K5_v0 = {'train': {**bandit, 'fast_batch_size': 10}, 'evaluate': {'n_episodes': 10}}
Bandit_K10_v0 = {'train': {**bandit, 'fast_batch_size': 100}, 'evaluate': {'n_episodes': 100}}
Bandit_K50_v0 = {'train': {**bandit, 'fast_batch_size': 500}, 'evaluate': {'n_episodes': 500}}
GaussianBandit_K5_v0, GaussianBandit_K10_v0, GaussianBandit_K50_v0 = Bandit_K5_v0, Bandit_K10_v0, Bandit_K50_v0
TabularMDP_v0 = {'train': bandit}

robot = {'train': {'hidden_size': 64, 'nonlinearity': 'tanh', 'gamma': 0.99, 'meta_batch_size': 40, 'num_batches': 500}}
HalfCheetahDir_v1 = HalfCheetahVel_v1 = AntDir_v1 = AntVel_v1 = AntPos_v0 = robot
