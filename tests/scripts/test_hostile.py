"""Damaged and hostile checkpoint folders: none runs code, none writes, and each is refused by file and cause.

Each case begins with a folder that plans, and spoils one file of it.
"""

import io
import json
import pickle
import shutil
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts import plan
from tests.scripts.test_train_and_plan import TINY_PLAN, random_episodes
from tests.support import GOLDEN
from trajectory import utils
from trajectory.algorithms.trajectory_transformer.pretrained import save_as
from trajectory.algorithms.trajectory_transformer.recovery import recover, save_beside
from trajectory.datasets.hdf5 import write_episodes
from trajectory.utils import Config, TrainedModel

pytest.importorskip('safetensors')

DATASET = 'hopper-medium-v2'
STOP = b'.'


@pytest.fixture(scope='module')
def good(tmp_path_factory):
    """One model in every format, each folder whole."""
    folder = tmp_path_factory.mktemp('good')
    write_episodes(folder / 'data.hdf5', random_episodes(), {})
    trained = recover(TrainedModel.from_pretrained(GOLDEN / 'reference_run'), DATASET, folder / 'data.hdf5')
    for format in ('pretrained', 'huggingface'):
        save_as(trained, folder / format, format)
    for kind in ('reference', 'run'):
        shutil.copytree(GOLDEN / 'reference_run', folder / kind)
        save_beside(trained, folder / kind)
    for name in ('model', 'data'):
        Config.load(folder / f'run/{name}_config.pkl').save(folder / f'run/{name}_config.json')
        (folder / f'run/{name}_config.pkl').unlink()
    return folder


def start(logbase):
    """Plan with the folder `logbase/DATASET/gpt/x`, as the command line would, in this process."""
    flags = ['--dataset', DATASET, '--logbase', logbase, '--gpt_loadpath', 'gpt/x', *TINY_PLAN]
    given, sys.argv = sys.argv, ['scripts/plan.py', *map(str, flags)]
    try:
        utils.run(plan.main, plan.Parser, 'plan')
    finally:
        sys.argv = given


@pytest.mark.parametrize('kind', ['reference', 'run', 'pretrained', 'huggingface'])
def test_the_folders_that_are_spoiled_below_plan(good, tmp_path, kind):
    shutil.copytree(good / kind, tmp_path / DATASET / 'gpt/x')
    start(tmp_path)
    assert list(tmp_path.glob('**/rollout.json'))


# --------------------------------- pickles -------------------------------- #


def text(word):
    return b'\x8c' + bytes([len(word)]) + word.encode()


def named(module, name):
    """The opcodes that ask for `module.name`."""
    return text(module) + text(name) + b'\x93'


CONFIG = named('trajectory.utils.config', 'Config')
GPT = named('trajectory.models.transformers', 'GPT')


def recipe(setting=b'K\x01', cls=GPT, before=b''):
    """A recipe as the original code pickles it, with one setting, `x`."""
    settings = b'}' + text('x') + setting + b's'
    return b'\x80\x04' + before + CONFIG + b')\x81}(' + text('_class') + cls + text('_dict') + settings + b'ub.'


def called(module, name, *words):
    """The opcodes that call `module.name(*words)`."""
    return named(module, name) + b'(' + b''.join(text(word) for word in words) + b'tR'


class Bomb:
    """What a careless reader of a pickle would call."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def touching(path):
    return f'open({str(path)!r}, "w")'


def pickled(content):
    """A spoiled model_config.pkl.    content : of the place where no file may appear"""
    return 'reference', 'model_config.pkl', lambda path, mark: path.write_bytes(content(mark))


# --------------------------------- others --------------------------------- #


def cut(share):
    return lambda path, _: path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


def flipped(path, _):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def removed(path, _):
    path.unlink()


def settings(**changes):
    """Change a JSON recipe's settings; None removes one."""

    def change(path, _):
        recipe = json.loads(path.read_text())
        found = (recipe.get('model') or recipe)['settings'] if 'model_type' not in recipe else recipe
        found.update(changes)
        for name in [name for name, value in changes.items() if value is None]:
            del found[name]
        path.write_text(json.dumps(recipe))

    return change


def entries(**changes):
    """Change the entries of a JSON file."""
    return lambda path, _: path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def weights(change):
    """Write another state dict, made from the one there is."""

    def write(path, mark):
        state = torch.load(path, weights_only=True)
        torch.save(change(state, mark), path)

    return write


def archive_of(**arrays):
    return lambda path, _: np.savez(path, **arrays)


def compressed(path, _):
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as target:
        for name, content in members.items():
            target.writestr(name, content)


def header(change):
    """Change the header of a safetensors file."""

    def write(path, _):
        content = path.read_bytes()
        size = struct.unpack('<Q', content[:8])[0]
        entries = json.loads(content[8 : 8 + size])
        change(entries)
        replaced = json.dumps(entries).encode()
        path.write_bytes(struct.pack('<Q', len(replaced)) + replaced + content[8 + size :])

    return write


def bomb_of_edges(path, _):
    """An archive that would unpack to 2 TB."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {'descr': '<f8', 'fortran_order': False, 'shape': (2**34, 16)})
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('thresholds.npy', head.getvalue())


def objects(path, mark):
    np.savez(path, thresholds=np.array([Bomb(mark)], dtype=object))


REFERENCE = 'trajectory.datasets.sequence'
WEIGHTS, MASK = 'state_50.pt', 'blocks.0.attn.mask'
CASES = {
    # pickles that call, or ask for what they must not have
    'calls the shell': (*pickled(lambda mark: recipe(called('os', 'system', f'touch {mark}'))), "'os:system'"),
    'calls posix': (*pickled(lambda mark: recipe(called('posix', 'system', f'touch {mark}'))), "'posix:system'"),
    'calls instead of a recipe': (
        *pickled(lambda mark: b'\x80\x04' + called('builtins', 'eval', touching(mark)) + STOP),
        "'builtins:eval'",
    ),
    'calls before a recipe': (
        *pickled(lambda mark: recipe(before=called('builtins', 'exec', touching(mark)) + b'0')),
        "'builtins:exec'",
    ),
    'calls in place of the class': (
        *pickled(lambda mark: recipe(cls=called('builtins', 'eval', touching(mark)))),
        "'builtins:eval'",
    ),
    'starts a process': (
        *pickled(lambda mark: recipe(called('subprocess', 'getoutput', f'touch {mark}'))),
        "'subprocess:getoutput'",
    ),
    'old opcode INST': (*pickled(lambda mark: f"(S'touch {mark}'\nios\nsystem\n.".encode()), "'os:system'"),
    'old opcode OBJ': (*pickled(lambda mark: b'(cos\nsystem\n' + text(f'touch {mark}') + b'o.'), "'os:system'"),
    'nested global': (
        *pickled(lambda _: recipe(named('trajectory.utils.config', 'Config.load'))),
        "'trajectory.utils.config:Config.load'",
    ),
    'global of a module of ours': (
        *pickled(lambda _: recipe(named('trajectory.storage.config', 'importlib.import_module'))),
        "'trajectory.storage.config:importlib.import_module'",
    ),
    'our own writer': (
        *pickled(lambda mark: recipe(called('trajectory.storage.serialization', 'write_json', str(mark)))),
        "'trajectory.storage.serialization:write_json'",
    ),
    'another loader': (*pickled(lambda mark: recipe(called('torch', 'load', str(mark)))), "'torch:load'"),
    'an admitted class, called': (
        *pickled(lambda _: recipe(called(REFERENCE, 'SequenceDataset', 'hopper-medium-v2'))),
        "'str' object is not callable",
    ),
    'Config, called with a savepath': (
        *pickled(lambda mark: recipe(CONFIG + b'(' + text('x') + b'\x88' + text(str(mark)) + b'tR')),
        'cannot be read',
    ),
    'a pickle of a reducing object': (*pickled(lambda mark: pickle.dumps(Bomb(mark))), "'pathlib"),
    'an extension code': (*pickled(lambda _: recipe(b'\x82\x01')), 'unregistered extension code 1'),
    'a persistent id': (*pickled(lambda _: recipe(b'Px\n')), 'persistent'),
    'a memo of 16 GB': (*pickled(lambda _: recipe(b'K\x01r\xff\xff\xff\x7f')), 'LONG_BINPUT'),
    'a text of 4 GB that is not there': (*pickled(lambda _: recipe(b'X\xff\xff\xff\xff')), 'cannot be read as a'),
    'settings in settings': (
        *pickled(lambda _: recipe(b'}' + text('y') + CONFIG + b')\x81s')),
        "its setting 'x' is a dict",
    ),
    'an instance in the settings': (*pickled(lambda _: recipe(CONFIG + b')\x81')), "its setting 'x' is a Config"),
    'half a pickle': ('reference', 'model_config.pkl', cut(0.5), 'cannot be read as a recipe'),
    'no pickle': (*pickled(lambda _: b'MZ\x90\x00'), 'cannot be read as a recipe'),
    'another class than a model': (
        *pickled(lambda _: recipe(cls=named('trajectory.utils.training', 'Trainer'))),
        'describes a trajectory.utils.training:Trainer, expected a model',
    ),
    'a data recipe that calls': (
        'reference',
        'data_config.pkl',
        lambda path, mark: path.write_bytes(recipe(called('os', 'system', f'touch {mark}'))),
        "'os:system'",
    ),
    # JSON recipes
    'a class that runs': ('run', 'model_config.json', entries(**{'class': 'os:system'}), "may not build 'os:system'"),
    'a path among the settings': (
        'run',
        'data_config.json',
        lambda path, mark: settings(savepath=str(mark))(path, mark),
        "has the setting 'savepath', which no dataset is made with",
    ),
    'text for a number': ('run', 'model_config.json', settings(n_layer='2'), "n_layer is '2', expected a whole number"),
    'a million layers': ('run', 'model_config.json', settings(n_layer=10**6), 'n_layer is'),
    'a block of 10^9': ('run', 'model_config.json', settings(block_size=10**9), 'block_size is'),
    'one layer more': (
        'run',
        WEIGHTS,
        lambda path, _: settings(n_layer=3)(path.with_name('model_config.json'), _),
        'blocks.2.',
    ),
    'another width': (
        'run',
        WEIGHTS,
        lambda path, _: settings(n_embd=32)(path.with_name('model_config.json'), _),
        'pos_emb has the shape (1, 63, 16), expected (1, 63, 32)',
    ),
    'heads that do not divide': ('run', 'model_config.json', settings(n_head=3), '3 heads cannot share'),
    'a column too few': ('run', 'model_config.json', settings(action_dim=2), 'has 15 tokens'),
    'no width': ('run', 'model_config.json', settings(n_embd=None), 'says nothing of n_embd'),
    'brackets without end': (
        'run',
        'model_config.json',
        lambda path, _: path.write_text('[' * 10**5),
        'not valid JSON',
    ),
    # weights
    'weights that call': ('run', WEIGHTS, weights(lambda state, mark: {**state, 'x': Bomb(mark)}), 'it asks for'),
    'weights cut short': ('run', WEIGHTS, cut(0.7), 'cannot be read as weights'),
    'a flipped bit': ('run', WEIGHTS, flipped, 'the checksum of'),
    'compressed weights': ('run', WEIGHTS, compressed, 'it is compressed'),
    'a pickled module': (
        'run',
        WEIGHTS,
        lambda path, _: torch.save(torch.nn.Linear(1, 1), path),
        'it asks for torch.nn.modules.linear.Linear',
    ),
    'weights of another shape': (
        'run',
        WEIGHTS,
        weights(lambda state, _: {**state, 'ln_f.bias': torch.zeros(3)}),
        'size mismatch for ln_f.bias',
    ),
    'a weight that is missing': (
        'run',
        WEIGHTS,
        weights(lambda state, _: {name: value for name, value in state.items() if name != 'ln_f.bias'}),
        'ln_f.bias',
    ),
    'a weight too many': ('run', WEIGHTS, weights(lambda state, _: {**state, 'x': torch.zeros(3)}), '"x"'),
    'a mask of its own': (
        'run',
        WEIGHTS,
        weights(lambda state, _: {**state, MASK: torch.ones_like(state[MASK])}),
        f'{MASK} is not the mask',
    ),
    'weights that are not finite': (
        'run',
        WEIGHTS,
        weights(lambda state, _: {**state, 'ln_f.bias': torch.full((16,), np.nan)}),
        'ln_f.bias holds numbers that are not',
    ),
    'one number posing as many': (
        'run',
        WEIGHTS,
        weights(lambda state, _: {**state, 'x': torch.zeros(1).expand(2**40)}),
        'x is no ordinary tensor',
    ),
    'no weights at all': ('run', WEIGHTS, removed, 'holds no state_*.pt'),
    # what lies beside them
    'bins that call': ('run', 'discretizer.npz', objects, 'Object arrays cannot be loaded'),
    'bins cut short': ('run', 'discretizer.npz', cut(0.5), 'cannot be read as a discretizer'),
    'bins of 2 TB': ('run', 'discretizer.npz', bomb_of_edges, 'cannot be read as a discretizer'),
    'bins of another model': ('run', 'discretizer.npz', archive_of(thresholds=np.zeros((4, 16))), 'has 3 bins for 16'),
    'bins out of order': (
        'run',
        'discretizer.npz',
        archive_of(thresholds=-np.arange(336.0).reshape(21, 16)),
        'ascending',
    ),
    'bins that are text': ('run', 'discretizer.npz', archive_of(thresholds=np.array([['a']])), 'expected numbers'),
    'a source that is a list': ('run', 'source.json', lambda path, _: path.write_text('[1]'), 'says nothing of'),
    'an environment that imports': (
        'run',
        'source.json',
        entries(environment='os:Hopper-v4', physics='stock'),
        'an id names no module',
    ),
    'an environment of another robot': (
        'run',
        'source.json',
        entries(environment='Ant-v4', physics='stock'),
        'none of its own',
    ),
    # folders of `save_pretrained`, and Hugging Face's
    'a header that lies': (
        'pretrained',
        'model.safetensors',
        header(lambda entries: entries['head.weight'].update(data_offsets=[0, 2**40])),
        'cannot be read as weights',
    ),
    'a header without end': (
        'pretrained',
        'model.safetensors',
        lambda path, _: path.write_bytes(struct.pack('<Q', 2**62) + b'{'),
        'cannot be read as weights',
    ),
    'tensors cut short': ('pretrained', 'model.safetensors', cut(0.9), 'cannot be read as weights'),
    'tensors that are missing': ('pretrained', 'model.safetensors', removed, 'holds neither model.safetensors nor'),
    'another class in config.json': (
        'pretrained',
        'config.json',
        entries(model={'class': 'os:system', 'settings': {}}),
        "may not build 'os:system'",
    ),
    'a later version': ('pretrained', 'config.json', entries(version=2), 'is of version 2'),
    'an epoch that is text': ('pretrained', 'config.json', entries(epoch='../x'), "epoch is '../x'"),
    'another kind of model': ('huggingface', 'config.json', entries(model_type='gpt2'), 'describes no Traj'),
    'a width that is text': ('huggingface', 'config.json', entries(n_embd='16'), "n_embd is '16'"),
    'an old file that calls': (
        'huggingface',
        'pytorch_model.bin',
        lambda path, mark: (path.with_name('model.safetensors').unlink(), torch.save({'x': Bomb(mark)}, path)),
        'it asks for',
    ),
}


def test_there_are_fifty():
    assert len(CASES) >= 50


@pytest.mark.parametrize(
    'case',
    [
        'calls the shell',
        'calls posix',
        'calls instead of a recipe',
        'calls before a recipe',
        'starts a process',
        'old opcode INST',
        'old opcode OBJ',
        'a pickle of a reducing object',
    ],
)
def test_the_bombs_are_live(tmp_path, case):
    _, _, spoil, _ = CASES[case]
    spoil(tmp_path / 'x', tmp_path / 'ran')
    pickle.loads((tmp_path / 'x').read_bytes())  # Python's own reader does what our reader refuses
    assert (tmp_path / 'ran').exists()


@pytest.mark.parametrize('case', CASES)
def test_a_folder_that_is_damaged_or_hostile_is_refused(good, tmp_path, capfd, case):
    kind, file, spoil, cause = CASES[case]
    folder, mark = tmp_path / 'logs' / DATASET / 'gpt/x', tmp_path / 'ran'
    shutil.copytree(good / kind, folder)
    spoil(folder / file, mark)
    before = {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()}
    capfd.readouterr()
    with pytest.raises(SystemExit) as exit_:
        start(tmp_path / 'logs')
    heard = capfd.readouterr()
    assert exit_.value.code == 2
    assert heard.err.startswith('plan.py: error: ')
    assert cause in heard.err
    assert (file if spoil is not removed else '') in heard.err
    assert len(heard.err) < 2000
    assert {path: path.read_bytes() for path in tmp_path.rglob('*') if path.is_file()} == before
