"""All episodes of all tasks are sampled side by side, padded and masked."""

import numpy as np
import pytest
import torch

from trajectory.models.policies import CategoricalMLPPolicy, NormalMLPPolicy
from trajectory.rollouts.batch_episodes import total_rewards
from trajectory.rollouts.sampler import BatchSampler


def same(first, second):
    names = ('observations', 'actions', 'rewards', 'lengths')
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


@pytest.fixture
def policy():
    torch.manual_seed(0)
    return NormalMLPPolicy(2, 2, (16,))


def test_steps_are_those_of_the_environments(policy):
    sampler = BatchSampler('2DNavigation-v0', 5)
    tasks = sampler.sample_tasks(3, (1,))
    episodes = sampler.sample(policy, tasks, (2,))
    assert episodes.observations.shape == (3, 100, 5, 2)
    env = sampler.family.make()
    for m, task in enumerate(tasks):
        for b in range(5):
            env.unwrapped.reset_task(task)
            seen, _ = env.reset(seed=0)
            for t in range(episodes.lengths[m, b]):
                assert np.array_equal(seen, episodes.observations[m, t, b])
                seen, reward, terminated, truncated, _ = env.step(episodes.actions[m, t, b].numpy())
                assert reward == episodes.rewards[m, t, b]
                assert (terminated or truncated) == (t == episodes.lengths[m, b] - 1)


def test_beyond_the_end_all_is_zero():
    sampler, policy = BatchSampler('2DNavigation-v0', 40), NormalMLPPolicy(2, 2, (4,), init_std=1e-3)
    with torch.no_grad():
        policy.mu.bias.copy_(torch.tensor([0.1, 0.0]))
    episodes = sampler.sample(policy, [{'goal': np.array([0.5, 0.0])}, {'goal': np.array([-0.5, 0.0])}], (0,))
    assert episodes.lengths[0].max() < 100
    assert episodes.lengths[1].min() == 100
    for part in (episodes.observations, episodes.actions, episodes.rewards):
        assert not part[0, int(episodes.lengths[0].max()) :].any()
        assert part[1, -1].any()


def test_equal_seeds_give_equal_episodes_and_others_others(policy):
    sampler = BatchSampler('2DNavigation-v0', 4)
    tasks = sampler.sample_tasks(2, (0,))
    assert same(sampler.sample(policy, tasks, (1, 2)), sampler.sample(policy, tasks, (1, 2)))
    assert not same(sampler.sample(policy, tasks, (1, 2)), sampler.sample(policy, tasks, (1, 3)))


def test_a_task_is_the_same_however_many_are_drawn():
    sampler = BatchSampler('TabularMDP-v0', 1)
    few, many = sampler.sample_tasks(2, (7,)), sampler.sample_tasks(5, (7,))
    assert np.array_equal(few[1]['transitions'], many[1]['transitions'])
    assert not np.array_equal(many[0]['rewards_mean'], many[1]['rewards_mean'])


def test_each_task_is_acted_in_by_its_own_parameters():
    policy = CategoricalMLPPolicy(1, 5)
    params = {name: value.detach().repeat(2, *(1,) * value.ndim) for name, value in policy.params.items()}
    params['layer1.bias'][0, 1], params['layer1.bias'][1, 3] = 50, 50
    sampler = BatchSampler('Bandit-K5-v0', 6)
    tasks = [{'mean': np.array([0, 1, 0, 0, 0.0])}, {'mean': np.array([0, 1, 0, 0, 0.0])}]
    episodes = sampler.sample(policy, tasks, (0,), params)
    assert (episodes.actions[0] == 1).all()
    assert (episodes.actions[1] == 3).all()
    assert total_rewards(episodes).tolist() == [1, 0]
