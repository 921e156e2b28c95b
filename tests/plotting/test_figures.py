"""The report's plots are SVG that a page can hold many of, in the page's own colours."""

import re
from types import SimpleNamespace
from xml.etree import ElementTree

from plotting.figures import SERIES, draw_averages, draw_learning_curves, draw_returns, shorten
from plotting.read_results import Experiment


def training(name, steps, **changes):
    metrics = [
        {'epoch': 1, 'step': step, 'tokens': step, 'loss': 3 / (1 + step), 'learning_rate': 1e-3, **changes}
        for step in range(steps)
    ]
    return SimpleNamespace(name=name, metrics=metrics, algorithm='trajectory_transformer')


def experiment(name, *returns):
    rollouts = tuple({'return': total, 'score': None} for total in returns)
    return Experiment('mine', name, 'Hopper-v4', 'd4rl', 'here', rollouts)


def strokes(svg):
    return [style for style in re.findall(r'stroke: (var\(--series-\d+\))', svg)]


def test_every_run_has_its_curve_in_its_colour_and_held_out_losses_have_points():
    svg = draw_learning_curves('a', [training('first', 50), training('none', 0), training('third', 50)])
    assert set(strokes(svg)) == {'var(--series-0)', 'var(--series-2)'}
    heldout = draw_learning_curves('a', [training('first', 50, heldout_loss=1.0)])
    assert heldout.count('<use') >= 50 > svg.count('<use')
    assert draw_learning_curves('a', [training('none', 0)]) is None


def test_more_runs_than_colours_differ_in_their_lines():
    runs = [training(f'run{n}', 20) for n in range(len(SERIES) + 1)]
    svg = draw_learning_curves('a', runs)
    assert len(set(strokes(svg))) == len(SERIES)
    assert 'stroke-dasharray' in svg
    assert 'stroke-dasharray' not in draw_learning_curves('a', runs[:-1])


def test_every_episode_is_a_disc_and_the_data_is_two_lines():
    alone = draw_returns('a', [experiment('plans/x', 1.0, 2.0, 4.0), experiment('plans/y', 3.0)], {})
    assert len(re.findall(r'<use [^>]*var\(--series-0\)', alone)) == 4
    beside = draw_returns('a', [experiment('plans/x', 1.0)], {'mean_return': 2.0, 'best_tenth_return': 'unknown'})
    assert len(re.findall('stroke-dasharray', beside)) == 1


def test_a_name_is_text_and_never_markup_or_mathematics():
    svg = draw_returns('a', [experiment(r'plans/<script>$\frac$ "&名', 1.0)], {})
    ElementTree.fromstring(svg)
    assert r'plans/&lt;script&gt;$\frac$ "&amp;名' in svg
    assert '<script' not in svg


def test_pictures_on_one_page_share_no_ids_and_bring_no_style_of_their_own():
    first, second = (draw_averages(name, {'BC': 50.0, 'TT': 80.0}) for name in ('a', 'b'))
    ids = [set(re.findall(r'\bid="([^"]*)"', svg)) for svg in (first, second)]
    assert not ids[0] & ids[1]
    for svg, own in zip((first, second), ids, strict=True):
        assert set(re.findall(r'(?:href="|url\()#([^")]*)', svg)) <= own
        assert '<style' not in svg
        assert 'BC 50.0, TT 80.0' in ElementTree.fromstring(svg).get('aria-label')


def test_equal_results_give_equal_pictures():
    assert draw_averages('a', {'BC': 50.0}) == draw_averages('a', {'BC': 50.0})


def test_a_long_name_keeps_its_ends():
    name = 'plans/' + 100 * 'x' + '/freq1_H15'
    assert len(shorten(name)) <= 58
    assert shorten(name).startswith('plans/')
    assert shorten(name).endswith('/freq1_H15')
    assert shorten('plans/x') == 'plans/x'
