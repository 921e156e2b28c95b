"""The report of real runs opens in a real browser: plots are there, videos play, a phone shows all of it."""

import re
import shutil
import sys
from itertools import combinations
from pathlib import Path

import h5py
import numpy as np
import pytest

from plotting.report import write_report
from scripts import plan, train
from trajectory import utils
from trajectory.datasets.hdf5 import COLUMNS
from trajectory.utils.video import save_video

sync_api = pytest.importorskip('playwright.sync_api', reason='no playwright: pip install -e .[test]')
CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason='no Chromium here: apt-get install chromium')

DATA = Path(__file__).parents[2] / 'data/hopper-mixed-ppo.hdf5'
MODEL = (
    '--n_layer',
    1,
    '--n_head',
    1,
    '--n_embd',
    4,
    '--N',
    10,
    '--n_epochs',
    1,
    '--batch_size',
    256,
    '--log_freq',
    2,
    '--subsampled_sequence_length',
    2,
    '--device',
    'cpu',
)
SEARCH = (
    '--horizon',
    2,
    '--beam_width',
    2,
    '--max_context_transitions',
    2,
    '--max_episode_steps',
    4,
    '--n_episodes',
    2,
    '--renderer',
    'None',
    '--device',
    'cpu',
)
HOSTILE = 'gpt/<img src=x onerror=alert(1)>'


def start(script, name, *flags):
    """Run a script as the command line would, in this process."""
    given, sys.argv = sys.argv, [f'scripts/{name}.py', '--dataset', 'short', *map(str, flags)]
    try:
        utils.run(script.main, script.Parser, name)
    finally:
        sys.argv = given


@pytest.fixture(scope='module')
def logs(tmp_path_factory):
    """Two trained models, plans of one with films, and a run that failed."""
    folder = tmp_path_factory.mktemp('browser')
    logs = folder / 'logs'
    with h5py.File(DATA) as data, h5py.File(folder / 'short.hdf5', 'w') as short:
        for name in COLUMNS:
            short[name] = data[name][:2000]
        for name in ('env', 'physics'):
            short[f'metadata/{name}'] = data[f'metadata/{name}'][()]
    for name in ('gpt/one', HOSTILE):
        start(train, 'train', '--exp_name', name, '--logbase', logs, '--dataset_path', folder / 'short.hdf5', *MODEL)
    start(plan, 'plan', '--gpt_loadpath', 'gpt/one', '--logbase', logs, *SEARCH)
    folder = logs / 'short/plans/defaults/freq1_H2_beam2'
    frames = np.random.default_rng(0).integers(0, 256, (60, 64, 64, 3), dtype=np.uint8)
    save_video(folder / '0/rollout.mp4', frames, fps=30)
    save_video(folder / '0/0_plan.mp4', frames[:, :32], fps=30)
    (folder / '2').mkdir()
    return logs


@pytest.fixture(scope='module')
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, logs):
    """Open a report from its file; what the browser complains of ends the test."""
    complaints, contexts = [], []

    def visit(name='report.html', video_mb=40, **options):
        if not (logs / name).exists():
            write_report(logs, logs / name, video_mb=video_mb)
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on('console', lambda message: complaints.append(message.text))
        page.on('pageerror', lambda error: complaints.append(str(error)))
        page.on('dialog', lambda dialog: complaints.append(dialog.message) or dialog.dismiss())
        page.on(
            'request',
            lambda request: complaints.append(request.url) if not request.url.startswith(('data:', 'file:')) else None,
        )
        page.on(
            'requestfailed',
            lambda request: (
                complaints.append(f'{request.url[:200]} {request.failure}')
                if 'ERR_ABORTED' not in str(request.failure)
                else None
            ),
        )  # a video that is no longer watched
        page.goto((logs / name).as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not complaints


def test_the_page_opens_and_shows_its_headings(visit):
    page = visit()
    assert page.title() == 'Trajectory Transformer: logs'
    for heading in ('Results', 'Failed or unfinished', 'Scores', 'short', 'Beside the published scores'):
        assert page.get_by_role('heading', name=heading, exact=True).is_visible()
    assert page.evaluate('document.scripts.length') == 0
    assert page.get_by_text('<img src=x onerror=alert(1)>').first.is_visible()


def test_plots_have_a_size_and_are_painted(visit):
    page = visit()
    plots = page.locator('figure.plot svg')
    assert plots.count() == 3
    for plot in plots.all():
        box = plot.bounding_box()
        assert box['width'] > 300
        assert box['height'] > 60
        drawn = plot.evaluate("""plot => [...plot.querySelectorAll('path, text')].filter(one => {
            const box = one.getBoundingClientRect(), style = getComputedStyle(one)
            return box.width + box.height > 5 && [style.stroke, style.fill].some(color => color.startsWith('rgb'))
        }).length""")
        assert drawn > 10


@pytest.mark.parametrize(('name', 'video_mb'), [('report.html', 40), ('linked.html', 0)])
def test_a_video_plays_in_place(visit, name, video_mb):
    page = visit(name, video_mb)
    video = page.locator('.rollout video').first
    assert video.get_attribute('src').startswith('data:') == bool(video_mb)
    video.scroll_into_view_if_needed()
    page.wait_for_function('video => video.readyState >= 2', arg=video.element_handle())
    video.evaluate('video => video.play()')
    page.wait_for_function('video => video.currentTime > 0.2', arg=video.element_handle())
    assert video.evaluate('video => [video.error, video.videoWidth, video.paused]') == [None, 64, False]


@pytest.mark.parametrize('width', [360, 390, 768])
def test_nothing_is_wider_than_a_phone(visit, width):
    page = visit(viewport={'width': width, 'height': 740})
    page.evaluate('document.querySelectorAll("details").forEach(one => one.open = true)')
    assert page.evaluate('document.documentElement.scrollWidth') <= width
    for region in page.locator('.scroll').all():
        edges = region.evaluate('one => [one.getBoundingClientRect().right, getComputedStyle(one).overflowX]')
        assert edges[0] <= width
        assert edges[1] == 'auto'


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_text_is_readable_by_day_and_by_night(visit, scheme):
    page = visit(color_scheme=scheme)
    paper = brightness(page.evaluate('getComputedStyle(document.body).backgroundColor'))
    assert (paper > 0.5) == (scheme == 'light')
    for selector in ('body', '.faint', 'a', '.failures h2', 'thead th', '.state', '.plot svg text'):
        kind = 'fill' if 'svg' in selector else 'color'
        colors = page.locator(selector).evaluate_all(f'all => all.map(one => getComputedStyle(one).{kind})')
        assert colors, selector
        for color in set(colors):
            light, dark = sorted([brightness(color), paper], reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (selector, color)  # as WCAG 2 asks for


def test_curves_of_two_runs_differ_in_colour(visit):
    page = visit(color_scheme='dark')
    swatches = page.locator('.swatch').evaluate_all('all => all.map(one => getComputedStyle(one).borderTopColor)')
    assert len(swatches) == 2
    assert all(first != second for first, second in combinations(swatches, 2))
    painted = page.locator('figure.plot svg path').evaluate_all('all => all.map(one => getComputedStyle(one).stroke)')
    assert set(swatches) <= set(painted)


def brightness(color):
    """Relative luminance as WCAG 2 defines it.    color : `rgb(1, 2, 3)`"""
    channels = [int(number) / 255 for number in re.findall(r'\d+', color)[:3]]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])
