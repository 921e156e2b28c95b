"""What comes with the repository works straight after installation: the data, and the model that learned it."""

import json
import subprocess
import sys
from pathlib import Path

from trajectory.datasets import load_environment
from trajectory.datasets.hdf5 import read_metadata

ROOT = Path(__file__).parents[2]
DATASET = 'hopper-mixed-ppo'


def test_the_bundled_data_says_where_it_comes_from():
    env = load_environment(DATASET)
    metadata = read_metadata(env.dataset_path)
    assert (env.id, env.physics) == ('Hopper-v4', 'd4rl')
    assert {'env', 'physics', 'policy', 'seed', 'sources', 'versions'} <= metadata.keys()
    assert len(env.get_dataset()['rewards']) == 50_000


def test_the_bundled_model_plans(tmp_path):
    command = [
        sys.executable,
        'scripts/plan.py',
        '--dataset',
        DATASET,
        '--renderer',
        'None',
        '--max_episode_steps',
        '3',
        '--logbase',
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rollout = json.loads(next(tmp_path.glob('**/rollout.json')).read_text())
    assert rollout['step'] == 3
    assert (rollout['environment'], rollout['physics']) == ('Hopper-v4', 'd4rl')
    assert 'PPO' in rollout['data_source']
    assert 'read_results.py' in done.stdout


def test_the_bundled_q_functions_rank_its_candidates(tmp_path):
    flags = ('--dataset', DATASET, '--max_episode_steps', '3', '--logbase', str(tmp_path))
    plan = [sys.executable, 'scripts/plan.py', *flags, '--renderer', 'None', '--q_loadpath', 'iql/bundled']
    subprocess.run(plan, cwd=ROOT, capture_output=True, text=True, check=True)
    rollout = json.loads(next(tmp_path.glob('**/rollout.json')).read_text())
    assert (rollout['step'], rollout['q_epoch']) == (3, 6)


def test_the_bundled_policy_walks(tmp_path):
    """A whole episode, which is worth more than twice the data's mean."""
    act = ('scripts/evaluate.py', '--config', 'config.implicit_q', '--dataset', DATASET, '--loadpath', 'iql/bundled')
    subprocess.run([sys.executable, *act, '--logbase', str(tmp_path)], cwd=ROOT, capture_output=True, check=True)
    rollout = json.loads(next(tmp_path.glob('**/rollout.json')).read_text())
    assert rollout['return'] > 2 * 1368
    assert rollout['step'] == 1000
