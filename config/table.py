"""The paper's table as two sweeps: on each of its 12 datasets 5 models, and 3 episodes planned with each.

The episodes of a dataset lie beside each other, as plans/table/…/0 to 14, and each has a seed of its own.
"""

SEED = 42

DATASETS = [
    f'{robot}-{buffer}-v2'
    for buffer in ('medium-expert', 'medium', 'medium-replay')
    for robot in ('halfcheetah', 'hopper', 'walker2d', 'ant')
]


def train(n_models: int) -> dict:
    """What to train: models that differ in their seeds."""
    return {
        'dataset': DATASETS,
        ('exp_name', 'seed'): [(f'gpt/table/{model}', SEED + model) for model in range(n_models)],
    }


def plan(n_models: int, n_episodes: int) -> dict:
    """What to plan with each of them."""
    return {
        'dataset': DATASETS,
        ('gpt_loadpath', 'suffix', 'seed'): [
            (f'gpt/table/{model}', n_episodes * model, SEED + n_episodes * model) for model in range(n_models)
        ],
        'n_episodes': [n_episodes],
        'prefix': ['plans/table/'],
        'verbose': [False],
    }
