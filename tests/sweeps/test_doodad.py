"""doodad is used as its repository has it, and the unrelated package of that name is refused."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

from trajectory.sweeps import doodad
from trajectory.sweeps.description import Sweep, expand
from trajectory.utils.errors import InputError

CONFIG = Path(__file__).parents[2] / 'azure/cloud.py'
SECRETS = {
    'AZURE_CLIENT_SECRET': 'secret-1',
    'AZURE_STORAGE_CONNECTION_STRING': 'AccountName=a;AccountKey=secret-2',
    'AZURE_VM_PASSWORD': 'secret-3',
}
PLAIN = {
    'AZURE_SUBSCRIPTION_ID': 'sub',
    'AZURE_CLIENT_ID': 'client',
    'AZURE_TENANT_ID': 'tenant',
    'AZURE_STORAGE_CONTAINER': 'box',
    'DOCKER_USERNAME': 'me',
}

# what the package on PyPI holds
UNRELATED = {'__init__.py': '"""Making access to names easier."""\ndef find_names(obj): ...\n'}

# the calls of the repository's, which reads its settings and would start machines
REAL = {
    '__init__.py': 'class MountLocal: ...\nclass MountAzure: ...\nclass LocalMode: ...\nclass AzureMode: ...\n',
    'wrappers/__init__.py': '',
    'wrappers/easy_launch/__init__.py': 'from .core import sweep_function\n',
    'wrappers/easy_launch/metadata.py': """
def save_doodad_config(config):
    with open(config.output_directory + '/saved', 'w') as file:
        file.write('saved')
""",
    'wrappers/easy_launch/core.py': """
import base64, importlib.util, json, pathlib, pickle, sys

def sweep_function(method_call, params, log_path, default_params={}, mode='azure', use_gpu=False,
                   config_path=None, azure_region=None, gpu_model=None, **mount_kwargs):
    spec = importlib.util.spec_from_file_location('spec', config_path)
    config = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(config)
    assert [config.AZ_SUB_ID, config.AZ_CLIENT_ID, config.AZ_TENANT_ID, config.AZ_SECRET, config.AZ_CONTAINER,
            config.AZ_CONN_STR, config.DEFAULT_AZURE_VM_PASSWORD]
    calls = [base64.b64encode(pickle.dumps((method_call, dict(default_params, command=command)))).decode()
             for command in params['command']]
    print(params)
    pathlib.Path('call.json').write_text(json.dumps({
        'calls': calls, 'log_path': log_path, 'mode': mode, 'use_gpu': use_gpu, 'image': config.DEFAULT_DOCKER,
        'mounts': config.NON_CODE_DIRS_TO_MOUNT, 'region': azure_region or config.DEFAULT_AZURE_REGION,
        'gpu': gpu_model or config.DEFAULT_AZURE_GPU_MODEL, 'more': mount_kwargs, 'argv': sys.argv}))
""",
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A function that puts a package called doodad on the path."""

    def put(files):
        for name, text in files.items():
            path = tmp_path / 'packages/doodad' / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(tmp_path / 'packages')

    monkeypatch.chdir(tmp_path)
    for name, value in {**SECRETS, **PLAIN}.items():
        monkeypatch.setenv(name, value)
    yield put
    for name in [name for name in sys.modules if name.partition('.')[0] == 'doodad']:
        del sys.modules[name]


def variants(dataset='hopper-medium-v2'):
    from scripts import train

    return expand(train, Sweep({'seed': [1, 2]}, {'dataset': dataset, 'exp_name': 'gpt/{seed}'}))


def test_each_variant_gets_a_machine_and_no_secret(install, tmp_path, capfd):
    install(REAL)
    assert [outcome.status for outcome in doodad.run(variants(), CONFIG, region='westus2')] == ['launched'] * 2
    told = (tmp_path / 'call.json').read_text()
    call = json.loads(told)
    assert {name: call[name] for name in ('log_path', 'mode', 'use_gpu', 'image', 'region', 'gpu')} == {
        'log_path': 'logs',
        'mode': 'azure',
        'use_gpu': True,
        'image': 'docker.io/me/trajectory:latest',
        'region': 'westus2',
        'gpu': 'nvidia-tesla-t4',
    }
    assert call['mounts'] == [{'local_dir': str(CONFIG.parents[1]), 'mount_point': '/home/code'}]
    sent = [base64.b64decode(each) for each in call['calls']]
    printed = capfd.readouterr()
    for secret in SECRETS.values():
        assert secret not in told + printed.out + printed.err
        assert not [each for each in sent if secret.encode() in each]
    assert len(sent) == 2


def test_the_machine_runs_the_script_and_leaves_the_results(install, tmp_path):
    install(REAL)
    import pickle

    list(doodad.run(variants('hopper-mixed-ppo'), CONFIG))
    method, variant = pickle.loads(base64.b64decode(json.loads((tmp_path / 'call.json').read_text())['calls'][0]))
    variant['command'] += ['--n_epochs', '0']  # which the script refuses, once it has read all else
    config = type('DoodadConfig', (), {'output_directory': str(tmp_path)})
    with pytest.raises(subprocess.CalledProcessError) as failed:
        method(config, variant)
    assert failed.value.cmd[1:] == [
        'scripts/train.py',
        '--seed',
        '1',
        '--dataset',
        'hopper-mixed-ppo',
        '--exp_name',
        'gpt/1',
        '--n_epochs',
        '0',
        '--logbase',
        str(tmp_path),
    ]
    assert failed.value.returncode == 2
    assert (tmp_path / 'saved').exists()


def test_the_unrelated_package_is_refused(install):
    install(UNRELATED)
    with pytest.raises(
        InputError,
        match=r'(?s)packages/doodad/__init__.py is an unrelated package.*'
        r'pip uninstall doodad.*pip install git\+https://github.com/JannerM/doodad',
    ):
        list(doodad.run(variants(), CONFIG))


def test_a_half_installed_one_is_refused(install):
    install({'__init__.py': REAL['__init__.py']})
    with pytest.raises(InputError, match=r'has no doodad\.wrappers\.easy_launch'):
        list(doodad.run(variants(), CONFIG))


def test_what_is_missing_is_named_before_anything_starts(install, monkeypatch, tmp_path):
    install(REAL)
    for name in ('AZURE_CLIENT_SECRET', 'AZURE_VM_PASSWORD'):
        monkeypatch.delenv(name)
    with pytest.raises(InputError, match=r'not set:\n  AZURE_CLIENT_SECRET .*\n  AZURE_VM_PASSWORD '):
        list(doodad.run(variants(), CONFIG))
    assert not (tmp_path / 'call.json').exists()


def test_without_doodad_the_repository_is_named():
    with pytest.raises(InputError, match=r'this engine needs doodad\.\n  Install it from its repository'):
        doodad.import_sweep_function()
