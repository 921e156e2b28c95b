"""A model travels through every format and comes back as it was, with all that planning needs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.storage.test_weights import SMALL
from tests.support import GOLDEN
from trajectory.algorithms.trajectory_transformer.pretrained import FORMATS, check_same, recipe_of, save_as
from trajectory.datasets.discretization import QuantileDiscretizer
from trajectory.utils import Config, InputError, TrainedModel, load_model

pytest.importorskip('safetensors')

ROOT = Path(__file__).parents[2]
REFERENCE = GOLDEN / 'reference_run'
GPT, CONDITIONAL = ('trajectory.models.transformers:GPT', 'trajectory.models.transformers:ConditionalGPT')
SOURCE = {'environment': 'Hopper-v4', 'physics': 'd4rl', 'data_source': 'größe', 'mean_return': 1.5, 'episodes': 3}
DATA = {
    'env': 'hopper-medium-v2',
    'N': 5,
    'penalty': None,
    'sequence_length': 10,
    'step': 1,
    'discount': 0.99,
    'max_path_length': None,
    'discretizer': 'QuantileDiscretizer',
}


def make(kind=GPT, **changes):
    """A trained model that has everything."""
    torch.manual_seed(0)
    model = Config(kind, verbose=False, **{**SMALL, 'n_layer': 2, **changes})().eval()
    discretizer = QuantileDiscretizer(np.random.default_rng(0).normal(size=(50, 4)), 5)
    return TrainedModel(
        model, 7, Config('trajectory.datasets.sequence:DiscretizedDataset', verbose=False, **DATA), discretizer, SOURCE
    )


def assert_same(copy, trained):
    weights, copied = trained.model.state_dict(), copy.model.state_dict()
    assert weights.keys() == copied.keys()
    assert all(torch.equal(weights[name], copied[name]) for name in weights)
    assert type(copy.model) is type(trained.model)
    assert dict(recipe_of(copy.model)) == dict(recipe_of(trained.model))
    assert (copy.epoch, copy.data and dict(copy.data)) == (trained.epoch, trained.data and dict(trained.data))
    assert copy.source == trained.source
    assert (copy.discretizer is None) == (trained.discretizer is None)
    if copy.discretizer is not None:
        assert np.array_equal(copy.discretizer.thresholds, trained.discretizer.thresholds)


@torch.no_grad()
def test_the_references_run_loads_and_computes_what_it_did():
    model, epoch = load_model(REFERENCE)
    expected = np.load(REFERENCE / 'expected.npz')
    logits = model(torch.tensor(expected['tokens']))[0]
    assert epoch == 50
    torch.testing.assert_close(logits, torch.tensor(expected['logits']), atol=1e-4, rtol=0)
    trained = TrainedModel.from_pretrained(REFERENCE)
    assert trained.data['env'] == 'hopper-medium-v2'
    assert trained.discretizer is trained.source is None


def test_the_way_from_the_reference_through_all_formats_and_back_is_bit_exact(tmp_path):
    start = trained = TrainedModel.from_pretrained(REFERENCE)
    way = ['pretrained', 'huggingface', 'pretrained', 'reference', 'huggingface', 'reference']
    for number, format in enumerate(way):
        folder = save_as(trained, tmp_path / f'{number}', format)
        trained = TrainedModel.from_pretrained(folder)
        assert_same(trained, start)
    for name in ('model_config.pkl', 'data_config.pkl'):
        assert (folder / name).read_bytes() == (REFERENCE / name).read_bytes()
    ours, theirs = (torch.load(run / 'state_50.pt', weights_only=True) for run in (folder, REFERENCE))
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_recipe_of_a_model_is_the_one_it_was_built_from():
    settings = {
        **SMALL,
        'n_layer': 2,
        'n_head': 4,
        'embd_pdrop': 0.2,
        'resid_pdrop': 0.3,
        'attn_pdrop': 0.4,
        'action_weight': 5,
        'reward_weight': 6,
        'value_weight': 7,
    }
    assert dict(recipe_of(make(**settings).model)) == settings


@pytest.mark.parametrize('format', FORMATS)
def test_everything_travels(tmp_path, format):
    trained = make(attn_pdrop=0.3, embd_pdrop=0.2, value_weight=2)
    folder = save_as(trained, tmp_path / 'x', format, check=lambda partial: check_same(trained, partial))
    assert_same(TrainedModel.from_pretrained(folder), trained)
    assert [path.name for path in tmp_path.iterdir()] == ['x']


def test_a_model_with_a_goal_travels_too_but_has_no_port(tmp_path):
    trained = make(CONDITIONAL)
    for format in ('pretrained', 'reference'):
        folder = save_as(trained, tmp_path / format, format, check=lambda partial: check_same(trained, partial))
        assert_same(TrainedModel.from_pretrained(folder), trained)
    with pytest.raises(InputError, match='knows no ConditionalGPT, only the plain GPT'):
        save_as(trained, tmp_path / 'x', 'huggingface')
    assert not (tmp_path / 'x').exists()


def test_a_bare_model_travels(tmp_path):
    trained = TrainedModel(make().model)
    assert_same(TrainedModel.from_pretrained(trained.save_pretrained(tmp_path / 'x')), trained)
    with pytest.raises(InputError, match=r'nothing says which the model learned from.\n  Pass --dataset'):
        save_as(trained, tmp_path / 'y', 'reference')


def test_nothing_that_travels_is_pickled(tmp_path):
    folder = make().save_pretrained(tmp_path / 'x')
    names = {path.name for path in folder.iterdir()}
    assert names == {'config.json', 'model.safetensors', 'discretizer.npz', 'source.json'}
    assert json.loads((folder / 'config.json').read_text())['model']['settings']['n_layer'] == 2
    with np.load(folder / 'discretizer.npz', allow_pickle=False) as archive:
        assert archive['thresholds'].dtype == np.float64
    tensors = (folder / 'model.safetensors').read_bytes()
    header = json.loads(tensors[8 : 8 + int.from_bytes(tensors[:8], 'little')])
    assert header['__metadata__'] == {'format': 'pt'}
    assert len(tensors) == 8 + int.from_bytes(tensors[:8], 'little') + max(
        entry['data_offsets'][1] for name, entry in header.items() if name != '__metadata__'
    )


def test_an_older_file_of_hugging_face_loads(tmp_path):
    trained = make()
    folder = save_as(trained, tmp_path / 'x', 'huggingface')
    from safetensors.torch import load_file

    weights = load_file(folder / 'model.safetensors')
    masks = {name: value for name, value in trained.model.state_dict().items() if 'mask' in name}
    torch.save({**weights, **masks}, folder / 'pytorch_model.bin')
    (folder / 'model.safetensors').unlink()
    assert_same(TrainedModel.from_pretrained(folder), trained)


def test_a_folder_has_one_epoch(tmp_path):
    folder = make().save_pretrained(tmp_path / 'x')
    assert load_model(folder, epoch=7)[1] == 7
    with pytest.raises(InputError, match='holds the weights of one epoch only, 7'):
        load_model(folder, epoch=8)


def test_what_is_there_is_not_written_over(tmp_path):
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/mine').touch()
    (tmp_path / 'file').touch()
    (tmp_path / 'empty').mkdir()
    for name in ('full', 'file'):
        with pytest.raises(InputError, match=f'{name} is there already, and nothing in it is written over'):
            make().save_pretrained(tmp_path / name)
    make().save_pretrained(tmp_path / 'empty')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['empty', 'file', 'full']


def test_a_copy_that_computes_something_else_never_appears(tmp_path):
    trained = make()

    def spoil(partial):
        with torch.no_grad():
            trained.model.head.weight[0, 0, 0] += 1
        check_same(trained, partial)

    with pytest.raises(RuntimeError, match='computes other logits'):
        save_as(trained, tmp_path / 'x', 'pretrained', check=spoil)
    assert not list(tmp_path.iterdir())


def test_bins_of_another_model_are_refused(tmp_path):
    folder = make().save_pretrained(tmp_path / 'x')
    QuantileDiscretizer(np.zeros((9, 4)), 6).save(folder / 'discretizer.npz')
    with pytest.raises(InputError, match=r'discretizer.npz has 6 bins for 4 columns, the model beside it 5 for 4'):
        TrainedModel.from_pretrained(folder)


@pytest.mark.parametrize('name', ['no such folder', '../../x/y', 'a/b/c'])
def test_a_folder_that_is_not_there_is_no_name_on_the_hub(name):
    with pytest.raises(InputError, match=r'there is no folder .*, and it is no name on the Hub, owner/name'):
        TrainedModel.from_pretrained(name)


def test_without_the_hubs_package_its_installation_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    for attempt in (lambda: TrainedModel.from_pretrained('owner/name'), lambda: make().push_to_hub('owner/name')):
        with pytest.raises(InputError, match=r'needs the package huggingface_hub.\n  Install it: .*\[hub\]'):
            attempt()


def test_a_model_goes_to_the_hub_and_comes_back(tmp_path):
    pytest.importorskip('huggingface_hub')
    from tests.hub import serve_hub

    probe = (
        'import sys\n'
        'from trajectory.utils import TrainedModel\n'
        'from trajectory.utils.errors import InputError\n'
        'print(TrainedModel.from_pretrained(sys.argv[1]).push_to_hub("me/hopper", token="hf_secret"))\n'
        'TrainedModel.from_pretrained("me/hopper").save_pretrained(sys.argv[2])\n'
        'try:\n'
        '    TrainedModel.from_pretrained("me/hoper")\n'
        'except InputError as error:\n'
        '    print(error)\n'
    )
    trained = make()
    folder = trained.save_pretrained(tmp_path / 'here')
    with serve_hub() as hub:
        done = subprocess.run(
            [sys.executable, '-c', probe, folder, tmp_path / 'back'],
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                'PYTHONPATH': str(ROOT),
                'HF_ENDPOINT': hub.url,
                'HF_HOME': str(tmp_path / 'cache'),
                'HF_HUB_DISABLE_PROGRESS_BARS': '1',
            },
        )
        assert done.returncode == 0, done.stderr
        address, refusal = done.stdout.splitlines()[:2]
        assert address == f'{hub.url}/me/hopper'
        assert refusal.startswith('there is no folder me/hoper, and the Hub has no such model')
        assert hub.files['me/hopper'].keys() == {path.name for path in folder.iterdir()}
        assert 'hf_secret' not in done.stdout + done.stderr
    assert_same(TrainedModel.from_pretrained(tmp_path / 'back'), trained)
