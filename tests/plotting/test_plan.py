"""Pictures of what beam searches did, from an episode that was really planned."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from plotting.plan import Coordinates, draw_search, main, open_episode
from plotting.report import write_report
from scripts import plan
from trajectory import utils
from trajectory.environments.spec import EnvironmentSpec
from trajectory.search.traces import Searches, SearchTrace
from trajectory.utils.errors import InputError

CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
EPISODE = 'hopper-mixed-ppo/plans/defaults/freq1_H3_beam4/0'


def start(*flags):
    given, sys.argv = sys.argv, ['scripts/plan.py', *map(str, flags)]
    try:
        utils.run(plan.main, plan.Parser, 'plan')
    finally:
        sys.argv = given


@pytest.fixture(scope='module')
def logs(tmp_path_factory):
    logs = tmp_path_factory.mktemp('logs')
    start('--dataset', 'hopper-mixed-ppo', '--logbase', logs, '--renderer', 'None', '--max_episode_steps', 8,
          '--trace_freq', 3, '--horizon', 3, '--beam_width', 4, '--device', 'cpu')  # fmt: skip
    return logs


def test_searches_are_kept_with_what_then_happened(logs):
    searches, coordinates, title = open_episode(logs / EPISODE)
    assert searches.steps.tolist() == [0, 3, 6]
    assert searches.observations.shape == (9, 11)
    assert searches.rewards.shape == (8,)
    assert title == 'hopper-mixed-ppo, seed 42'
    for step, trace in zip(searches.steps, searches.traces, strict=True):
        present = trace.transitions[0, :, :11]
        assert (present == present[0]).all()
        assert np.abs(present[0] - searches.observations[step]).max() < 2  # a bin's middle
        assert np.corrcoef(present[0], searches.observations[step])[0, 1] > 0.9
    heights = coordinates.of_observations('height', searches.observations)
    assert np.allclose(heights, searches.observations[:, 0])
    forward = coordinates.of_observations('forward', searches.observations)
    assert forward[0] == 0
    assert np.allclose(np.diff(forward), searches.observations[:-1, 5] * coordinates.env.robot.dt)


def test_a_picture_and_a_page_are_written_and_the_report_links_it(logs, tmp_path, capsys):
    shutil.copytree(logs, tmp_path / 'logs')
    main([str(tmp_path / 'logs' / EPISODE), '--step', '2', '--columns', 'height', '0:5', 'value', 'reward'])
    assert 'with 3 searches' in capsys.readouterr().out
    assert np.ptp(imread(tmp_path / 'logs' / EPISODE / 'searches.png')[..., :3]) > 0.5
    page = (tmp_path / 'logs' / EPISODE / 'searches.html').read_text()
    assert page.count('<img src="data:image/png;base64,') == 3
    assert 'http' not in page
    assert 'max="2"' in page
    write_report(tmp_path / 'logs', tmp_path / 'logs/report.html')
    assert f'href="{EPISODE}/searches.html"' in (tmp_path / 'logs/report.html').read_text()


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--columns', 'depth'], 'depth is no column to draw'),
        (['--columns', '11'], 'a number below 11'),
        (['--columns', '0:1:2'], 'is no column to draw'),
        (['--step', '7'], 'Pass --step 6, the last'),
    ],
)
def test_what_cannot_be_drawn_is_refused(logs, capsys, flags, message):
    with pytest.raises(SystemExit):
        main([str(logs / EPISODE), *flags])
    assert message in capsys.readouterr().err
    assert not (logs / EPISODE / 'searches.png').exists()


def test_an_episode_without_searches_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert '--trace_freq' in capsys.readouterr().err


def test_a_maze_is_drawn_from_above_around_the_search(tmp_path):
    pytest.importorskip('gymnasium_robotics', reason='needs gymnasium-robotics (pip install -e .[robotics])')
    coordinates = Coordinates(EnvironmentSpec('maze2d-umaze-v1', 'stock').make(), 4)
    rng = np.random.default_rng(0)
    kept = np.array([[1, 0], [2, 3]])
    trace = SearchTrace(
        1 + 0.1 * rng.normal(size=(2, 4, 8)), np.array([[0] * 4, [1, 0, 1, 0]]), rng.normal(size=(2, 4)), kept
    )
    searches = Searches(np.array([0]), (trace,), 1 + 0.1 * rng.normal(size=(5, 4)), np.zeros(4))
    assert coordinates.default() == ['0:1', 'value']
    figure = draw_search(searches, 0, coordinates, coordinates.default(), 'a maze')
    figure.savefig(tmp_path / 'x.png')
    low, high = figure.axes[0].get_xlim()
    assert 1 <= high - low < 4
    assert len(figure.axes[0].patches) == len(coordinates.env.walls)
    with pytest.raises(InputError, match='this is a maze'):
        coordinates.check(['height'])


def test_searches_of_imitation_are_not_kept(tmp_path, capfd):
    with pytest.raises(SystemExit):
        start('--dataset', 'hopper-mixed-ppo', '--logbase', tmp_path, '--trace_freq', 3, '--objective', 'likelihood')
    assert 'Leave out --trace_freq' in capfd.readouterr().err
    assert not list(Path(tmp_path).iterdir())


@pytest.mark.skipif(CHROMIUM is None, reason='no Chromium here: apt-get install chromium')
def test_the_slider_shows_one_search_after_the_other(logs, tmp_path):
    sync_api = pytest.importorskip('playwright.sync_api', reason='no playwright: pip install -e .[test]')
    shutil.copytree(logs, tmp_path / 'logs')
    main([str(tmp_path / 'logs' / EPISODE), '--columns', 'height'])
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page, asked = browser.new_page(), []
        page.on('request', lambda request: asked.append(request.url))
        page.on('pageerror', lambda error: asked.append(str(error)))
        page.goto((tmp_path / 'logs' / EPISODE / 'searches.html').as_uri())
        for number, step in ((0, '0'), (1, '3'), (2, '6')):
            assert page.locator('output').inner_text() == step
            shown = [picture.is_visible() for picture in page.locator('img').all()]
            assert shown == [k == number for k in range(3)]
            assert page.locator('img').nth(number).evaluate('picture => picture.naturalWidth') > 100
            page.keyboard.press('ArrowRight')  # the slider has the focus
        assert all(url.startswith(('file:', 'data:')) for url in asked)
        browser.close()
