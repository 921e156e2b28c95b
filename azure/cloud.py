"""Settings of the cloud, read from the environment when they are used; what is missing is named, with its remedy.

doodad loads this file by its path and takes these names from it; secrets have no default, and stay where they are.
"""

import os
import re
import subprocess
from pathlib import Path

from trajectory.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[1]

CODE_DIRS_TO_MOUNT = []
NON_CODE_DIRS_TO_MOUNT = [{'local_dir': str(ROOT), 'mount_point': '/home/code'}]  # where azure/Dockerfile works
REMOTE_DIRS_TO_MOUNT = []
LOCAL_LOG_DIR = '/doodad_tmp'

DEFAULT_AZURE_GPU_MODEL = 'nvidia-tesla-t4'
DEFAULT_AZURE_INSTANCE_TYPE = 'Standard_DS1_v2'
DEFAULT_AZURE_REGION = 'eastus'
DEFAULT_AZURE_RESOURCE_GROUP = 'traj'
DEFAULT_AZURE_VM_NAME = 'traj-vm'

SERVICE_PRINCIPAL = 'az ad sp create-for-rbac --role Contributor --scopes /subscriptions/ID prints it'
VARIABLES = {  # name here: variable, and where its value is to be had
    'AZ_SUB_ID': ('AZURE_SUBSCRIPTION_ID', 'az account show --query id prints it'),
    'AZ_CLIENT_ID': ('AZURE_CLIENT_ID', f'{SERVICE_PRINCIPAL} as appId'),
    'AZ_TENANT_ID': ('AZURE_TENANT_ID', f'{SERVICE_PRINCIPAL} as tenant'),
    'AZ_SECRET': ('AZURE_CLIENT_SECRET', f'{SERVICE_PRINCIPAL} as password'),
    'AZ_CONTAINER': ('AZURE_STORAGE_CONTAINER', 'az storage container list names those there are'),
    'AZ_CONN_STR': ('AZURE_STORAGE_CONNECTION_STRING', 'az storage account show-connection-string prints it'),
    'DEFAULT_AZURE_VM_PASSWORD': ('AZURE_VM_PASSWORD', 'choose one, of 12 characters or more'),
}


def __getattr__(name):
    """Read a setting at the moment that somebody asks for it."""
    if name == 'DEFAULT_DOCKER':
        return f'docker.io/{docker_username()}/trajectory:latest'
    if name not in VARIABLES:
        raise AttributeError(f'azure/cloud.py has no {name}')
    variable, remedy = VARIABLES[name]
    if not os.environ.get(variable):
        raise InputError(
            f'the environment variable {variable} is not set.\n  {remedy}; then: read -rs {variable}; export {variable}'
        )
    return os.environ[variable]


def docker_username() -> str:
    """Whose images are taken: `DOCKER_USERNAME`, or who is logged in to Docker."""
    if name := os.environ.get('DOCKER_USERNAME'):
        return name
    try:
        told = subprocess.run(['docker', 'info'], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        told = ''
    if found := re.search(r'^\s*Username: (\S+)', told, re.MULTILINE):
        return found[1]
    raise InputError(
        'the environment variable DOCKER_USERNAME is not set, and nobody is logged in to Docker.\n'
        '  docker login; or: export DOCKER_USERNAME=NAME'
    )


def check():
    """Make sure that all is there, before anything starts."""
    missing = [variable for variable, _ in VARIABLES.values() if not os.environ.get(variable)]
    if len(missing) > 1:
        raise InputError(
            'these environment variables are not set:\n  '
            + '\n  '.join(f'{variable:33}{remedy}' for variable, remedy in VARIABLES.values() if variable in missing)
        )
    for name in VARIABLES:
        __getattr__(name)
    docker_username()
