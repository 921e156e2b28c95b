"""The README and the pages of docs/: their links lead somewhere, and their commands are ones that the scripts take."""

import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.test_sources import steps
from trajectory.datasets import find_source, sources
from trajectory.datasets.source import DataSource
from trajectory.environments.spec import EnvironmentSpec

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', ROOT / 'CHANGELOG.md', *sorted((ROOT / 'docs').glob('*.md'))]
TAP_SCRIPTS = {'train', 'plan', 'evaluate', 'predict', 'collect'}


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for text, target in re.findall(r'\[([^\]]*)\]\(([^)\s]+)\)', page.read_text()):
        if not target.startswith('http'):
            assert (page.parent / target.partition('#')[0]).exists(), f'[{text}]({target})'


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_paths_in_backticks_are_there(page):
    rooms = 'trajectory|scripts|plotting|config|azure|benchmarks|tests|docs'
    for path in re.findall(rf'`((?:{rooms})/[\w/.-]+)`', page.read_text()):
        assert (ROOT / path).exists() or '<' in path or path == 'azure/config.py', path


def commands(page):
    for block in re.findall(r'```(?:bash)?\n(.*?)```', page.read_text(), re.DOTALL):
        for line in block.replace('\\\n', ' ').splitlines():
            try:
                words = shlex.split(line, comments=True)
            except ValueError:  # no command
                continue
            starts = [i for i, word in enumerate(words) if re.fullmatch(r'(scripts|plotting|azure)/\w+\.py', word)]
            if starts and '…' not in line:
                yield words[starts[0]], words[starts[0] + 1 :]


@pytest.mark.parametrize('page', PAGES, ids=name_of)
def test_commands_are_ones_that_the_scripts_take(page):
    for script, argv in commands(page):
        assert (ROOT / script).exists(), script
        name = Path(script).stem
        if script.startswith('scripts/') and name in TAP_SCRIPTS:
            importlib.import_module(f'scripts.{name}').Parser().parse_args(name, argv)


def test_the_readme_is_a_page():
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 150


def test_the_source_of_contributing_is_a_source(monkeypatch):
    code = re.search(r'```python\n(.*?)```', (ROOT / 'CONTRIBUTING.md').read_text(), re.DOTALL)[1]
    scope = {'EnvironmentSpec': EnvironmentSpec, 'DataSource': DataSource, 'make_zeros': steps}
    exec('\n'.join(line.removeprefix('   ') for line in code.splitlines()), scope)
    monkeypatch.setattr(sources, 'SOURCES', (*sources.SOURCES, scope['find_zeros']))
    found = find_source('zeros:7')
    assert (found.spec.id, found.data_source) == ('Hopper-v4', 'zeros')
    np.testing.assert_array_equal(found.get_dataset()['rewards'], steps(7)['rewards'])


def test_the_version_is_one():
    places = (
        ('setup.py', r"version='([\d.]+)'"),
        ('CITATION.cff', r'\nversion: ([\d.]+)'),
        ('CHANGELOG.md', r'## ([\d.]+)'),
    )
    versions = {re.search(pattern, (ROOT / name).read_text())[1] for name, pattern in places}
    assert len(versions) == 1
