"""The paper's table as a sweep: on each of its 12 data sets 5 models, and 3 episodes planned with each.

The episodes of a data set lie beside each other, as plans/table/…/0 to 14, and each has a seed of its own.
"""
N_MODELS = 5
N_EPISODES = 3
SEED = 42

DATASETS = [f'{robot}-{buffer}-v2' for buffer in ('medium-expert', 'medium', 'medium-replay')
            for robot in ('halfcheetah', 'hopper', 'walker2d', 'ant')]

train = {
    'dataset': DATASETS,
    ('exp_name', 'seed'): [(f'gpt/table/{model}', SEED + model) for model in range(N_MODELS)],
}

plan = {
    'dataset': DATASETS,
    ('gpt_loadpath', 'suffix', 'seed'): [
        (f'gpt/table/{model}', N_EPISODES * model, SEED + N_EPISODES * model) for model in range(N_MODELS)
    ],
    'n_episodes': [N_EPISODES],
    'prefix': ['plans/table/'],
    'verbose': [False],
}
