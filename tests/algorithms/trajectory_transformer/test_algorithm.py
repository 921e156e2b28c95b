"""The Trajectory Transformer as a method: recipes from settings, and what a loaded one needs to act."""

from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest

from config.offline import Plan, Train
from trajectory.algorithms.trajectory_transformer import ALGORITHM
from trajectory.algorithms.trajectory_transformer.algorithm import check_train_settings, model_recipe, trainer_recipe
from trajectory.utils.errors import InputError
from trajectory.utils.layout import TransitionLayout

BUNDLED = Path(__file__).parents[3] / 'data/hopper-mixed-ppo/gpt/bundled'


def settings_of(experiment=Train, **changes):
    return SimpleNamespace(**{**asdict(experiment()), 'dataset': 'hopper-mixed-ppo', 'n_epochs': None, **changes})


def test_the_recipes_are_of_the_settings():
    recipe = model_recipe(settings_of(), TransitionLayout(11, 3))
    assert (recipe.block_size, recipe.n_embd, recipe.transition_dim) == (10 * 16 - 1, 128, 16)
    assert model_recipe(settings_of(goal_conditioned=True), TransitionLayout(4, 2))._class.__name__ == 'ConditionalGPT'
    for schedule, final in (('reference', 20_000), ('run', 7_000)):
        assert trainer_recipe(settings_of(lr_schedule=schedule), 'cpu', 7, 1000).final_tokens == final


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'n_layer': 0}, 'n_layer must be at least 1'),
        ({'held_out': 1.5}, 'held_out must be from 0 to 1'),
        ({'discount': 0}, 'discount must be above 0'),
        ({'attn_pdrop': -1}, 'attn_pdrop must be from 0 to 1'),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        check_train_settings(settings_of(**changes))


def test_a_loaded_one_knows_where_it_acts_and_with_what():
    algorithm = ALGORITHM.load(BUNDLED)
    agent = algorithm.agent(settings_of(Plan, horizon=3, n_episodes=1, dataset_path=None))
    assert (algorithm.spec().id, algorithm.spec().physics) == ('Hopper-v4', 'd4rl')
    assert agent.settings.horizon == 3
    assert agent.settings.discount == 0.99
    assert algorithm.mean_return == pytest.approx(1368, abs=1)
    assert algorithm.identity() == ALGORITHM.load(BUNDLED).identity()
