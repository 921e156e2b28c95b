"""Settings that every method has: of a training run, and of an evaluation. The config modules add their own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated as Flag  # a type, and the sentence --help prints
from typing import Literal

from trajectory.cli.setup import watch

name_results = watch([('prefix', ''), ('loadpath', '')])  # the folder of an evaluation: evaluations/bc/default


@dataclass
class BaseTrainRun:
    """How any run is watched, saved and resumed."""

    eval_every: Flag[int | None, 'epochs between two evaluations of the policy; None never evaluates it'] = None
    n_saves: Flag[int, 'checkpoints kept, evenly spread over the epochs'] = 3
    save_minutes: Flag[float | None, 'minutes between two checkpoints to resume from; None: save_steps alone'] = 10
    save_steps: Flag[int | None, 'updates between two checkpoints to resume from; None: save_minutes alone'] = None
    seed: Flag[int, 'seed of everything drawn: weights, dropout, order of the batches'] = 42
    device: Flag[str, 'cpu, cuda, cuda:1, mps; auto takes the fastest one here'] = 'auto'
    threads: Flag[int | None, 'CPU threads torch uses; None lets it choose'] = None
    log_freq: Flag[int, 'updates between two log lines'] = 100
    tensorboard: Flag[bool, 'write the log for TensorBoard too, beside metrics.jsonl'] = False
    wandb: Flag[str | None, 'project of Weights & Biases to write the log to as well'] = None
    logbase: Flag[str, 'folder that holds all runs'] = 'logs/'
    exp_name: Flag[str | Callable, 'name of the run, and of its folder'] = 'default'


@dataclass
class TrainRun(BaseTrainRun):
    """And what a run on recorded data has besides."""

    dataset_path: Flag[str | None, 'HDF5 file to train on, instead of the one the name stands for'] = None
    held_out: Flag[float, 'share of the episodes that is not learned from, but whose loss is logged'] = 0.0
    eval_episodes: Flag[int, 'episodes of each evaluation, with the settings that acting has for the dataset'] = 2
    eval_steps: Flag[int | None, 'steps to cut those episodes at; None: the limit they have'] = None


@dataclass
class BaseActRun:
    """How many episodes any agent acts in, and where the results lie."""

    n_episodes: Flag[int, 'episodes, with seeds that count up from --seed'] = 1
    n_videos: Flag[int, 'episodes that are filmed, the first ones'] = 1
    seed: Flag[int, 'seed of the first episode, and of all that is drawn in it'] = 0
    device: Flag[str, 'cpu, cuda, cuda:1, mps; auto takes the fastest one here'] = 'auto'
    threads: Flag[int | None, 'CPU threads'] = None
    logbase: Flag[str, 'folder that holds all runs'] = 'logs/'
    suffix: Flag[str, 'folder of this episode among its repetitions'] = '0'


@dataclass
class ActRun(BaseActRun):
    """And what an agent that learned from recorded data has besides."""

    dataset_path: Flag[str | None, 'HDF5 file of the dataset, where a run came without its statistics'] = None
    max_episode_steps: Flag[int | None, "steps to cut an episode at; None: the environment's limit"] = None
    backend: Flag[
        Literal['mujoco', 'd4rl'], "who simulates: today's MuJoCo, or D4RL's own environments, where they are installed"
    ] = 'mujoco'
    goal: Flag[Literal['own', 'random'], 'in a maze: its own goal, or one drawn for each episode, which ends there'] = (
        'own'
    )
    renderer: Flag[
        Literal['Renderer', 'DebugRenderer', 'KitchenRenderer', 'AntMazeRenderer', 'Maze2dRenderer'] | None,
        'how episodes become films; None makes none',
    ] = None
    verbose: Flag[bool, 'report the progress'] = True


@dataclass
class EvaluateRun(ActRun):
    """Which run acts."""

    loadpath: Flag[str, 'exp_name of the training run to load'] = 'default'
    epoch: Flag[int | Literal['latest'], 'checkpoint to load, in epochs'] = 'latest'
    prefix: Flag[str, 'beginning of exp_name; a slash at its end makes it a folder'] = 'evaluations/'
    exp_name: Flag[str | Callable, 'name of the results; built from prefix and loadpath unless given'] = name_results
