"""Settings of the Decision Transformer: the defaults of the original gym experiment, and its targets and scales."""

from dataclasses import dataclass
from typing import Annotated as Flag  # a type, and the sentence --help prints
from typing import Literal

from trajectory.cli.settings import EvaluateRun, TrainRun


@dataclass
class Train(TrainRun):
    # data
    K: Flag[int, 'steps in a window'] = 20
    pct_traj: Flag[float, 'share of the steps to learn from, of the episodes of highest return'] = 1.0
    mode: Flag[Literal['normal', 'delayed'], "rewards as recorded, or all of an episode's at its end"] = 'normal'
    scale: Flag[float | None, 'that returns-to-go are divided by; None: of the environment, or the best return'] = None
    max_ep_len: Flag[int, 'timesteps that have an embedding; later ones share the last'] = 1000

    # model
    model_type: Flag[Literal['dt', 'bc'], "Decision Transformer, or the original's MLP on the last K states"] = 'dt'
    embed_dim: Flag[int, 'width'] = 128
    n_layer: Flag[int, 'transformer blocks'] = 3
    n_head: Flag[int, 'attention heads per block'] = 1
    activation_function: Flag[str, 'of the MLPs: relu, gelu, gelu_new, silu, tanh'] = 'relu'
    dropout: Flag[float, 'dropout probability after the embedding, on attention weights, and after projections'] = 0.1

    # training
    batch_size: Flag[int, 'windows per update'] = 64
    learning_rate: Flag[float, 'step size of AdamW, after the warm-up'] = 1e-4
    weight_decay: Flag[float, 'weight decay of AdamW, on every parameter'] = 1e-4
    warmup_steps: Flag[int, 'updates in which the step size rises'] = 10_000
    max_iters: Flag[int, 'iterations, after each of which the run may be evaluated and saved'] = 10
    num_steps_per_iter: Flag[int, 'updates of an iteration'] = 10_000
    exp_name: Flag[str, 'name of the run, and of its folder'] = 'dt/default'


@dataclass
class Evaluate(EvaluateRun):
    target_return: Flag[
        list[float] | None,
        'returns that are asked for, one after the other; None: of the environment, or the best of the data',
    ] = None
    mode: Flag[
        Literal['normal', 'delayed', 'noise'] | None,
        'whether rewards lower the return asked for, or not; noise: on the first observation; None: as trained',
    ] = None
    loadpath: Flag[str, 'exp_name of the training run to load'] = 'dt/default'


algorithm = 'decision_transformer'
experiments = {'train': Train, 'evaluate': Evaluate}
