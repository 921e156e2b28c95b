"""Settings of the offline experiments: training a Trajectory Transformer, and planning with it.

Settings that every method has are in `trajectory/cli/settings.py`.

Weakest to strongest: the defaults below, the block named after the dataset, a command-line flag.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated as Flag  # a type, and the sentence --help prints
from typing import Literal

from trajectory.cli.settings import ActRun, TrainRun
from trajectory.cli.setup import watch

# the folder of a plan: plans/defaults/freq1_H15_beam128
name_plan = watch([('prefix', ''), ('plan_freq', 'freq'), ('horizon', 'H'), ('beam_width', 'beam')])


@dataclass
class Train(TrainRun):
    # data
    backend: Flag[
        Literal['mujoco', 'd4rl'], "who simulates: today's MuJoCo, or D4RL's own environments, where they are installed"
    ] = 'mujoco'
    N: Flag[int, 'bins per dimension'] = 100
    discretizer: Flag[
        Literal['QuantileDiscretizer', 'UniformDiscretizer'], 'bins of equal counts, or of equal widths'
    ] = 'QuantileDiscretizer'
    discount: Flag[float, 'factor per step on the rewards that make up a value'] = 0.99
    termination_penalty: Flag[float | None, 'reward written over a terminal step; None writes none'] = -100
    max_path_length: Flag[int | None, 'longest episode admitted, in steps; None admits any'] = 1000
    step: Flag[int, 'steps between the transitions of a window'] = 1
    subsampled_sequence_length: Flag[int, 'transitions in a window'] = 10

    # model
    goal_conditioned: Flag[bool, "read each episode's last observation before it, as the goal it leads to"] = False
    n_layer: Flag[int, 'transformer blocks'] = 4
    n_head: Flag[int, 'attention heads per block'] = 4
    n_embd: Flag[int, 'width of one head; the model is n_head times as wide'] = 32
    share_head: Flag[bool, 'one output layer for all columns, instead of one for each'] = False
    embd_pdrop: Flag[float, 'dropout probability after the embedding'] = 0.1
    resid_pdrop: Flag[float, 'dropout probability after each part of a block'] = 0.1
    attn_pdrop: Flag[float, 'dropout probability on the attention weights'] = 0.1

    # training
    n_epochs_ref: Flag[int, 'epochs for a million windows; smaller data gets more, in proportion'] = 50
    n_epochs: Flag[int | None, 'epochs to train, exactly; None takes n_epochs_ref in proportion'] = None
    n_saves: Flag[int, 'checkpoints kept, evenly spread over the epochs'] = 3
    batch_size: Flag[int, 'windows per update'] = 256
    learning_rate: Flag[float, 'largest step size of AdamW, reached after one epoch of warm-up'] = 6e-4
    lr_decay: Flag[bool, 'lower the step size along a cosine after the warm-up'] = True
    lr_schedule: Flag[
        Literal['reference', 'run'],
        'update at which that cosine ends at a tenth: after 20 epochs, to rise again, as in the reference, or the last',
    ] = 'reference'
    action_weight: Flag[float, 'weight of action tokens in the loss; observations weigh 1'] = 5
    reward_weight: Flag[float, 'weight of reward tokens in the loss'] = 1
    value_weight: Flag[float, 'weight of value tokens in the loss'] = 1

    precision: Flag[
        Literal['auto', 'float32', 'tf32', 'bfloat16'],
        "numbers to compute with; auto is the reference's: TF32 on CUDA devices that have it, else float32",
    ] = 'auto'
    tokens_on: Flag[
        Literal['auto', 'device', 'disk'],
        'where tokens lie: on the device, or memory-mapped and read ahead; auto: on the device, if they fill at most '
        'half of its memory',
    ] = 'auto'
    compile: Flag[bool | None, 'compile the network before it trains; None does so on CUDA, where it pays'] = None

    exp_name: Flag[str | Callable, 'name of the run, and of its folder'] = 'gpt/azure'


@dataclass
class Plan(ActRun):
    # model
    gpt_loadpath: Flag[str, 'exp_name of the training run to load'] = 'gpt/azure'
    gpt_epoch: Flag[int | Literal['latest'], 'checkpoint to load, in epochs'] = 'latest'

    q_loadpath: Flag[
        str | None, 'exp_name of a run of config.implicit_q, whose Q ranks candidates in place of predicted values'
    ] = None
    q_epoch: Flag[int | Literal['latest'], 'its checkpoint to load, in epochs'] = 'latest'

    # search
    objective: Flag[
        Literal['value', 'likelihood'], 'what candidates are ranked by: rewards and values, or likelihood (imitation)'
    ] = 'value'
    plan_freq: Flag[int, 'steps taken along a plan before the next is made'] = 1
    horizon: Flag[int, 'transitions imagined per plan'] = 15
    beam_width: Flag[int, 'candidates kept after each transition'] = 128
    n_expand: Flag[int, 'continuations drawn for each candidate'] = 2
    max_context_transitions: Flag[
        int | None, 'transitions the model sees at once, the one it imagines included; None: all that fit'
    ] = 5
    prefix_context: Flag[bool, 'begin a plan with what has happened, not with the observation alone'] = True
    discount: Flag[
        float | None, "factor per step on the rewards that a plan is judged by; None: the one of the model's dataset"
    ] = None
    percentile: Flag[
        float | Literal['mean'], 'what stands for a distribution of values: its mean or a quantile (0 to 1)'
    ] = 'mean'

    # sampling; None leaves that distribution whole
    temperature: Flag[float, 'temperature of the action distribution; below 1 draws likelier actions'] = 1.0
    token_values: Flag[
        Literal['repeated', 'middle'],
        'what tokens stand for: the middle of their bin, as in the reference, or the value at its lower edge, where '
        'the data repeats that value, as actions at their limits do',
    ] = 'repeated'
    action_noise: Flag[
        float | None, 'how far drawn actions stay from the mean of their distribution: 0 at the mean, 1 as drawn'
    ] = None
    k_obs: Flag[int | None, 'draw observations from the k likeliest tokens; 1 is greedy'] = 1
    k_act: Flag[int | None, 'draw actions from the k likeliest tokens'] = None
    k_rew: Flag[int | None, 'draw rewards and values from the k likeliest tokens'] = 1
    cdf_obs: Flag[float | None, 'drop the unlikeliest observation tokens, of this probability in all'] = None
    cdf_act: Flag[float | None, 'drop the unlikeliest action tokens, of this probability in all'] = 0.6
    cdf_rew: Flag[float | None, 'drop the unlikeliest reward and value tokens, of this in all'] = None

    # pictures
    renderer: Flag[
        Literal['Renderer', 'DebugRenderer', 'KitchenRenderer', 'AntMazeRenderer', 'Maze2dRenderer'] | None,
        'how plans and episodes become pictures; None makes none',
    ] = 'Renderer'
    vis_freq: Flag[int, 'steps between two videos of plans'] = 50
    trace_freq: Flag[int | None, 'steps between two searches kept for plotting/plan.py; None keeps none'] = None

    # run
    seed: Flag[int, 'seed of the environment and of all that planning draws'] = 42
    prefix: Flag[str, 'beginning of exp_name; a slash at its end makes it a folder'] = 'plans/defaults/'
    exp_name: Flag[str | Callable, 'name of the run; built from the settings unless given'] = name_plan


algorithm = 'trajectory_transformer'
experiments = {'train': Train, 'plan': Plan}
base = {name: asdict(settings()) for name, settings in experiments.items()}  # the shape older scripts read

# ------------------------------- datasets -------------------------------- #

# The bundled data: a small model learns it in minutes on two cores, and plans many times a second.
hopper_mixed_ppo = {
    'train': dict(
        subsampled_sequence_length=3,
        n_layer=2,
        n_head=2,
        batch_size=64,
        learning_rate=1e-3,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        attn_pdrop=0.0,
    ),
    'plan': dict(gpt_loadpath='gpt/bundled', horizon=5, beam_width=16, max_context_transitions=3),
}

# Walks of scripts/collect.py through a maze. Ten steps lie between the two transitions of a window, for which its
# actions are held; a plan begins with the observation alone, as what was done before says too well what is done next.
maze2d_medium_waypoints = {
    'train': dict(
        step=10,
        subsampled_sequence_length=2,
        N=24,
        discretizer='UniformDiscretizer',
        n_layer=2,
        batch_size=128,
        learning_rate=1e-3,
        n_epochs=2,
        n_saves=2,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        attn_pdrop=0.0,
    ),
    'plan': dict(horizon=5, beam_width=4, max_context_transitions=2, prefix_context=False, renderer='Maze2dRenderer'),
}

# What changes in these is what the published results were made with.

# Short horizons lose nothing on halfcheetah, and with fewer candidates sample a twelfth of the tokens.
halfcheetah_medium_v2 = halfcheetah_medium_replay_v2 = {
    'plan': dict(horizon=5, beam_width=32),
}

# Half of these episodes are an expert's: fewer candidates do, but the horizon stays.
halfcheetah_medium_expert_v2 = {
    'plan': dict(beam_width=32),
}

# A replay buffer mixes many policies, and takes longer to learn than its size says.
hopper_medium_replay_v2 = {
    'train': dict(n_epochs_ref=80),
}

# Half of these episodes are an expert's: looking a few steps ahead is enough.
walker2d_medium_expert_v2 = {
    'plan': dict(horizon=5),
}

# Trained longer, as hopper's replay buffer is; planned further ahead, among the likeliest actions only.
walker2d_medium_replay_v2 = {
    'train': dict(n_epochs_ref=80),
    'plan': dict(horizon=20, beam_width=32, k_act=40, cdf_act=None),
}

# A transition of ant has 37 tokens, most of the four robots: smaller batches and shorter plans save memory.
ant_medium_v2 = ant_medium_replay_v2 = ant_random_v2 = {
    'train': dict(batch_size=128),
    'plan': dict(horizon=5),
}
