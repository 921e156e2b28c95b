"""Rules of the house that need no reviewer: rooms, walls, mirrors, and settings that something reads."""
import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from config import offline

ROOT = Path(__file__).parents[1]
ROOMS = ('utils', 'cli', 'storage', 'environments', 'datasets', 'models', 'search', 'training', 'rollouts', 'rendering',
         'algorithms', 'sweeps')
ROOMS = tuple(room for room in ROOMS if (ROOT / 'trajectory' / room).is_dir())
REFERENCE_MODULES = {   # the reference's import paths, kept where a module moved: they re-export, and hold nothing else
    f'trajectory/utils/{name}.py'
    for name in ('config', 'discretization', 'rendering', 'serialization', 'setup', 'training')
}
MODULES = sorted(path for path in (ROOT / 'trajectory').rglob('*.py')
                 if path.name != '__init__.py' and str(path.relative_to(ROOT)) not in REFERENCE_MODULES)
HEAVY = (
    'gym', 'gymnasium', 'd4rl', 'minari', 'mujoco', 'mujoco_py', 'matplotlib', 'imageio', 'git', 'wandb',
    'tensorboard', 'safetensors', 'huggingface_hub', 'transformers', 'ray', 'submitit', 'doodad',
)
MAY_IMPORT = {      # arrows point one way
    'utils': {'utils', 'storage'},
    'cli': {'cli', 'storage', 'training', 'utils'},
    'storage': {'storage', 'datasets', 'utils'},
    'environments': {'environments', 'datasets', 'storage', 'utils'},
    'datasets': {'datasets', 'environments', 'storage', 'utils'},
    'models': {'models', 'storage', 'utils'},
    'search': {'search', 'datasets', 'models', 'utils'},
    'training': {'training', 'storage', 'utils'},
    'rollouts': {'rollouts', 'cli', 'search', 'environments', 'datasets', 'models', 'utils'},
    'rendering': {'rendering', 'datasets', 'storage', 'utils'},
    'algorithms': {'algorithms', 'rollouts', 'training', 'search', 'datasets', 'models', 'environments', 'storage',
                   'cli', 'utils'},
    'sweeps': {'sweeps', 'cli', 'storage', 'training', 'utils'},
}


def name_of(path):
    return str(path.relative_to(ROOT))


def rooms_imported(path):
    """List the rooms that a module of the package imports from, anywhere in it."""
    package = path.relative_to(ROOT).with_suffix('').parts[:-1]
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = '.'.join(package[:len(package) + 1 - node.level]) if node.level else ''
            module = '.'.join(part for part in (base, node.module) if part)
            names += [f'{module}.{alias.name}' for alias in node.names]
    found = [name.split('.')[1] for name in names if name.startswith('trajectory.')]
    return {room for room in found if room in ROOMS}


@pytest.mark.parametrize('module', MODULES, ids=name_of)
def test_module_says_what_it_is_for_and_has_a_mirror(module):
    assert ast.get_docstring(ast.parse(module.read_text())), 'begin with one sentence: what is it for?'
    mirror = ROOT / 'tests' / module.relative_to(ROOT / 'trajectory').with_name(f'test_{module.name}')
    assert mirror.exists(), f'write {name_of(mirror)}'


@pytest.mark.parametrize('module', MODULES, ids=name_of)
def test_arrows_between_rooms_point_one_way(module):
    room = module.relative_to(ROOT / 'trajectory').parts[0]
    reached = rooms_imported(module) - MAY_IMPORT.get(room, set())
    assert not reached, f'{name_of(module)} reaches into {", ".join(sorted(reached))}'


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_has_a_front_desk_and_nothing_else_in_its_init(room):
    tree = ast.parse((ROOT / 'trajectory' / room / '__init__.py').read_text())
    exported, imported = [], []
    for node in tree.body if room != 'utils' else ():      # which loads the reference's names when they are used
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        names = isinstance(node, ast.Assign) and node.targets[0].id == '__all__'
        assert docstring or names or isinstance(node, ast.ImportFrom), ast.unparse(node)
        exported += ast.literal_eval(node.value) if names else []
        if isinstance(node, ast.ImportFrom):
            imported += [alias.asname or alias.name for alias in node.names]
    assert '*' not in imported
    assert sorted(exported) == sorted(imported), 'import what __all__ lists, and list what is imported'


@pytest.mark.parametrize('room', ROOMS)
def test_importing_a_room_is_free(room):
    probe = f'import sys, trajectory.{room}; print(*(name for name in {HEAVY} if name in sys.modules))'
    done = subprocess.run([sys.executable, '-c', probe], capture_output=True, text=True, check=True)
    assert not done.stderr
    loaded = done.stdout.split()
    assert not loaded, f'`import trajectory.{room}` loads {loaded}; import them in the functions in need'


def test_importing_reads_no_environment_variable():
    probe = (
        'import os, sys, torch, numpy, tap, tqdm\n'     # which read theirs
        'seen = []\n'
        'ask = type(os.environ).__getitem__\n'
        'type(os.environ).__getitem__ = lambda self, name: (seen.append(name), ask(self, name))[1]\n'
        + ''.join(f'import trajectory.{room}\n' for room in ROOMS) + 'print(*seen)'
    )
    done = subprocess.run([sys.executable, '-c', probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize('experiment', offline.experiments)
def test_every_setting_is_read(experiment):
    script = ROOT / 'scripts' / f'{experiment}.py'
    assert script.exists(), f'write {name_of(script)}'
    story = script.read_text()
    parser = (ROOT / 'trajectory/cli/setup.py').read_text()
    folder = (ROOT / 'config/offline.py').read_text()
    unread = [
        name for name in offline.base[experiment]
        if not re.search(rf'\bargs\.{name}\b', story)
        and not re.search(rf"\bself\.{name}\b|getattr\(self, '{name}'", parser)
        and not re.search(rf"watch\(.*\('{name}', ", folder)
    ]
    assert not unread, f'nothing reads {", ".join(unread)}: use them in {script.name}, or drop them'


def test_no_debris():
    for path in [*MODULES, *(ROOT / 'scripts').glob('*.py'), *(ROOT / 'config').glob('*.py')]:
        text = path.read_text()
        assert '\t' not in text, f'{name_of(path)} has tabs'
        assert 'pdb' not in text, f'{name_of(path)} stops in a debugger'
        assert not re.search(r'\bexcept:', text), f'{name_of(path)} catches everything'


@pytest.mark.parametrize('name', sorted(path.stem for path in (ROOT / 'scripts').glob('*.py')))
def test_help_speaks_to_the_user(name):
    parser = importlib.import_module(f'scripts.{name}').Parser()
    assert 'noqa' not in parser.format_help()
