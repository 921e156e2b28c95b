"""Settings that every method shares."""

from dataclasses import fields

import pytest

from config import behavior_cloning, offline
from trajectory import utils
from trajectory.cli.settings import ActRun, TrainRun


@pytest.mark.parametrize('config', [offline, behavior_cloning])
def test_every_method_is_trained_and_acts_with_the_shared_settings(config):
    acting = config.experiments.get('evaluate') or config.experiments['plan']
    for settings, shared in ((config.experiments['train'], TrainRun), (acting, ActRun)):
        assert {field.name for field in fields(shared)} <= {field.name for field in fields(settings)}


def test_results_are_named_after_the_run_that_acts():
    args = utils.Parser().parse_args(
        'evaluate', ['--config', 'config.behavior_cloning', '--dataset', 'x', '--loadpath', 'bc/best']
    )
    assert str(args.savepath) == 'logs/x/evaluations/bc/best/0'


def test_flags_may_have_dashes():
    args = utils.Parser().parse_args('plan', ['--dataset', 'hopper-medium-v2', '--beam-width=7', '--plan-freq', '2'])
    assert (args.beam_width, args.plan_freq, args.dataset) == (7, 2, 'hopper-medium-v2')


def test_a_method_without_an_experiment_evaluate_is_evaluated_by_its_plans():
    args = utils.Parser().parse_args('evaluate', ['--dataset', 'x'])
    assert (args.experiment, args.acts_by, args.algorithm) == ('plan', 'plan', 'trajectory_transformer')
