"""Input that is damaged, too large, or ambiguous: one clear error each, before anything is allocated or written."""

import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path, PurePosixPath

import h5py
import numpy as np
import pytest
import torch

from plotting.read_results import load_result
from plotting.runs import find_runs
from tests.datasets.test_sources import steps
from trajectory import utils
from trajectory.datasets.hdf5 import read_episodes, write_episodes
from trajectory.datasets.importing import import_episodes
from trajectory.datasets.inspection import inspect_file
from trajectory.datasets.sources import find_source
from trajectory.environments.making import make_environment
from trajectory.storage.archives import unpack
from trajectory.storage.checkpoints import find_checkpoint
from trajectory.storage.config import Config, load_args
from trajectory.storage.download import download
from trajectory.storage.limits import check_data_settings, check_model_settings
from trajectory.storage.weights import read_weights, save_tensors
from trajectory.sweeps.command import Parser
from trajectory.sweeps.description import Sweep
from trajectory.training.metrics import Metrics
from trajectory.utils.errors import InputError
from trajectory.utils.files import read_json

ROOT = Path(__file__).parents[1]
BIG = int('9' * 400)
GPT = {'vocab_size': 5, 'block_size': 39, 'n_layer': 1, 'n_head': 1, 'n_embd': 8, 'observation_dim': 1, 'action_dim': 1,
       'transition_dim': 4, 'action_weight': 5, 'reward_weight': 1, 'value_weight': 1, 'embd_pdrop': 0.1,
       'resid_pdrop': 0.1, 'attn_pdrop': 0.1}  # fmt: skip

# ----------------------------------- files ---------------------------------- #


@pytest.mark.parametrize('read', [read_json, load_result, find_source_file := lambda path: Config.load(path)])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, read):
    for name in ('pipe.json', 'pipe.pkl'):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match='expected a regular file'):
            read(tmp_path / name)
    (tmp_path / 'zero.json').symlink_to('/dev/zero')
    with pytest.raises(InputError, match='expected a regular file'):
        read(tmp_path / 'zero.json')


def test_a_file_larger_than_any_of_its_kind_is_not_read(tmp_path):
    with open(tmp_path / 'source.json', 'wb') as file:
        file.truncate(2**30)
    with pytest.raises(InputError, match='has 1,073,741,824 bytes, such a file has at most'):
        read_json(tmp_path / 'source.json')


def test_one_flipped_bit_of_a_checkpoint_is_found(tmp_path):
    path = tmp_path / 'resume.pt'
    save_tensors({'settings': {'seed': 1}, 'model': {'weight': torch.arange(1000.0)}}, path)
    content = bytearray(path.read_bytes())
    place = content.find(np.arange(500, 510, dtype=np.float32).tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'cannot be read: the checksum of .* is wrong') as raised:
        find_checkpoint(tmp_path, {'seed': 1})
    assert 'weights_only' not in str(raised.value)


def test_a_deflated_checkpoint_is_not_unpacked(tmp_path):
    buffer = io.BytesIO()
    torch.save({'settings': {}, 'model': torch.zeros(2**20)}, buffer)
    with zipfile.ZipFile(buffer) as whole, zipfile.ZipFile(tmp_path / 'resume.pt', 'w', zipfile.ZIP_DEFLATED) as small:
        for name in whole.namelist():
            small.writestr(name, whole.read(name))
    with pytest.raises(InputError, match=r'it is compressed, as torch.save never does'):
        find_checkpoint(tmp_path, {})


@pytest.mark.parametrize('state', [[1], {'model': {}}, {'settings': 3}])
def test_a_checkpoint_without_its_parts_is_refused(tmp_path, state):
    save_tensors(state, tmp_path / 'resume.pt')
    with pytest.raises(InputError, match='it is no checkpoint of a run'):
        find_checkpoint(tmp_path, {})


@pytest.mark.parametrize(('lines', 'message'), [
    (['{"step": 1}', 'x', '{"step": 3}'], 'line 2 of .* is no row of numbers with a step'),
    (['[' * 100_000, '{"step": 3}'], 'line 1 of'), (['{"step": 1}', '7', '{"step": 3}'], 'line 2 of'),
])  # fmt: skip
def test_a_bad_line_in_the_middle_of_a_log_is_named(tmp_path, lines, message):
    path = tmp_path / 'metrics.jsonl'
    path.write_text('\n'.join(lines) + '\n')
    with pytest.raises(InputError, match=message):
        Metrics(tmp_path, after=3)
    assert path.read_text() == '\n'.join(lines) + '\n'


def test_a_log_that_is_no_text_or_no_file_is_named(tmp_path):
    (tmp_path / 'metrics.jsonl').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(InputError, match=r'cannot read .*metrics.jsonl'):
        Metrics(tmp_path, after=3)
    (tmp_path / 'other/metrics.jsonl').mkdir(parents=True)
    with pytest.raises(InputError, match='is a folder, expected a regular file'):
        Metrics(tmp_path / 'other', after=3)


# ---------------------------------- records --------------------------------- #


@pytest.mark.parametrize('value', [BIG, float('nan'), float('inf'), 'x', True])
def test_settings_that_are_no_numbers_are_refused(value):
    data = {'env': 'x', 'N': 10, 'sequence_length': 3, 'step': 1, 'discount': 0.99, 'discretizer': 'Q'}
    for check, settings in (
        (check_model_settings, {**GPT, 'action_weight': value}),
        (check_data_settings, {**data, 'discount': value}),
    ):
        with pytest.raises(InputError, match='expected a number from 0'):
            check(settings, 'x.json')


def test_a_model_that_is_mostly_masks_is_refused():
    with pytest.raises(InputError, match=r'describes a model of .* numbers; the largest that is read'):
        check_model_settings({**GPT, 'n_layer': 1000, 'block_size': 1000, 'n_embd': 4}, 'x.json')


def test_pickled_recipes_of_nested_tuples_are_refused_before_they_are_hashed(tmp_path):
    nested = ()
    for _ in range(60):
        nested = (nested, nested)
    content = pickle.dumps({'_dict': nested}, protocol=4)
    (tmp_path / 'x.pkl').write_bytes(content)
    with pytest.raises(InputError, match='more than 16 tuples'):
        Config.load(tmp_path / 'x.pkl')


def test_a_pickled_number_of_thousands_of_digits_is_refused(tmp_path):
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(1 << 160_000, protocol=4))
    with pytest.raises(InputError, match='holds a int, not a recipe'):
        Config.load(tmp_path / 'x.pkl')


@pytest.mark.parametrize(('weights', 'message'), [
    ({'a': torch.ones(3).to(torch.float8_e4m3fn)}, 'a is no ordinary tensor .* torch.float8_e4m3fn'),
    ({'a': torch.ones(3, dtype=torch.int64)}, 'a is no ordinary tensor .* torch.int64'),
    ({'a': torch.eye(3).to_sparse()}, 'a is no ordinary tensor .* torch.sparse_coo'),
    ({'a': torch.ones(1).expand(10**9)}, 'a is no ordinary tensor'),
    ({3: torch.ones(2)}, 'a tensor is named 3; expected the name of a parameter'),
    ({('a', 'b'): torch.ones(2)}, r"a tensor is named \('a', 'b'\)"),
    ({'a\n': torch.ones(2)}, 'a tensor is named'),
])  # fmt: skip
def test_weights_that_are_no_ordinary_tensors_are_refused(tmp_path, weights, message):
    torch.save(weights, tmp_path / 'state_1.pt')
    with pytest.raises(InputError, match=message):
        read_weights(tmp_path / 'state_1.pt')


@pytest.mark.filterwarnings('ignore:The PyTorch API of nested tensors')
@pytest.mark.parametrize('layout', [torch.strided, torch.jagged])
def test_nested_weights_are_refused(tmp_path, layout):
    torch.save({'a': torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)}, tmp_path / 'w.pt')
    with pytest.raises(InputError, match=r'nested|cannot be read'):
        read_weights(tmp_path / 'w.pt')


@pytest.mark.parametrize('content', ['[1]', '3', '"x"'])
def test_settings_of_a_run_that_are_no_object_are_refused(tmp_path, content):
    (tmp_path / 'args.json').write_text(content)
    with pytest.raises(InputError, match='expected an object'):
        load_args(tmp_path)


@pytest.mark.parametrize(('changes', 'message'), [
    ({'step': None}, 'step is'), ({'return': 1.7e308}, 'return is'), ({'score': BIG}, 'score is'),
    ({'step': -1}, 'step is'), ({'step': 2.5}, 'step is'),
])  # fmt: skip
def test_results_that_no_mean_can_be_taken_of_are_refused(tmp_path, changes, message):
    rollout = {'score': 0.1, 'return': 1, 'step': 3, 'term': True, 'gpt_epoch': 1}
    (tmp_path / 'rollout.json').write_text(json.dumps({**rollout, **changes}))
    with pytest.raises(InputError, match=message):
        load_result(tmp_path)


def test_links_out_of_the_logs_are_not_followed_and_dots_hide_no_run(tmp_path):
    folder = tmp_path / 'logs/x/plans/.mine/0'
    folder.mkdir(parents=True)
    (tmp_path / 'secret').write_text('secret')
    (folder / 'rollout.mp4').symlink_to(tmp_path / 'secret')
    (folder / 'rollout.json').write_text(
        json.dumps({'score': 0.1, 'return': 1, 'step': 3, 'term': True, 'gpt_epoch': 1})
    )
    _, (episode,) = find_runs(tmp_path / 'logs')
    assert episode.rollout_video is None
    assert episode.name == 'plans/.mine/0'


@pytest.mark.parametrize('settings', [
    {'reset_noise_scale': float('nan')}, {'render_mode': 1}, {'frame_skip': 1_000_000_000},
    {'reset_noise_scale': BIG}, {'reset_noise_scale': 1e300},
])  # fmt: skip
def test_environments_are_made_with_ordinary_numbers(settings):
    with pytest.raises(InputError, match='is to be made with'):
        make_environment('Hopper-v5', 'stock', settings=settings)


# ----------------------------------- data ----------------------------------- #


def recording(path, **changes):
    """A file of steps, some columns of which are made by functions of the open file."""
    columns = steps(40)
    write_episodes(path, columns, {'env': 'Hopper-v4'})
    with h5py.File(path, 'r+') as file:
        for name, make in changes.items():
            del file[name]
            make(file, name, columns[name])
    return path


def virtual(file, name, values):
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[:] = h5py.VirtualSource('absent.hdf5', name, values.shape)
    file.create_virtual_dataset(name, layout)


def external(file, name, values):
    file.create_dataset(name, values.shape, values.dtype, external=[('/etc/passwd', 0, values.nbytes)])


def unwritten(file, name, values):
    file.create_dataset(name, values.shape, values.dtype)


def partly(file, name, values):
    column = file.create_dataset(name, values.shape, values.dtype, chunks=(8, *values.shape[1:]))
    column[:8] = values[:8]


def linked(file, name, _):
    file[name] = h5py.ExternalLink('other.hdf5', name)


def huge(file, name, values):
    file.create_dataset(name, (2**30, *values.shape[1:]), np.int8, chunks=(2**20, *values.shape[1:]))


@pytest.mark.parametrize(('make', 'message'), [
    (virtual, "'rewards' is virtual"), (external, "'rewards' lies in external files"),
    (unwritten, "'rewards' was never written"), (partly, "'rewards' was written in part: 1 of 5 chunks"),
    (linked, "'rewards' is a link to another file"), (huge, "'rewards' has shape .*, far more than the file can hold"),
])  # fmt: skip
def test_values_that_are_not_in_the_file_are_not_read_as_zeros(tmp_path, make, message):
    path = recording(tmp_path / 'x.hdf5', rewards=make)
    with pytest.raises(InputError, match=message):
        read_episodes(path)
    assert any(re.search(message, violation.text) for violation in inspect_file(path).violations)


def test_words_of_a_file_are_bounded(tmp_path):
    path = tmp_path / 'x.hdf5'
    write_episodes(path, steps(40), {'env': 'Hopper-v4', 'sources': '[' * 100_000})
    assert find_source('x', path).data_source.startswith('[[[')


@pytest.mark.parametrize('ends', [[True], [True, True], [True] * 10])
def test_the_check_refuses_what_training_refuses(tmp_path, ends):
    n = len(ends)
    columns = {name: column[:n] for name, column in steps(40).items()}
    write_episodes(tmp_path / 'x.hdf5', {**columns, 'terminals': np.array(ends)}, {'env': 'Hopper-v4'})
    assert any('no episode has two steps' in one.text for one in inspect_file(tmp_path / 'x.hdf5').violations)


def plain(n=6):
    return {'observations': np.zeros((n, 2)), 'actions': np.zeros((n, 1)), 'rewards': np.ones(n),
            'terminals': np.arange(n) == n - 1, 'timeouts': np.zeros(n, bool)}  # fmt: skip


@pytest.mark.parametrize(('changes', 'message'), [
    ({'terminations': np.zeros(6, bool)}, "has both 'terminals' and 'terminations'"),
    ({'observations_0': np.zeros((6, 2))}, "has 'observations' beside 'observations_0'"),
    ({'rewards': np.full(6, 1e300)}, "'rewards' has numbers beyond 3.4e.38"),
    ({'return_queue': np.array(['a'])}, "'return_queue' holds <U1, expected numbers"),
])  # fmt: skip
def test_arrays_that_hide_others_are_refused(tmp_path, changes, message):
    np.savez(tmp_path / 'x.npz', **{**plain(), **changes})
    with pytest.raises(InputError, match=message):
        import_episodes(tmp_path / 'x.npz')


def test_episodes_of_one_number_are_refused(tmp_path):
    episode = {f'{name}_{number}': value for number in ('0', '00') for name, value in plain().items()}
    np.savez(tmp_path / 'x.npz', **episode)
    with pytest.raises(InputError, match="has both 'observations_0' and 'observations_00'"):
        import_episodes(tmp_path / 'x.npz')


def test_an_archive_of_arrays_is_not_unpacked_to_far_more_than_it_has(tmp_path):
    np.savez_compressed(tmp_path / 'x.npz', **{**plain(), 'padding': np.zeros(2**27)})
    with pytest.raises(InputError, match='would unpack to'):
        import_episodes(tmp_path / 'x.npz')


def tar(path, *members):
    with tarfile.open(path, 'w:gz', format=tarfile.PAX_FORMAT) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))


def test_a_tar_with_a_huge_header_is_not_read(tmp_path):
    member = tarfile.TarInfo('a')
    member.pax_headers = {'comment': 'x' * 2**22}
    tar(tmp_path / 'x.tar.gz', (member, b''))
    with pytest.raises(InputError, match=r'a header of 4,194,.* bytes'):
        unpack(tmp_path / 'x.tar.gz', tmp_path / 'out', lambda name: name)
    assert not (tmp_path / 'out').exists()


def test_a_sparse_tar_is_not_unpacked(tmp_path):
    member = tarfile.TarInfo('a')
    member.type, member.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b'%011o\0' % 20_000_000_000
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    (tmp_path / 'x.tar').write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(InputError, match='sparse'):
        unpack(tmp_path / 'x.tar', tmp_path / 'out', lambda name: PurePosixPath(name))


@pytest.mark.parametrize('address', ['http://[bad', 'http:///x', 'http://host:port/x'])
def test_what_is_no_address_is_refused_at_once(tmp_path, address):
    started = time.monotonic()
    with pytest.raises(InputError, match='is no address'):
        download(address, tmp_path / 'x', what='a file', remedy='')
    assert time.monotonic() - started < 1


# ----------------------------------- flags ---------------------------------- #


@pytest.mark.parametrize(('argv', 'message'), [
    (['--dataset', 'x' * 256], 'dataset has a name of 256 bytes'),
    (['--dataset', 'x', '--exp_name', 'y' * 300], 'exp_name has a name of 300 bytes'),
    (['--dataset', 'a\udcff'], 'dataset is no text in UTF-8'),
])  # fmt: skip
def test_names_that_no_folder_can_have_are_refused(argv, message):
    with pytest.raises(InputError, match=message):
        utils.Parser().parse_args('train', argv)


def test_whole_numbers_have_bounds(capsys):
    with pytest.raises(SystemExit):
        utils.Parser().parse_args('train', ['--dataset', 'x', '--n_epochs', '9' * 400])
    assert 'argument --n_epochs: expected None or int' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['experiments', 'base'])
def test_a_dataset_may_be_called_as_a_part_of_the_config(name):
    assert utils.Parser().parse_args('train', ['--dataset', name]).dataset == name


@pytest.mark.parametrize(('argv', 'message'), [
    (['--retries', '-1'], 'retries must be at least 0, got -1'), (['--config', 'a', 'b'], 'config takes one module'),
    (['--config'], 'config takes one module'),
])  # fmt: skip
def test_flags_of_a_sweep_are_checked(capsys, argv, message):
    with pytest.raises(SystemExit):
        Parser().parse_args(None, argv)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize('name', ['{seed.foo}', '{seed[0]}', '{0}', '{seed!x}'])
def test_braces_that_name_no_setting_are_refused(name):
    with pytest.raises(InputError, match='braces name settings of the sweep'):
        Sweep({'seed': [1]}, {'exp_name': name}).combinations()


# ---------------------------------- processes -------------------------------- #


def test_a_launcher_that_is_asked_to_end_lets_its_runs_save_themselves(tmp_path):
    write_episodes(tmp_path / 'mine.hdf5', {**steps(600), 'terminals': np.arange(600) % 60 == 59,
                                            'timeouts': np.zeros(600, bool)}, {'env': 'Hopper-v4'})  # fmt: skip
    flags = ['--dataset', 'mine', '--dataset_path', str(tmp_path / 'mine.hdf5'), '--logbase', str(tmp_path / 'logs'),
             '--n_epochs', '1000', '--n_layer', '1', '--n_head', '1', '--n_embd', '8', '--device', 'cpu', '--N', '10',
             '--subsampled_sequence_length', '3', '--exp_name', 'gpt/x']  # fmt: skip
    launcher = subprocess.Popen([sys.executable, ROOT / 'azure/launch_train.py', *flags], cwd=tmp_path,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    folder = tmp_path / 'logs/mine/gpt/x'
    while not (folder / 'metrics.jsonl').exists() or not (folder / 'metrics.jsonl').read_text():
        assert launcher.poll() is None, launcher.stdout.read()
        time.sleep(0.05)
    launcher.send_signal(signal.SIGTERM)
    output, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 128 + signal.SIGTERM, output
    state = torch.load(folder / 'resume.pt', weights_only=True)
    assert state['loop']['n_updates'] > 0
    assert 'saved in' in (folder / 'sweep.log').read_text()
    assert not (folder / '.owner.json').exists()
