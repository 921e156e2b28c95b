"""A recipe builds its object, comes back from its file as it was, and builds nothing a file may not name."""

import json
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from trajectory.storage.config import CLASSES, find_class
from trajectory.utils import Config, InputError

GPT = 'trajectory.models.transformers:GPT'


@dataclass
class Box:
    """Takes its settings one by one."""

    width: int = 1
    height: int = 2


class Whole:
    """Takes the recipe whole."""

    takes_config = True

    def __init__(self, config, *args, **kwargs):
        self.config, self.args, self.kwargs = config, args, kwargs


def test_settings_are_items_and_attributes():
    config = Config(Box, width=3)
    assert dict(config) == {'width': 3}
    assert config['width'] == config.width == config.get('width') == 3
    assert not hasattr(config, 'depth')
    with pytest.raises(AttributeError, match="no setting 'depth'"):
        config.depth  # noqa: B018


def test_calling_builds_the_object():
    assert Config(Box, width=3)() == Box(3, 2)
    assert Config(Box, width=3)(height=5) == Box(3, 5)
    assert Config(Box, width=3)(width=4) == Box(4, 2)
    assert Config(Box, height=3)(7) == Box(7, 3)


def test_a_class_that_takes_the_recipe_gets_it_whole():
    config = Config(Whole, n_layer=4)
    built = config('more', knob=1)
    assert built.config is config
    assert (built.args, built.kwargs) == (('more',), {'knob': 1})


def test_a_recipe_says_what_it_is(caplog):
    caplog.set_level('INFO', 'trajectory')
    Config(Box, verbose=False, width=2)
    assert not caplog.text
    Config(Box, width=3)
    assert 'Box' in caplog.text
    assert 'width: 3' in caplog.text


@pytest.mark.parametrize('as_tuple', [False, True], ids=['path', 'tuple'])
def test_a_saved_recipe_comes_back_as_it_was(tmp_path, as_tuple):
    savepath = (str(tmp_path), 'model_config.json') if as_tuple else tmp_path / 'model_config.json'
    config = Config(GPT, savepath=savepath, n_layer=4, lr=6e-4, name='größe', cdf_act=None, lr_decay=True)
    loaded = Config.load(tmp_path / 'model_config.json')
    assert loaded._class is config._class is find_class(GPT)
    assert dict(loaded) == dict(config)
    assert json.loads((tmp_path / 'model_config.json').read_text())['class'] == GPT


def test_numpy_numbers_and_paths_are_saved_as_plain_ones(tmp_path):
    path = tmp_path / 'config.json'
    Config(GPT, savepath=path, observation_dim=np.int64(17), weights=np.ones(2), logbase=Path('logs'))
    assert dict(Config.load(path)) == {'observation_dim': 17, 'weights': [1, 1], 'logbase': 'logs'}


def test_a_setting_that_no_file_can_hold_is_an_error_at_once_and_leaves_no_file(tmp_path):
    with pytest.raises(TypeError, match=r'config.json: JSON has no form for .*a Box[\s\S]*env: Box'):
        Config(Box, savepath=tmp_path / 'config.json', env=Box())
    assert not list(tmp_path.iterdir())


def test_every_class_a_recipe_may_build_exists():
    for name in CLASSES:
        found = find_class(name)
        assert f'{found.__module__}:{found.__qualname__}' == name


@pytest.mark.parametrize('name', ['os:system', 'trajectory.models.transformers:os', 'GPT', 7, ['a']])
def test_a_file_cannot_choose_what_runs(tmp_path, name):
    path = tmp_path / 'config.json'
    path.write_text(json.dumps({'class': name, 'settings': {'command': 'true'}}))
    with pytest.raises(InputError, match=r'config.json: a recipe may not build [\s\S]*transformers:GPT'):
        Config.load(path)


@pytest.mark.parametrize('text', ['[]', '{}', '{"class": "x"}', '{"class": "x", "settings": 3}', '"text"'])
def test_other_json_is_not_a_recipe(tmp_path, text):
    path = tmp_path / 'config.json'
    path.write_text(text)
    with pytest.raises(InputError, match=r'config.json is not a recipe: expected \{"class".*\n.*train again'):
        Config.load(path)


def published(_class, settings):
    """Pickle a recipe as the original code did on Python 3.8: the object's two attributes, and no more."""
    config = Config.__new__(Config)
    vars(config).update(_class=_class, _dict=settings)
    return pickle.dumps(config, protocol=4)


def test_an_unpickled_recipe_works_like_a_new_one():
    config = pickle.loads(published(Box, {'width': 3}))
    assert config.width == config['width'] == 3
    assert config() == Box(3)


def test_a_published_recipe_is_read(tmp_path):
    path = tmp_path / 'model_config.pkl'
    path.write_bytes(published(find_class(GPT), {'n_layer': 4, 'betas': (0.9, 0.95)}))
    config = Config.load(path)
    assert config._class is find_class(GPT)
    assert dict(config) == {'n_layer': 4, 'betas': (0.9, 0.95)}


class Payload:
    def __reduce__(self):
        return print, ('this must never run',)


@pytest.mark.parametrize('where', ['instead', 'inside'])
def test_a_pickle_that_would_run_code_is_refused_unrun(tmp_path, where, capsys):
    path = tmp_path / 'model_config.pkl'
    inside = published(find_class(GPT), {'x': Payload()})
    path.write_bytes(inside if where == 'inside' else pickle.dumps(Payload()))
    with pytest.raises(InputError, match=r"model_config.pkl: a recipe may not build 'builtins:print'"):
        Config.load(path)
    assert capsys.readouterr().out == ''


def test_a_damaged_pickle_is_an_error_with_a_remedy(tmp_path):
    path = tmp_path / 'model_config.pkl'
    whole = published(find_class(GPT), {'n_layer': 4})
    for content in [b'no pickle', *(whole[:length] for length in range(len(whole)))]:
        path.write_bytes(content)
        with pytest.raises(InputError, match=r'model_config.pkl [\s\S]*ownload it again'):
            Config.load(path)


def test_a_pickle_of_something_else_is_not_a_recipe(tmp_path):
    path = tmp_path / 'model_config.pkl'
    path.write_bytes(pickle.dumps({'n_layer': 4}))
    with pytest.raises(InputError, match='holds a dict, not a recipe'):
        Config.load(path)

    path.write_bytes(pickle.dumps(Config.__new__(Config)))  # without its two attributes
    with pytest.raises(InputError, match='holds a Config, not a recipe'):
        Config.load(path)


def test_a_missing_recipe_is_an_error_that_lists_the_folder(tmp_path):
    (tmp_path / 'args.json').touch()
    with pytest.raises(InputError, match=r'config.json does not exist. Its folder holds args.json'):
        Config.load(tmp_path / 'config.json')


def test_a_recipe_saved_by_one_process_builds_in_another(tmp_path):
    Config('trajectory.utils.training:Trainer', savepath=tmp_path / 'c', n=8)
    probe = f'from trajectory.utils import load_config; print(load_config({str(tmp_path)!r}, "c").n)'
    done = subprocess.run([sys.executable, '-c', probe], capture_output=True, text=True, check=True)
    assert done.stdout == '8\n'
