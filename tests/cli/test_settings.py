"""Settings that every method shares."""

import importlib
from dataclasses import fields
from types import SimpleNamespace

import pytest

from tests.test_house import CONFIGS
from trajectory import utils
from trajectory.cli.settings import BaseActRun, BaseTrainRun, name_results


@pytest.mark.parametrize('name', CONFIGS)
def test_every_method_is_trained_and_acts_with_the_shared_settings(name):
    config = importlib.import_module(f'config.{name}')
    acting = config.experiments.get('evaluate') or config.experiments['plan']
    for settings, shared in ((config.experiments['train'], BaseTrainRun), (acting, BaseActRun)):
        assert {field.name for field in fields(shared)} <= {field.name for field in fields(settings)}


def test_results_are_named_after_the_run_that_acts():
    assert name_results(SimpleNamespace(prefix='evaluations/', loadpath='bc/best')) == 'evaluations/bc/best'


def test_flags_may_have_dashes():
    args = utils.Parser().parse_args('plan', ['--dataset', 'hopper-medium-v2', '--beam-width=7', '--plan-freq', '2'])
    assert (args.beam_width, args.plan_freq, args.dataset) == (7, 2, 'hopper-medium-v2')


def test_a_method_without_an_experiment_evaluate_is_evaluated_by_its_plans():
    args = utils.Parser().parse_args('evaluate', ['--dataset', 'x'])
    assert (args.experiment, args.acts_by, args.algorithm) == ('plan', 'plan', 'trajectory_transformer')
