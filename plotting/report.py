"""Write one page of HTML about a folder of logs: scores, plots, videos, settings, and what failed.

    python plotting/report.py logs [--savepath logs/report.html] [--video_mb 40]

The page needs no server, no network and no script; the plots are in it, and the videos as far as --video_mb goes.
Videos beyond that are linked: they play for as long as the page stays where it is beside the logs.
"""

import math
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from plotting import figures, scores, table
from plotting.films import Film, address_of, collect_films
from plotting.plot import average_all, describe_settings
from plotting.read_results import (
    Experiment,
    choose_comparable,
    group_rollouts,
    is_number,
    mean_and_error,
    warnings_about,
    why_not_comparable,
)
from plotting.runs import Episode, Run, Training, find_runs
from trajectory.utils.errors import InputError
from trajectory.utils.files import write_atomically

TEMPLATES = Path(__file__).parent / 'templates'
FEW_PLANS = 6  # videos of plans that are shown without being asked for
# settings that tell where a run lies or how it was watched, not what it is
ASIDE = {
    'experiment',
    'dataset',
    'config',
    'restart',
    'debug',
    'logbase',
    'exp_name',
    'prefix',
    'suffix',
    'savepath',
    'commit',
    'versions',
    'verbose',
}
# those that tell how a training run was watched and kept, and leave its weights as they are
UNFELT = {
    'device',
    'threads',
    'dataset_path',
    'log_freq',
    'n_saves',
    'save_minutes',
    'save_steps',
    'tensorboard',
    'wandb',
    'eval_every',
    'eval_episodes',
    'eval_steps',
}


@dataclass(frozen=True)
class Plans:
    """An experiment, with the folders of its episodes."""

    experiment: Experiment
    episodes: tuple[Episode, ...]

    @property
    def name(self) -> str:
        return self.experiment.exp_name

    @property
    def model(self) -> str:
        """The training run, and the epoch of its weights."""
        names = {str(episode.settings.get('gpt_loadpath', 'unknown')) for episode in self.episodes}
        epochs = {str(rollout['gpt_epoch']) for rollout in self.experiment.rollouts}
        return f'{", ".join(sorted(names))}, epoch {", ".join(sorted(epochs))}'

    @property
    def mean_steps(self) -> float | None:
        steps = [rollout['step'] for rollout in self.experiment.rollouts]
        return sum(steps) / len(steps) if all(map(is_number, steps)) else None

    @property
    def n_ended(self) -> int:
        """Episodes that the environment ended, as where a robot falls."""
        return sum(bool(rollout['term']) for rollout in self.experiment.rollouts)

    @property
    def seconds_per_step(self) -> float | None:
        return mean_and_error(
            [episode.seconds_per_step for episode in self.episodes if episode.seconds_per_step is not None]
        )[0]

    @property
    def cut_at(self) -> str | None:
        """The steps that episodes were cut at, sooner than the environment does."""
        return differing([episode.settings.get('max_episode_steps') for episode in self.episodes])

    @property
    def warnings(self) -> list[str]:
        cut = (
            [f'Episodes were cut at {self.cut_at} steps: their returns and scores are not those of whole ones']
            if self.cut_at
            else []
        )
        subject = f'{self.experiment.dataset} {self.name}: '
        return cut + [warning.removeprefix(subject) for warning in warnings_about(self.experiment)]


@dataclass(frozen=True)
class DataSet:
    """What the page says of one dataset."""

    name: str
    anchor: str
    trainings: list[Training]
    plans: list[Plans]

    @cached_property
    def sources(self) -> list[dict]:
        """What the runs learned from, each once."""
        return list({str(run.source): run.source for run in self.trainings if run.source}.values())

    @cached_property
    def scores_over_time(self) -> Markup | None:
        return figures.draw_scores_over_time(f'{self.anchor}-scores', self.trainings)

    @cached_property
    def curves(self) -> Markup | None:
        return figures.draw_learning_curves(f'{self.anchor}-curves', self.trainings)

    @cached_property
    def returns(self) -> Markup | None:
        source = self.sources[0] if len(self.sources) == 1 else {}
        experiments = [plans.experiment for plans in self.plans]
        return figures.draw_returns(f'{self.anchor}-returns', experiments, source) if experiments else None

    def differences(self, run: Run) -> dict[str, str | None]:
        """The settings of a training run that not all of the dataset share."""
        settled = [settings_of([other]) for other in self.trainings if other.settings]
        return {
            name: value
            for name, value in settings_of([run]).items()
            if name not in UNFELT and any(other.get(name) != value for other in settled)
        }


# -------------------------------- contents --------------------------------- #


def gather(trainings: list[Training], episodes: list[Episode]) -> list[DataSet]:
    """Sort the runs by dataset, and the episodes into experiments."""
    planned = [episode for episode in episodes if episode.rollout is not None]
    owners = {id(episode.rollout): episode for episode in planned}
    found = [(episode.dataset, episode.exp_name, episode.rollout) for episode in planned]
    plans = [
        Plans(experiment, tuple(owners[id(rollout)] for rollout in experiment.rollouts))
        for experiment in group_rollouts(found)
    ]
    names = sorted({run.dataset for run in [*trainings, *episodes]})
    return [
        DataSet(
            name,
            f'data{n}',
            [run for run in trainings if run.dataset == name],
            [one for one in plans if one.experiment.dataset == name],
        )
        for n, name in enumerate(names)
    ]


def group_failures(runs: list[Run]) -> list[tuple[list[Run], str]]:
    """The runs that have a problem, and the problem; episodes of one experiment that share one stand together."""
    groups = defaultdict(list)
    for run in runs:
        for problem in run.problems:
            groups[(run.dataset, getattr(run, 'exp_name', run.name), problem)].append(run)
    return [(group, problem) for (*_, problem), group in groups.items()]


def choose_for_table(plans: list[Plans]) -> tuple[dict, list[tuple[Experiment, str]]]:
    """What may stand beside the published scores, as `choose_comparable` has it, and unambiguous."""
    experiments = [one.experiment for one in plans]

    def place(experiment):
        return experiment.dataset, experiment.algorithm

    rivals = Counter(map(place, (one for one in experiments if why_not_comparable(one) is None)))
    chosen, left_out = choose_comparable([one for one in experiments if rivals[place(one)] <= 1])
    left_out += [
        (one, why_not_comparable(one) or 'one of several; choose with --exp_name')
        for one in experiments
        if rivals[place(one)] > 1
    ]
    return chosen, sorted(left_out, key=lambda pair: (pair[0].dataset, pair[0].exp_name))


def compare_with_published(plans: list[Plans]) -> dict:
    """The paper's table and chart, with ours where there is something to compare."""
    chosen, left_out = choose_for_table(plans)
    means, errors = table.add_ours(chosen)
    algorithms = (*table.ALGORITHMS, *table.our_columns(chosen)) if chosen else table.ALGORITHMS
    of_tt = table.settings_of_tt(chosen)
    covered = tuple(setting for setting in scores.SETTINGS_WITHOUT_ANT if setting in of_tt)
    settings = covered or scores.SETTINGS_WITHOUT_ANT
    return {
        'chosen': chosen,
        'left_out': left_out,
        'ours': table.our_columns(chosen),
        'algorithms': algorithms,
        'means': means,
        'errors': errors,
        'bars': figures.draw_averages('averages', average_all(means, settings)),
        'averaged': describe_settings(settings),
        'latex': f'{table.format_table(algorithms, means, errors)}\n{table.describe_ours(chosen, left_out)}',
    }


def settings_of(runs: list[Run]) -> dict[str, str | None]:
    """The settings of runs; all values of one that they do not share."""
    names = dict.fromkeys(name for run in runs for name in run.settings if name not in ASIDE)
    return {name: differing([run.settings.get(name) for run in runs], none='None') for name in names}


def differing(values: list, none: str | None = None) -> str | None:
    """The values that there are, in a line; `none` where there is none but None."""
    shown = dict.fromkeys(none if value is None else str(value) for value in values)
    return ', '.join(value for value in shown if value is not None) or none


# ---------------------------------- page ----------------------------------- #


def render(logs: Path, page: Path, exp_name: str | None = None, budget: float = 0) -> tuple[str, dict[Path, Film]]:
    """The page, and the videos that it shows.

    page     : where it will lie
    exp_name : pattern for the names of the experiments to take
    budget   : bytes of videos that it may hold
    """
    trainings, episodes = find_runs(logs)
    if exp_name is not None:
        names = sorted({episode.exp_name for episode in episodes})
        episodes = [episode for episode in episodes if fnmatchcase(episode.exp_name, exp_name)]
        if not episodes:
            raise InputError(
                f'no experiment in {logs} matches {exp_name!r}.\n  There are: {", ".join(names) or "none"}'
            )
    data_sets = gather(trainings, episodes)
    plans = [one for data_set in data_sets for one in data_set.plans]
    films = collect_films([episode for one in plans for episode in one.episodes], page, budget)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        decimals=decimals,
        breakable=breakable,
        settings=settings_of,
        mean_and_error=mean_and_error,
        link=lambda path: address_of(path, page),
    )
    text = environment.get_template('report.html').render(
        style=Markup((TEMPLATES / 'report.css').read_text(encoding='utf-8')),
        logs=str(logs.resolve()),
        made=datetime.now(),
        trainings=trainings,
        episodes=episodes,
        data_sets=data_sets,
        failures=group_failures([*trainings, *episodes]),
        films=films,
        notes=list(dict.fromkeys(note for one in plans for note in one.warnings)),
        published=compare_with_published(plans),
        table=table,
        scores=scores,
        figures=figures,
        few_plans=FEW_PLANS,
    )
    return text, films


def breakable(name: str) -> Markup:
    """A name that a narrow screen may break where it has a joint."""
    return escape(name).replace('/', Markup('/<wbr>')).replace('_', Markup('_<wbr>'))


def decimals(number, places: int = 0) -> str:
    """`1,234.5`, and a dash for what is no number."""
    if not isinstance(number, (int, float)) or isinstance(number, bool):
        return '–'
    return f'{number:,.{places}f}'.replace('-', '−') if math.isfinite(number) else str(number)


def write_report(
    logs: str | Path, savepath: str | Path | None = None, exp_name: str | None = None, video_mb: float = 40
) -> str:
    """Write the page, and say where it is."""
    logs = Path(logs)
    page = Path(savepath) if savepath else logs / 'report.html'
    if not video_mb >= 0:
        raise InputError(f'video_mb must be at least 0, got {video_mb}.\n  Pass --video_mb 0 to link all videos.')
    text, films = render(logs, page, exp_name, video_mb * 2**20)
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f'cannot make the folder {page.parent}: {error.strerror}.\n  Choose another place with --savepath.'
        ) from error
    with write_atomically(page) as partial:
        partial.write_bytes(text.encode('utf-8', 'replace'))
    within = sum(film.is_within for film in films.values())
    return f'wrote {page}: {page.stat().st_size / 2**20:.1f} MB, with {within} of {len(films)} videos in it'


def main(argv=None):
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        'logs',
        nargs='?',
        default='logs',
        metavar='LOGS',
        help="folder that holds the datasets' folders (default: %(default)s)",
    )
    parser.add_argument('--savepath', help='the page to write (default: report.html in LOGS)')
    parser.add_argument('--exp_name', metavar='GLOB', help="of the plans only these, e.g. 'plans/defaults/*'")
    parser.add_argument(
        '--video_mb',
        type=float,
        default=40,
        help='megabytes of videos to take into the page; others are linked (default: %(default)s)',
    )
    args = parser.parse_args(argv)
    try:
        print(write_report(args.logs, args.savepath, args.exp_name, args.video_mb))
    except InputError as error:
        parser.exit(2, f'{parser.prog}: error: {error}\n')


if __name__ == '__main__':
    main()
