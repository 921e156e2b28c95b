"""The published models and plans, fetched from a server on this machine that has archives of the published shape."""

import io
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from scripts import pretrained
from scripts.pretrained import DATASETS
from tests.support import serve
from trajectory import utils

ROOT = Path(__file__).parents[2]
HOPPER = 'hopper-medium-v2'


def models(names=DATASETS, extra=()):
    """The zip of models, as the host makes it of a shared folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        members = [f'{name}/gpt/pretrained/{file}' for name in names for file in ('state_50.pt', 'x.pkl')]
        for name in ['/', *members, *extra]:
            info = zipfile.ZipInfo('x')
            info.filename = name
            archive.writestr(info, name)
    return buffer.getvalue()


def plans(names=DATASETS, extra=()):
    """The tar of plans."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        for name in [
            *(f'pretrained-plans/{name}/plans/pretrained/{k}/rollout.json' for name in names for k in (0, 14)),
            *extra,
        ]:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            archive.addfile(info, io.BytesIO(name.encode()))
    return buffer.getvalue()


def start(logbase, *flags):
    """Run the script as the command line would, in this process."""
    given, sys.argv = sys.argv, ['scripts/pretrained.py', '--logbase', str(logbase), *flags]
    try:
        utils.run(pretrained.main, pretrained.Parser, experiment=None)
    finally:
        sys.argv = given


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def expected(names, kinds=('gpt', 'plans')):
    parts = {'gpt': ('state_50.pt', 'x.pkl'), 'plans': ('0/rollout.json', '14/rollout.json')}
    return sorted(f'{name}/{kind}/pretrained/{part}' for name in names for kind in kinds for part in parts[kind])


@pytest.fixture
def hosts(monkeypatch):
    with serve(models()) as zipped, serve(plans()) as tarred:
        monkeypatch.setenv('PRETRAINED_MODELS', zipped.url)
        monkeypatch.setenv('PRETRAINED_PLANS', tarred.url)
        yield zipped, tarred


def test_there_are_sixteen():
    assert len(DATASETS) == len(set(DATASETS)) == 16
    assert {'ant-medium-replay-v2', 'halfcheetah-expert-v2', 'walker2d-medium-expert-v2'} <= set(DATASETS)


def test_everything_comes_once(hosts, tmp_path):
    start(tmp_path)
    assert files(tmp_path) == expected(DATASETS)  # and no archive is left
    before = {path: (tmp_path / path).stat().st_mtime_ns for path in files(tmp_path)}
    start(tmp_path)
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in files(tmp_path)} == before
    assert [len(host.asked) for host in hosts] == [1, 1]


def test_one_data_set_comes_alone_and_the_next_needs_no_download(hosts, tmp_path):
    start(tmp_path, HOPPER)
    archives = ['.pretrained/models.zip', '.pretrained/plans.tar']
    assert files(tmp_path) == sorted([*archives, *expected([HOPPER])])
    start(tmp_path, 'ant-expert-v2', HOPPER)
    assert files(tmp_path) == sorted([*archives, *expected([HOPPER, 'ant-expert-v2'])])
    assert [len(host.asked) for host in hosts] == [1, 1]


def test_what_is_here_is_left_alone(hosts, tmp_path):
    own = tmp_path / HOPPER / 'gpt/pretrained/state_1.pt'
    utils.mkdir(own.parent)
    own.write_text('mine')
    start(tmp_path, HOPPER)
    assert [path for path in files(tmp_path) if '/gpt/' in path] == [f'{HOPPER}/gpt/pretrained/state_1.pt']
    assert own.read_text() == 'mine'
    assert not hosts[0].asked


def test_a_copy_on_this_machine_is_read_where_it_is(hosts, tmp_path, monkeypatch):
    copy = tmp_path / 'mine.zip'
    copy.write_bytes(models())
    monkeypatch.setenv('PRETRAINED_MODELS', str(copy))
    start(tmp_path / 'logs')
    assert files(tmp_path / 'logs') == expected(DATASETS)
    assert copy.exists()
    assert not hosts[0].asked


@pytest.mark.usefixtures('hosts')
def test_the_list_says_what_is_here(tmp_path, capsys):
    start(tmp_path, HOPPER)
    utils.mkdir(tmp_path / 'ant-medium-v2/gpt/pretrained')
    capsys.readouterr()
    start(tmp_path, '--list')
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(rows) == DATASETS
    assert (rows[HOPPER], rows['ant-medium-v2'], rows['ant-expert-v2']) == ('models and plans', 'models', '-')


def refused(capfd, folder, *flags):
    """Start the script, which must refuse.    returns : what it said"""
    capfd.readouterr()
    with pytest.raises(SystemExit) as exit_:
        start(folder, *flags)
    heard = capfd.readouterr()
    assert exit_.value.code == 2
    assert heard.err.startswith('pretrained.py: error: ')
    assert 'Traceback' not in heard.out + heard.err
    return heard.err


def test_a_name_that_was_not_published_is_refused(tmp_path, capfd):
    said = refused(capfd, tmp_path, 'hopper-medium-v3')
    assert "nothing was published for 'hopper-medium-v3'; there is\n  hopper-expert-v2" in said


def test_a_host_that_is_gone_is_named_with_what_to_do(hosts, tmp_path, capfd):
    hosts[1].errors = [404]
    said = refused(capfd, tmp_path)
    assert f'The archive of published plans cannot be had from {hosts[1].url}: 404' in said
    assert 'PRETRAINED_PLANS=COPY ./pretrained.sh' in said
    assert files(tmp_path) == expected(DATASETS, kinds=['gpt'])


@pytest.mark.parametrize('evil', ['../../evil', '/evil', f'{HOPPER}/gpt/pretrained/../../../../evil'])
def test_an_archive_that_climbs_out_is_refused_whole(hosts, tmp_path, capfd, evil):
    hosts[0].content = models(extra=[evil])
    hosts[1].content = plans(extra=[evil])
    for kind in ('models.zip', 'plans.tar'):
        said = refused(capfd, tmp_path / 'here/logs', HOPPER)
        assert f'{kind}: the member {evil!r} would be written outside of its folder' in said
        assert {path for path in files(tmp_path) if '.pretrained' not in path} <= {
            f'here/logs/{path}' for path in expected([HOPPER], kinds=['gpt'])
        }
        hosts[0].content = models()
        (tmp_path / 'here/logs/.pretrained/models.zip').unlink(missing_ok=True)


def test_other_members_are_left_out(hosts, tmp_path):
    others = ['__MACOSX/x', f'{HOPPER}/gpt/other/state_1.pt', 'cat-v2/gpt/pretrained/state_1.pt']
    hosts[0].content = models(extra=others)
    start(tmp_path)
    assert files(tmp_path) == expected(DATASETS)


def test_an_archive_without_the_data_set_is_refused(hosts, tmp_path, capfd):
    hosts[0].content = models(DATASETS[:3])
    assert 'models.zip holds no models of ant-expert-v2.' in refused(capfd, tmp_path, 'ant-expert-v2')


def test_an_archive_cut_short_is_refused(hosts, tmp_path, capfd):
    hosts[0].content = models()[:-30]
    said = refused(capfd, tmp_path, HOPPER)
    assert 'models.zip' in said
    assert 'Delete it, and fetch it again' in said
    assert not (tmp_path / HOPPER).exists()


def test_the_command_at_the_top_runs_it(hosts, tmp_path):
    done = subprocess.run(
        ['bash', ROOT / 'pretrained.sh', HOPPER, '--logbase', tmp_path / 'logs'],
        cwd=tmp_path,
        check=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'VENV': sys.prefix, 'PYTHON': sys.executable},
        capture_output=True,
        text=True,
    )
    assert f'--dataset {HOPPER} --gpt_loadpath gpt/pretrained' in done.stdout
    assert [path for path in files(tmp_path / 'logs') if '.pretrained' not in path] == expected([HOPPER])
    assert [len(host.asked) for host in hosts] == [1, 1]


@pytest.mark.parametrize('kind', ['gpt', 'plans'])
@pytest.mark.parametrize('obstacle', [lambda path: path.touch(), lambda path: path.symlink_to('/nowhere')])
def test_what_is_in_the_way_is_named_before_anything_is_fetched(tmp_path, capsys, kind, obstacle):
    path = tmp_path / HOPPER / kind / 'pretrained'
    path.parent.mkdir(parents=True)
    obstacle(path)
    with pytest.raises(SystemExit):
        start(tmp_path, HOPPER)
    assert f'{path} is in the way: expected a folder, or nothing' in capsys.readouterr().err
    assert not (tmp_path / '.pretrained').exists()
