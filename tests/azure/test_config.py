"""The cloud's settings are read when they are used, and each that is missing is named with its remedy."""

import importlib.util
import os
import stat
from pathlib import Path

import pytest

from trajectory.utils.errors import InputError

PATH = Path(__file__).parents[2] / 'azure/cloud.py'


@pytest.fixture
def config(monkeypatch):
    """The module as doodad loads it, with none of its variables set."""
    spec = importlib.util.spec_from_file_location('spec', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for variable, _ in module.VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv('DOCKER_USERNAME', raising=False)
    return module


def test_a_setting_is_read_when_it_is_used(config, monkeypatch):
    for value in ('one', 'two'):
        for name, (variable, _) in config.VARIABLES.items():
            monkeypatch.setenv(variable, f'{value} {name}')
            assert getattr(config, name) == f'{value} {name}'


def test_each_missing_one_is_named_with_its_remedy(config):
    for name, (variable, remedy) in config.VARIABLES.items():
        with pytest.raises(InputError) as missing:
            getattr(config, name)
        assert str(missing.value).startswith(f'the environment variable {variable} is not set.\n  {remedy}')
    assert 'password' in config.VARIABLES['AZ_SECRET'][1]


def test_all_that_is_missing_is_listed_at_once(config, monkeypatch):
    with pytest.raises(InputError) as missing:
        config.check()
    assert all(variable in str(missing.value) for variable, _ in config.VARIABLES.values())
    for variable, _ in config.VARIABLES.values():
        monkeypatch.setenv(variable, 'set')
    monkeypatch.setenv('DOCKER_USERNAME', 'me')
    config.check()


def test_there_is_no_password_and_no_secret_in_it(config):
    assert 'DEFAULT_AZURE_VM_PASSWORD' not in vars(config)
    with pytest.raises(AttributeError, match='has no AZ_NONSENSE'):
        config.AZ_NONSENSE  # noqa: B018  asking is what is tested


@pytest.mark.parametrize('told', ['echo "Client:"; echo " Username: me"', 'echo "Client:"', 'exit 1'])
def test_docker_is_asked_for_the_username_only_where_none_is_set(config, monkeypatch, tmp_path, told):
    docker = tmp_path / 'docker'
    docker.write_text(f'#!/bin/sh\ntouch {tmp_path}/asked\n{told}\n')
    docker.chmod(stat.S_IRWXU)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    if 'Username' in told:
        assert config.DEFAULT_DOCKER == 'docker.io/me/trajectory:latest'
    else:
        with pytest.raises(InputError, match='DOCKER_USERNAME is not set, and nobody is logged in'):
            config.docker_username()
    (tmp_path / 'asked').unlink()
    monkeypatch.setenv('DOCKER_USERNAME', 'you')
    assert config.DEFAULT_DOCKER == 'docker.io/you/trajectory:latest'
    assert not (tmp_path / 'asked').exists()
