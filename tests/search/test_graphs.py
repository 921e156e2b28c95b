"""Plans that are played again against plans that are made."""

import pytest
import torch

from tests.search.test_core import generators, random_setting
from trajectory.search import beam_plan
from trajectory.search.graphs import Graphs


@pytest.mark.parametrize('seed', range(5))
def test_where_plans_cannot_be_recorded_they_are_made(seed):
    model, value_fn, prefixes, goal, plan = random_setting(seed)
    graphs = Graphs()
    expected, *played = (
        beam_plan(
            model,
            value_fn,
            prefixes,
            verbose=False,
            goal=goal,
            generator=generators(len(prefixes)),
            graphs=graphs,
            **plan,
        )
        for graphs in (None, graphs, graphs)
    )
    assert all(torch.equal(plan, expected) for plan in played)


@pytest.mark.skipif(not torch.cuda.is_available(), reason='CUDA graphs need a CUDA GPU')
@pytest.mark.parametrize('seed', range(20))
def test_a_recorded_plan_is_the_plan_with_other_numbers_too(seed):
    model, value_fn, prefixes, goal, plan = random_setting(seed)
    model, goal = model.cuda(), None if goal is None else goal.cuda()
    graphs = Graphs()
    for shift in range(3):
        moved = [(prefix.cuda() + shift) % model.vocab_size for prefix in prefixes]
        played, expected = (
            beam_plan(
                model,
                value_fn,
                moved,
                verbose=False,
                goal=goal,
                graphs=graphs,
                generator=[torch.Generator('cuda').manual_seed(shift + i) for i in range(len(moved))],
                **plan,
            )
            for graphs in (graphs, None)
        )
        assert torch.equal(played, expected)
    assert graphs.works
    assert len(graphs.recorded) <= len(prefixes)
