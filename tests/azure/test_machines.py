"""The image and the cluster file fit what their readers expect and what is in this repository."""

import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def image():
    """The instructions of the Dockerfile, [(name, rest)]."""
    text = re.sub(r'\\\n\s*', ' ', (ROOT / 'azure/Dockerfile').read_text())
    return [tuple(line.split(' ', 1)) for line in text.splitlines() if line and not line.startswith('#')]


def test_the_image_ends_as_a_user_draws_without_a_display_and_asks_for_no_licence(image):
    names = [name for name, _ in image]
    assert dict(image)['FROM'].startswith('nvidia/cuda:13')
    assert dict(image)['USER'] not in ('root', '0')
    assert names.index('USER') < names.index('WORKDIR')
    settings = ' '.join(rest for name, rest in image if name == 'ENV')
    for setting in ('MUJOCO_GL=egl', 'NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility', 'PYTHONPATH=/home/code'):
        assert setting in settings
    text = (ROOT / 'azure/Dockerfile').read_text()
    assert not re.search('mjkey|mujoco200|Xdummy|password', text, re.IGNORECASE)


def test_what_the_image_copies_is_here(image):
    for _, rest in [each for each in image if each[0] == 'COPY']:
        *sources, _ = [word for word in rest.split() if not word.startswith('--')]
        assert all((ROOT / source).exists() for source in sources)
    vendor = json.loads((ROOT / 'azure/files/10_nvidia.json').read_text())
    assert vendor['ICD']['library_path'] == 'libEGL_nvidia.so.0'
    assert {'.git', 'logs', '.venv*'} <= set((ROOT / '.dockerignore').read_text().split())


@pytest.fixture
def cluster():
    return yaml.safe_load((ROOT / 'azure/cluster.yaml').read_text())


def test_ray_accepts_the_cluster_file(cluster):
    ray = pytest.importorskip('ray', reason='pip install -e .[ray]')
    jsonschema = pytest.importorskip('jsonschema')
    schema = Path(ray.__file__).parent / 'autoscaler/ray-schema.json'
    jsonschema.validate(cluster, json.loads(schema.read_text()))
    assert cluster['head_node_type'] in cluster['available_node_types']
    template = json.loads((Path(ray.__file__).parent / 'autoscaler/_private/_azure/azure-vm-template.json').read_text())
    for kind in cluster['available_node_types'].values():
        assert set(kind['node_config']['azure_arm_parameters']) <= set(template['parameters'])


def test_the_cluster_has_gpus_and_runs_what_is_here(cluster):
    assert cluster['available_node_types']['worker']['resources']['GPU'] == 1
    assert cluster['file_mounts'] == {'~/trajectory': '.'}
    text = (ROOT / 'azure/cluster.yaml').read_text()
    for path in set(re.findall(r'azure/\w+\.(?:py|sh|yaml)', text)):
        assert (ROOT / path).exists()
    assert not re.search('AccountKey|CONNECTION_STRING|SECRET', text)
