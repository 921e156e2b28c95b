"""Damaged files, many of them: every reader returns or raises an InputError, soon, and in bounded memory.

FUZZ_CASES=10000 bash scripts/test.sh tests/test_fuzz.py      more than the cases of a usual run
"""

import io
import json
import os
import resource
import shutil
import signal
import tarfile
import zipfile
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plotting.curve import read_metrics
from plotting.read_results import load_result
from plotting.report import write_report
from tests.datasets.test_sources import steps
from trajectory.algorithms.behavior_cloning.algorithm import BehaviorCloning, Policy
from trajectory.algorithms.decision_transformer.algorithm import DecisionTransformerAlgorithm
from trajectory.algorithms.decision_transformer.huggingface import load_huggingface, save_huggingface
from trajectory.algorithms.implicit_q.algorithm import ImplicitQLearning
from trajectory.algorithms.trajectory_transformer.pretrained import TrainedModel
from trajectory.datasets.hdf5 import read_metadata, write_episodes
from trajectory.datasets.importing import import_episodes
from trajectory.datasets.inspection import inspect_file
from trajectory.models.critics import ActorCritic
from trajectory.models.decision_transformer import DecisionTransformer
from trajectory.search.traces import Searches, SearchTrace
from trajectory.storage.archives import unpack
from trajectory.storage.checkpoints import find_checkpoint
from trajectory.storage.config import load_args, load_config
from trajectory.storage.weights import save_tensors
from trajectory.utils.errors import InputError

ROOT = Path(__file__).parents[1]
BUNDLED = ROOT / 'data/hopper-mixed-ppo/gpt/bundled'
CASES = int(os.environ.get('FUZZ_CASES', 150))
SECONDS, MAX_GROWTH = 20, 2**30  # of a case, and bytes of memory in all
EVIL = [None, True, -1, 0, 1e308, float('nan'), float('inf'), int('9' * 400), 'x' * 5000, '', [], {}, [[[[]]]],
        {'a': {}}, '../../x', '\ud800', '\x00', '{seed}']  # fmt: skip

ROLLOUT = {'score': 0.1, 'return': 1.0, 'step': 3, 'term': True, 'gpt_epoch': 1, 'seed': 0, 'environment': 'Hopper-v4',
           'physics': 'd4rl', 'data_source': 'here', 'identity': 'a'}  # fmt: skip
ROW = {'epoch': 1, 'step': 1, 'tokens': 5, 'loss': 1.0, 'learning_rate': 0.1}


def make_files(folder):
    """One file of every kind that is read."""
    shutil.copytree(BUNDLED, folder / 'run')
    (folder / 'run/args.json').write_text(json.dumps({'dataset': 'x', 'n_epochs': 3, 'seed': 1}))
    (folder / 'run/metrics.jsonl').write_text(''.join(json.dumps({**ROW, 'step': k}) + '\n' for k in range(1, 4)))
    save_tensors({'settings': {'seed': 1}, 'model': {'a': torch.ones(3)}}, folder / 'run/resume.pt')
    make_policies(folder)
    (folder / 'plan').mkdir()
    (folder / 'plan/rollout.json').write_text(json.dumps(ROLLOUT))
    trace = SearchTrace(np.zeros((2, 4, 6)), np.zeros((2, 4), int), np.zeros((2, 4)), np.zeros((2, 2), int))
    Searches(np.array([0]), (trace,), np.zeros((3, 3)), np.zeros(2)).save(folder / 'plan/searches.npz')
    write_episodes(folder / 'data.hdf5', steps(40), {'env': 'Hopper-v4', 'sources': ['a', 'b']})
    columns = steps(8)
    np.savez(folder / 'data.npz', **columns)
    with tarfile.open(folder / 'x.tar.gz', 'w:gz') as archive:
        member = tarfile.TarInfo('a/b')
        member.size = 5
        archive.addfile(member, io.BytesIO(b'hello'))
    with zipfile.ZipFile(folder / 'x.zip', 'w') as archive:
        archive.writestr('a/b', 'hello')


def make_policies(folder):
    """Runs of the other methods, and a folder of `transformers`."""
    torch.manual_seed(0)
    source = {'environment': 'Hopper-v4', 'physics': 'd4rl', 'data_source': 'a', 'mean_return': 1.0}
    sizes = {'state_dim': 11, 'act_dim': 3, 'hidden_size': 8, 'n_layer': 1, 'n_head': 1, 'max_ep_len': 9,
             'activation_function': 'relu', 'dropout': 0.1, 'action_tanh': True}  # fmt: skip
    facts = {'K': 5, 'scale': 1.0, 'targets': [9.0], 'best_return': 9.0, 'worst_return': 0.0, 'mode': 'normal',
             'state_mean': [0.0] * 11, 'state_std': [1.0] * 11}  # fmt: skip
    width = {'observation_dim': 11, 'action_dim': 3, 'context': 2, 'width': 8, 'n_layer': 1, 'dropout': 0.1}
    critics = {'observation_dim': 11, 'action_dim': 3, 'width': 8, 'n_layer': 1}
    for name, network, config in (
        ('run_dt', DecisionTransformer(**sizes), {'model': sizes, **facts}),
        ('run_bc', Policy(**width), width),
        ('run_iql', ActorCritic(**critics), {**critics, 'discount': 0.9, 'reward_scale': 2.0, 'reward_shift': 0.0}),
    ):
        (folder / name).mkdir()
        (folder / name / 'model_config.json').write_text(json.dumps(config))
        (folder / name / 'source.json').write_text(json.dumps(source))
        save_tensors(network.state_dict(), folder / name / 'state_1.pt')
    save_huggingface(folder / 'run_dt', folder / 'run_hf')


def report(folder):
    logs = folder / 'logs/x'
    shutil.copytree(folder / 'run', logs / 'gpt/a')
    shutil.copytree(folder / 'plan', logs / 'plans/b/0')
    write_report(folder / 'logs', folder / 'report.html')


def load_trained(folder):
    TrainedModel.from_run(folder / 'run')


def load_and_act(algorithm, name):
    """Load a run, and take the actions of one step."""

    def read(folder):
        loaded = algorithm.load(folder / name)
        agent = loaded.agent(SimpleNamespace(target_return=None, mode=None))
        agent.reset(np.zeros((2, 11)), [0, 1])
        agent.act(np.zeros((2, 11)))
        loaded.spec()

    return read


READERS = {  # what each file is read by; the report reads all that lies in a run's folder, and never fails
    'run/args.json': (lambda f: load_args(f / 'run'), report),
    'run/model_config.json': (load_trained, lambda f: load_config(f / 'run/model_config.json')),
    'run/data_config.json': (load_trained,),
    'run/source.json': (load_trained, report),
    'run/discretizer.npz': (load_trained,),
    'run/metrics.jsonl': (lambda f: read_metrics(f / 'run/metrics.jsonl'), report),
    'run/resume.pt': (lambda f: find_checkpoint(f / 'run', {'seed': 1}),),
    'run_dt/model_config.json': (load_and_act(DecisionTransformerAlgorithm, 'run_dt'),),
    'run_dt/source.json': (load_and_act(DecisionTransformerAlgorithm, 'run_dt'),),
    'run_dt/state_1.pt': (load_and_act(DecisionTransformerAlgorithm, 'run_dt'),),
    'run_bc/model_config.json': (load_and_act(BehaviorCloning, 'run_bc'),),
    'run_bc/source.json': (load_and_act(BehaviorCloning, 'run_bc'),),
    'run_iql/model_config.json': (load_and_act(ImplicitQLearning, 'run_iql'),),
    'run_iql/source.json': (load_and_act(ImplicitQLearning, 'run_iql'),),
    'run_iql/state_1.pt': (load_and_act(ImplicitQLearning, 'run_iql'),),
    'plan/searches.npz': (lambda f: Searches.load(f / 'plan/searches.npz'),),
    'run_hf/config.json': (lambda f: load_huggingface(f / 'run_hf', f / 'made'),),
    'run_hf/model.safetensors': (lambda f: load_huggingface(f / 'run_hf', f / 'made'),),
    'plan/rollout.json': (lambda f: load_result(f / 'plan'), report),
    'data.hdf5': (lambda f: inspect_file(f / 'data.hdf5'), lambda f: read_metadata(f / 'data.hdf5')),
    'data.npz': (lambda f: import_episodes(f / 'data.npz'),),
    'x.tar.gz': (lambda f: unpack(f / 'x.tar.gz', f / 'out', lambda name: name),),
    'x.zip': (lambda f: unpack(f / 'x.zip', f / 'out', lambda name: name),),
}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    make_files(folder)
    return folder


@contextmanager
def at_most(seconds):
    """Fail if this takes longer."""

    def fail(*_):
        raise AssertionError(f'it took more than {seconds} s')

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


byte_edits = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(['flip', 'cut', 'insert', 'end']), st.binary(min_size=1, max_size=8)),
    min_size=1,
    max_size=4,
)
json_edits = st.lists(st.tuples(st.integers(0, 1000), st.sampled_from(EVIL)), min_size=1, max_size=3)


def damage(content: bytes, edits) -> bytes:
    """Flip, cut or insert bytes at some places, or end there."""
    content = bytearray(content)
    for share, kind, extra in edits:
        place = int(share * max(0, len(content) - 1))
        if kind == 'flip' and content:
            content[place] ^= extra[0] or 1
        elif kind == 'cut':
            del content[place : place + len(extra) * 8]
        elif kind == 'insert':
            content[place:place] = extra
        else:
            del content[place:]
    return bytes(content)


def replace_values(value, edits):
    """The JSON with some of its values, or of its keys', replaced."""
    if isinstance(value, dict) and value:
        names = sorted(value)
        for number, evil in deepcopy(edits):
            name = names[number % len(names)]
            if isinstance(value[name], dict) and number % 2:
                value[name] = replace_values(value[name], [(number // 2, evil)])
            elif number % 7 == 6:
                value.pop(name, None)
                names = sorted(value) or ['x']
                value.setdefault(names[0], evil)
            else:
                value[name] = evil
        return value
    return edits[0][1]


def dump(value) -> bytes:
    return json.dumps(value).encode('utf-8', 'surrogatepass')


@settings(max_examples=CASES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(name=st.sampled_from(sorted(READERS)), edits=byte_edits, values=json_edits, structured=st.booleans())
def test_damaged_files_end_as_input_errors(whole, tmp_path_factory, name, edits, values, structured):
    folder = tmp_path_factory.mktemp('case')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        if '/' in name:
            for part in {name.partition('/')[0], 'run', 'plan'}:  # which the report shows
                shutil.copytree(whole / part, folder / part)
        else:
            shutil.copy(whole / name, folder / name)
        path = folder / name
        if structured and path.suffix in ('.json', '.jsonl'):
            lines = path.read_text().splitlines() if path.suffix == '.jsonl' else [path.read_text()]
            path.write_bytes(b'\n'.join(dump(replace_values(json.loads(line), values)) for line in lines) + b'\n')
        else:
            path.write_bytes(damage(path.read_bytes(), edits))
        for read in READERS[name]:
            with at_most(SECONDS):
                try:
                    read(folder)
                except InputError:
                    if read is report:  # which shows what is broken, and never fails by it
                        raise
        grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        assert grown < MAX_GROWTH
    finally:
        shutil.rmtree(folder, ignore_errors=True)
