"""Rules of the house that need no reviewer: rooms, walls, mirrors, and settings that something reads."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trajectory.algorithms.base import ALGORITHMS, Algorithm, find_algorithm

ROOT = Path(__file__).parents[1]
LEVELS = (  # arrows point from a room to those of levels before its own
    ('utils',),
    ('cli', 'storage', 'environments', 'models'),
    ('datasets',),
    ('search', 'training', 'rendering'),
    ('rollouts',),
    ('algorithms',),
    ('sweeps',),
)
ROOMS = tuple(room for level in LEVELS for room in level)
REFERENCE_MODULES = {  # the reference's import paths, kept where a module moved: they re-export, and hold nothing else
    f'trajectory/utils/{name}.py'
    for name in ('config', 'discretization', 'rendering', 'serialization', 'setup', 'training')
}
MODULES = sorted(
    path
    for path in (ROOT / 'trajectory').rglob('*.py')
    if path.name != '__init__.py' and str(path.relative_to(ROOT)) not in REFERENCE_MODULES
)
HEAVY = (
    'gym',
    'gymnasium',
    'd4rl',
    'minari',
    'mujoco',
    'mujoco_py',
    'matplotlib',
    'imageio',
    'git',
    'wandb',
    'tensorboard',
    'safetensors',
    'huggingface_hub',
    'transformers',
    'ray',
    'submitit',
    'doodad',
)
MAY_IMPORT = {
    room: {room, *(lower for below in LEVELS[:i] for lower in below)}
    for i, level in enumerate(LEVELS)
    for room in level
}
CONFIGS = sorted(
    path.stem for path in (ROOT / 'config').glob('*.py') if re.search(r'^algorithm = ', path.read_text(), re.MULTILINE)
)
LONGEST_FUNCTION = 60  # lines after its docstring


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
            base = '.'.join(package[: len(package) + 1 - node.level]) if node.level else ''
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


def modules_imported(path):
    """List the modules of the package that a module imports from, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('trajectory.'):
            for name in (node.module, *(f'{node.module}.{alias.name}' for alias in node.names)):
                file = ROOT / (name.replace('.', '/') + '.py')
                if file.exists():
                    found.add(file)
    return found


def test_no_module_imports_itself_by_way_of_others():
    graph = {module: modules_imported(module) for module in MODULES}
    reach = {module: set(imported) for module, imported in graph.items()}
    for _ in graph:
        grown = {
            module: set().union(those, *(reach.get(other, set()) for other in those)) for module, those in reach.items()
        }
        if grown == reach:
            break
        reach = grown
    assert not [name_of(module) for module, those in reach.items() if module in those]


def test_no_room_is_above_a_quarter_of_the_house():
    sizes = {
        room: sum(len(path.read_text().splitlines()) for path in (ROOT / 'trajectory' / room).rglob('*.py'))
        for room in ROOMS
    }
    assert not {room: size for room, size in sizes.items() if size > sum(sizes.values()) / 4}


@pytest.mark.parametrize('module', [*MODULES, *sorted((ROOT / 'scripts').glob('*.py'))], ids=name_of)
def test_functions_are_short(module):
    functions = [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.FunctionDef)]
    lines = {
        node.name: node.end_lineno - node.body[bool(ast.get_docstring(node))].lineno + 1
        for node in functions
        if len(node.body) > bool(ast.get_docstring(node))
    }
    assert not {name: n for name, n in lines.items() if n > LONGEST_FUNCTION}


@pytest.mark.parametrize('name', ALGORITHMS)
def test_a_method_has_the_anatomy(name):
    algorithm = find_algorithm(name)
    assert issubclass(algorithm, Algorithm)
    assert not algorithm.__abstractmethods__
    configs = [
        module
        for module in (
            importlib.import_module(f'config.{path.stem}')
            for path in (ROOT / 'config').glob('*.py')
            if path.stem != '__init__'
        )
        if getattr(module, 'algorithm', None) == name
    ]
    assert configs, f"write a config module with algorithm = '{name}'"
    assert (ROOT / f'docs/{name}.md').exists(), f'write docs/{name}.md'
    for config in configs:
        assert {'train'} < config.experiments.keys()


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_has_a_front_desk_and_nothing_else_in_its_init(room):
    tree = ast.parse((ROOT / 'trajectory' / room / '__init__.py').read_text())
    exported, imported = [], []
    for node in tree.body if room != 'utils' else ():  # which loads the reference's names when they are used
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
        'import os, sys, torch, numpy, tap, tqdm\n'  # which read theirs
        'seen = []\n'
        'ask = type(os.environ).__getitem__\n'
        'type(os.environ).__getitem__ = lambda self, name: (seen.append(name), ask(self, name))[1]\n'
        + ''.join(f'import trajectory.{room}\n' for room in ROOMS)
        + 'print(*seen)'
    )
    done = subprocess.run([sys.executable, '-c', probe], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize('config', CONFIGS)
def test_every_setting_is_read(config):
    module = importlib.import_module(f'config.{config}')
    readers = [
        *(ROOT / 'trajectory/algorithms' / module.algorithm).glob('*.py'),
        *(ROOT / 'scripts').glob('*.py'),
        *(
            ROOT / f'trajectory/{name}.py'
            for name in ('cli/setup', 'cli/settings', 'rollouts/recording', 'search/settings', 'training/trainer')
        ),
    ]
    story = (
        '\n'.join(path.read_text() for path in readers)
        + (ROOT / f'config/{config}.py').read_text().partition('@dataclass')[0]
    )
    unread = [
        name
        for settings in module.experiments.values()
        for name in vars(settings())
        if not re.search(rf"\.{name}\b|'{name}'|^    {name}: ", story, re.MULTILINE)
    ]
    assert not unread, f'nothing reads {", ".join(unread)}: use them, or drop them'


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
