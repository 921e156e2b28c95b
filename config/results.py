"""The comparison of methods as sweeps: every way of acting on each dataset, on seeds on which nothing was chosen.

The data itself, behavior cloning of all of it and of its best tenth, implicit Q-learning, and the Trajectory
Transformer: its likeliest actions, sampled ones, the mean of their distribution, and plans, ranked by predicted values
or by Q. Settings are to be chosen on seeds below 100; these episodes have seeds from 5000.
"""

SEED = 5000
DATASETS = ['hopper-mixed-ppo']
ALONE = {'horizon': 1, 'beam_width': 1, 'n_expand': 1}  # one action drawn, and taken

TRAIN = {  # models: the config module, and what differs from its settings
    'gpt/results': ('config.offline', {'held_out': 0.05}),
    'bc/results': ('config.behavior_cloning', {}),
    'bc/results_best_tenth': ('config.behavior_cloning', {'pct_traj': 0.1}),
    'iql/results': ('config.implicit_q', {}),
}
EVALUATE = {  # arms that act by themselves: the config module, and the model
    'bc': ('config.behavior_cloning', 'bc/results'),
    'bc_best_tenth': ('config.behavior_cloning', 'bc/results_best_tenth'),
    'iql': ('config.implicit_q', 'iql/results'),
}
PLAN = {  # arms of the Trajectory Transformer
    'sampled': ALONE,
    'likeliest': {**ALONE, 'k_act': 1, 'cdf_act': None},
    'mean_action': {**ALONE, 'action_noise': 0.0, 'cdf_act': None},
    'planned': {},
    'planned_half_noise': {'action_noise': 0.5, 'cdf_act': None},
    'planned_by_q': {'q_loadpath': 'iql/results'},
}


def train(name: str) -> dict:
    """The settings of a model's training.    name : of the run"""
    config, settings = TRAIN[name]
    return {'config': config, 'exp_name': name, **settings}


def evaluate(arm: str, n_episodes: int) -> dict:
    """The settings of an arm that acts by itself."""
    config, loadpath = EVALUATE[arm]
    return {'config': config, 'loadpath': loadpath, 'exp_name': f'evaluations/results/{arm}', **_episodes(n_episodes)}


def plan(arm: str, n_episodes: int) -> dict:
    """The settings of an arm of the Trajectory Transformer."""
    settings = {'gpt_loadpath': 'gpt/results', 'exp_name': f'plans/results/{arm}', 'renderer': None}
    return {'config': 'config.offline', **settings, **PLAN[arm], **_episodes(n_episodes)}


def _episodes(n):
    return {'seed': SEED, 'n_episodes': n, 'verbose': False}
