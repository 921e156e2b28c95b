"""The page holds what the logs hold, says what failed, and is whole HTML whatever the names are."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from plotting.report import main, write_report
from trajectory.utils.errors import InputError
from trajectory.utils.video import save_video

VOID = {'meta', 'img', 'br', 'wbr', 'link', 'input', 'hr'}
NASTY = '<script>alert(1)<'  # with the slash of a closing tag it is two folders
PLANS = 'plans/defaults/freq1_H15_beam128'


class Page(HTMLParser):
    """A page taken apart.    elements : (tag, attributes, tags around it)"""

    def __init__(self, path):
        super().__init__()
        self.source = Path(path).read_text(encoding='utf-8')
        self.elements, self.open, self.pieces = [], [], []
        self.feed(self.source)
        self.close()
        assert not self.open, f'{self.open} are never closed'
        self.text = ' '.join(' '.join(self.pieces).split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes), tuple(self.open)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != 'style':
            self.pieces.append(data)

    def all(self, *tags):
        return [attributes for tag, attributes, _ in self.elements if tag in tags]


def film(path, seconds=1, size=32):
    frames = np.zeros((30 * seconds, size, size, 3), dtype=np.uint8)
    for step, frame in enumerate(frames):
        frame[:, step % size] = 255
    save_video(path, frames, fps=30)


@pytest.fixture(scope='module')
def original(tmp_path_factory, write_training, write_rollout):
    """Logs of two datasets, one of the paper; whole runs, failed ones, hostile names, and films."""
    logs = tmp_path_factory.mktemp('original') / 'logs'
    for seed in range(3):
        write_training(logs / f'hopper-medium-v2/gpt/{seed}', seed=seed, log_freq=seed)
        write_rollout(
            logs / f'hopper-medium-v2/{PLANS}/{seed}', seed=seed, score=0.5 + 0.1 * seed, return_=1000.0 * (1 + seed)
        )
    (logs / 'hopper-medium-v2/gpt/2/state_2.pt').unlink()
    (logs / 'hopper-medium-v2/gpt/1/diff.txt').write_text('+ a change')
    (logs / f'hopper-medium-v2/{PLANS}/3').mkdir()
    film(logs / f'hopper-medium-v2/{PLANS}/0/rollout.mp4')
    for step in range(0, 80, 10):
        film(logs / f'hopper-medium-v2/{PLANS}/0/{step}_plan.mp4')
    write_training(logs / f'mine/gpt/{NASTY}/script>', dataset='mine', note='</td><script>alert(2)</script>')
    write_rollout(
        logs / 'mine/plans/x" onload="alert(3)/0',
        dataset='mine',
        data_source='<b>"me" & you</b>',
        score=None,
        environment='Hopper-v5',
        physics='stock',
    )
    return logs


@pytest.fixture(scope='module')
def page(original):
    write_report(original)
    return Page(original / 'report.html')


@pytest.fixture
def logs(original, tmp_path):
    """The same logs, to be changed."""
    return shutil.copytree(original, tmp_path / 'logs')


# -------------------------------- contents --------------------------------- #


def test_scores_stand_beside_their_errors_and_their_provenance(page):
    assert re.search(r'60\.0 ± 5\.8 2,000\.0 ± 577\.4 3 Hopper-v4 d4rl D4RL', page.text)
    assert re.search(r'– 1,000\.0 1 Hopper-v5 stock <b>"me" & you</b>', page.text)


def test_failures_come_first_with_their_reasons(page):
    assert 'failed or unfinished 2 ' in page.text
    failures, _, rest = page.text.partition(' Scores Mean ± ')
    assert 'gpt/ 2 No weights: training failed' in failures
    assert 'plans/ defaults/ freq1_ H15_ beam128/ 3 The folder is empty.' in failures
    assert 'No weights' not in rest


def test_each_run_tells_its_settings_and_its_commit(page):
    assert page.text.count('seed 1') >= 2
    assert 'seed 1 0123456789 with changes' in page.text  # but not log_freq, which changes no weights
    assert 'n_layer 4 log_freq 1' in page.text  # among all settings
    assert '0123456789abcdef with changes · python 3.12.1 · torch 2.9.0 · folder' in page.text
    assert 'hopper-medium-v2/gpt/1/diff.txt' in [link.get('href') for link in page.all('a')]


def test_the_papers_table_has_a_column_of_ours_where_we_may_compare(page):
    assert 'TT (rerun) is ours' in page.text
    assert '61.1 ± 3.6 60.0 ± 5.8' in page.text
    assert 'mine plans/x" onload="alert(3): not a dataset of the paper' in page.text
    assert r'\begin{tabular}{llrrrrrrr}' in page.text


def test_cut_episodes_and_rivals_never_enter_the_papers_table(logs, write_rollout):
    (logs / f'hopper-medium-v2/{PLANS}/0/args.json').write_text('{"max_episode_steps": 100}')
    write_rollout(logs / f'hopper-medium-v2/{PLANS}/0', step=100)
    write_report(logs)
    text = Page(logs / 'report.html').text
    assert 'None of these results may stand beside' in text
    assert 'Episodes were cut at 100 steps: their returns' in text
    assert f'hopper-medium-v2 {PLANS}: episodes cut at 100 steps' in text

    (logs / f'hopper-medium-v2/{PLANS}/0/args.json').unlink()
    write_rollout(logs / f'hopper-medium-v2/{PLANS}/0')
    write_rollout(logs / 'hopper-medium-v2/plans/other/0')
    write_report(logs)
    text = Page(logs / 'report.html').text
    for name in ('plans/other', PLANS):
        assert f'hopper-medium-v2 {name}: one of several; choose with --exp_name' in text
    write_report(logs, exp_name='plans/other')
    assert 'TT (rerun) is ours' in Page(logs / 'report.html').text


# --------------------------------- media ----------------------------------- #


def test_plots_are_part_of_the_page_and_say_what_they_show(page):
    labels = [svg['aria-label'] for svg in page.all('svg')]
    assert [label.partition(' of ')[0] for label in labels] == [
        'Average',
        'Loss and learning rate over the updates',
        'Returns',
        'Loss and learning rate over the updates',
        'Returns',
    ]
    assert 'TT (rerun) 60.0' in labels[0]


def test_videos_play_in_place_and_come_with_the_page(page):
    videos = page.all('video')
    assert len(videos) == 9
    for video in videos:
        assert {'controls', 'muted', 'loop', 'playsinline', 'aria-label'} <= video.keys()
        assert video['src'].startswith('data:video/mp4;base64,')
    assert '2 more plans of seed 0' in page.text


def test_videos_beyond_the_limit_are_linked_and_the_page_says_so(logs, tmp_path):
    large, small = (logs / f'hopper-medium-v2/{PLANS}/{seed}/rollout.mp4' for seed in (0, 1))
    film(large, seconds=20, size=128)
    film(small)
    room = large.stat().st_size + small.stat().st_size / 2  # for either; small ones come first
    write_report(logs, tmp_path / 'deep/er/page.html', video_mb=room / 2**20)
    page = Page(tmp_path / 'deep/er/page.html')
    linked = [video['src'].partition('#')[0] for video in page.all('video') if not video['src'].startswith('data:')]
    assert [(tmp_path / 'deep/er' / unquote(address)).resolve() for address in linked] == [large]
    assert re.search(r'rollout\.mp4 , \d\.\d MB, is not in this page, but beside it', page.text)

    told = write_report(logs, tmp_path / 'deep/er/page.html', video_mb=1.5 * small.stat().st_size / 2**20)
    assert re.search(r'page.html: \d\.\d MB, with 1 of 10 videos in it$', told)


def test_pictures_of_mazes_are_shown_as_pictures(logs):
    (logs / f'hopper-medium-v2/{PLANS}/1/rollout.png').write_bytes(b'picture')
    write_report(logs)
    (picture,) = Page(logs / 'report.html').all('img')
    assert picture['src'] == 'data:image/png;base64,cGljdHVyZQ=='
    assert picture['alt'] == f'Episode of seed 1, {PLANS}'


# ---------------------------------- page ----------------------------------- #


def test_no_name_or_setting_becomes_markup(page):
    assert not page.all('script', 'b')
    assert not [name for _, attributes, _ in page.elements for name in attributes if name.startswith('on')]
    for shown in ('gpt/ <script>alert(1)</ script>', '</td><script>alert(2)</script>', 'x" onload="alert(3)'):
        assert shown in page.text


def test_the_page_needs_nothing_else(page, original):
    for tag, attributes, _ in page.elements:
        for name in {'src', 'href', 'xlink:href', 'srcset', 'poster'} & attributes.keys():
            address = attributes[name]
            if address.startswith('#'):
                assert any(other.get('id') == address[1:] for _, other, _ in page.elements), address
            elif not address.startswith('data:'):
                assert tag == 'a'
                assert (original / unquote(address)).exists(), address
    assert not re.search(r'@import|url\((?!#)|https?://(?!www\.w3\.org/)', page.source)


def test_the_page_is_built_for_all_readers(page):
    ids = [attributes['id'] for _, attributes, _ in page.elements if 'id' in attributes]
    assert len(set(ids)) == len(ids)
    levels = [int(tag[1]) for tag, _, _ in page.elements if re.fullmatch(r'h\d', tag)]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    for tag, attributes, around in page.elements:
        if tag == 'table':
            assert around[-1] == 'div'  # which scrolls where the screen is narrow
        if tag == 'th':
            assert attributes['scope'] in ('col', 'row', 'rowgroup')
    regions = [attributes for attributes in page.all('div') if attributes.get('class') == 'scroll']
    assert len(regions) == len(page.all('table'))
    assert all(region['aria-label'] and region['tabindex'] == '0' for region in regions)


# -------------------------------- command ---------------------------------- #


def test_the_last_line_says_where_the_page_is(logs, capsys):
    main([str(logs)])
    line = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(rf'wrote {logs}/report\.html: \d\.\d MB, with 9 of 9 videos in it', line)
    assert not [path for path in logs.iterdir() if path.name.startswith('.')]


def test_logs_without_runs_end_with_one_message_and_no_page(tmp_path, capsys):
    with pytest.raises(SystemExit, match='2'):
        main([str(tmp_path)])
    assert f'error: found no run in {tmp_path}.\n' in capsys.readouterr().err
    script = Path(__file__).parents[2] / 'plotting/report.py'
    done = subprocess.run([sys.executable, script, 'logs'], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith('report.py: error: found no run in logs, which is not a folder.\n')
    assert 'python scripts/train.py --dataset hopper-mixed-ppo' in done.stderr
    assert 'Traceback' not in done.stderr
    assert not list(tmp_path.rglob('*.html'))


def test_a_pattern_that_fits_nothing_names_the_experiments_that_are_there(logs):
    with pytest.raises(InputError, match=rf'There are: {PLANS}, plans/x'):
        write_report(logs, exp_name='plans/mine')


def test_a_place_or_a_limit_that_cannot_be_is_an_error(logs):
    with pytest.raises(InputError, match=r'cannot make the folder .*\n.*Choose another place with --savepath'):
        write_report(logs, logs / 'hopper-medium-v2/gpt/0/args.json/report.html')
    with pytest.raises(InputError, match='video_mb must be at least 0, got nan'):
        write_report(logs, video_mb=float('nan'))


def test_names_that_are_no_text_are_shown_all_the_same(tmp_path, write_training):
    folder = tmp_path / 'mine/gpt' / 'caf\udce9\n名'
    write_training(folder, dataset='mine')
    (folder / 'args.json').write_text('[]')
    write_report(tmp_path)
    page = Page(tmp_path / 'report.html')
    assert 'gpt/ caf? 名' in page.text
    assert 'args.json holds a list' in page.text
