"""Settings of the multi-domain Decision Transformer, sized for a CPU: pre-training, and fine-tuning in sequence."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated as Flag  # a type, and the sentence --help prints
from typing import Literal

from trajectory.cli.settings import BaseActRun, BaseTrainRun, name_results

METHODS = Literal[
    'full', 'last_layers', 'action_head', 'lora', 'lora_ff', 'ia3', 'prompt', 'deep_prompt', 'prefix', 'adapter',
    'ewc', 'l2', 'l2m_lora', 'l2m_ia3', 'l2m_oracle', 'l2p',
]  # fmt: skip


@dataclass
class Train(BaseTrainRun):
    # data
    tasks: Flag[list[str], 'tasks or splits (mt40, cw10, dmc10, dmc6, d4rl); of a fine-tuning, in order'] = field(
        default_factory=lambda: ['mt40']
    )
    data_path: Flag[str, 'folder that holds a file for each task'] = 'data/suite'
    tokens: Flag[
        Literal['midpoints', 'reference'], 'actions from bins: their middles, or left edges as in the original'
    ] = 'midpoints'
    bins: Flag[int, 'of each column of an action'] = 64

    # model
    context: Flag[int, 'steps in a window; the original has 5'] = 1
    action_dropout: Flag[float, 'share of windows in which past actions are hidden; 1 hides them when acting too'] = 0.0
    hidden_size: Flag[int, 'width; the original has 768'] = 128
    n_layer: Flag[int, 'transformer blocks; the original has 6'] = 3
    n_head: Flag[int, 'attention heads per block; the original has 12'] = 4
    dropout: Flag[float, 'dropout probability'] = 0.0

    # fine-tuning
    base: Flag[str | None, 'exp_name of the pre-trained run to fine-tune'] = None
    finetuning: Flag[METHODS | None, 'method; None pre-trains'] = None
    n_keys: Flag[int, 'modulators of a pool'] = 30
    n_pretrain_keys: Flag[int, 'keys of pre-training, where one wins nothing is modulated'] = 0
    reset_optimizer: Flag[bool, 'begin each task with no momentum of the one before it'] = True
    evaluations: Flag[int, 'of each task while it is learned, the last at its end'] = 1
    eval_tasks: Flag[list[str] | None, 'tasks of the base to evaluate beside those that are learned'] = None
    eval_episodes: Flag[int, 'episodes of each task in an evaluation'] = 20

    # training
    batch_size: Flag[int, 'windows per update'] = 128
    num_updates: Flag[int, 'updates; of a fine-tuning, on each task'] = 2500
    learning_rate: Flag[float, 'step size of AdamW, after the warm-up'] = 1e-3
    weight_decay: Flag[float, "weight decay of AdamW, on the base's matrices"] = 0.01
    warmup_steps: Flag[int, 'updates in which the step size rises'] = 100
    exp_name: Flag[str, 'name of the run, and of its folder'] = 'mddt/default'


@dataclass
class Evaluate(BaseActRun):
    tasks: Flag[list[str] | None, 'to act in; None: all that the run and its base learned'] = None
    n_episodes: Flag[int, 'episodes of each task'] = 20
    n_videos: Flag[int, 'episodes of each task that are filmed, the first ones'] = 0
    modulators: Flag[bool, 'whether modulators modulate'] = True
    loadpath: Flag[str, 'exp_name of the training run to load'] = 'mddt/default'
    epoch: Flag[int | Literal['latest'], 'checkpoint to load'] = 'latest'
    prefix: Flag[str, 'beginning of exp_name; a slash at its end makes it a folder'] = 'evaluations/'
    exp_name: Flag[str | Callable, 'name of the results; built from prefix and loadpath unless given'] = name_results


algorithm = 'multi_domain'
experiments = {'train': Train, 'evaluate': Evaluate}
dataset = 'metaworld'
