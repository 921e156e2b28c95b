"""Start a sweep from the command line: skip what is finished, run the rest on an engine, say how each ended."""

import difflib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Literal, get_type_hints

from trajectory.cli.setup import Flags
from trajectory.cli.setup import Parser as SettingsParser
from trajectory.sweeps import doodad, local, ray, slurm
from trajectory.sweeps.description import Sweep, Variant, expand
from trajectory.sweeps.work import Outcome
from trajectory.utils.errors import InputError

log = logging.getLogger(__name__)


class Parser(Flags):
    """How to run a sweep. Every other flag is a setting of the script, with one value or with several to sweep."""

    engine: Literal['local', 'ray', 'slurm', 'doodad'] = 'local'  # this machine, Ray, Slurm, or doodad on Azure
    dry_run: bool = False  # print the command lines, and start nothing
    workers: int | None = None  # variants at once; by default one a GPU, or what the cluster admits
    retries: int = 2  # times that a variant is started again after it was killed
    gpus: float | None = None  # share of a GPU for each variant (Ray), or whole ones (Slurm)
    cpus: float = 1  # cores for each variant (Ray, Slurm)
    address: str | None = None  # Ray: a running cluster; auto is the one this machine belongs to
    partition: str | None = None  # Slurm: where to queue
    hours: float = 24  # Slurm: after which a variant is queued again, and goes on
    region: str | None = None  # doodad: where to start machines, instead of azure/cloud.py's
    gpu_model: str | None = None  # doodad: of these machines, instead of azure/cloud.py's

    def parse_args(self, _experiment=None, argv=None):
        """Read the flags; `settings` holds the script's, {name: values}."""
        own, self.settings = [], {}
        for group in group_flags(sys.argv[1:] if argv is None else argv):
            name = group[0].partition('=')[0]
            if not name.startswith('--') or name in self._option_string_actions:
                own += group
            else:
                values = [group[0].partition('=')[2]] if '=' in group[0] else []
                self.settings[name.removeprefix('--')] = values + group[1:]
        super().parse_args(argv=own)
        for name in ('workers', 'cpus', 'hours'):
            if getattr(self, name) is not None and getattr(self, name) <= 0:
                self.error(f'{name} must be above 0, got {getattr(self, name)}.')
        if self.retries < 0:
            self.error(f'retries must be at least 0, got {self.retries}.')
        if len(self.settings.get('config', ['one'])) != 1:
            self.error('config takes one module.\n  Pass --config config.offline.')
        return self


def launch(args: Parser, stages: list[tuple[ModuleType, Sweep]], config_path: Path, cloud: dict | None = None) -> int:
    """Run sweeps one after the other, and print how each variant ended.

    stages      : the script of each sweep, and what it tries; a later one may plan with the models of an earlier one
    config_path : of the cloud's settings, for doodad
    cloud       : `region` and `gpu_model` of this launcher, for doodad, where the flags name none
    returns     : an exit code, 1 if any variant failed
    """
    sweeps = change(stages, args.settings)
    expanded = [expand(script, sweep) for (script, _), sweep in zip(stages, sweeps, strict=True)]
    if args.dry_run:
        for variant in (variant for variants in expanded for variant in variants):
            print(f'# finished: {variant.command_line}' if variant.is_finished() else variant.command_line)
        return 0
    for name, value in (cloud or {}).items():
        setattr(args, name, getattr(args, name) or value)
    engine = ENGINES[args.engine](args, config_path)
    outcomes = []
    for number, variants in enumerate(expanded):
        missing = {variant.folder for earlier in expanded[:number] for variant in earlier if not variant.is_finished()}
        for outcome in run(variants, engine, missing):
            outcomes.append(outcome)
            if outcome.status != 'skipped':
                log.info(
                    '%s of %s: %s %s%s',
                    len(outcomes),
                    sum(map(len, expanded)),
                    outcome.status,
                    outcome.variant.folder,
                    f': {outcome.why}' if outcome.why else '',
                )
    order = {variant: place for place, variant in enumerate(variant for variants in expanded for variant in variants)}
    print(summarize(sorted(outcomes, key=lambda outcome: order[outcome.variant])))
    return int(any(outcome.status == 'failed' for outcome in outcomes))


def run(variants: list[Variant], engine: Callable, missing: set[Path]) -> Iterator[Outcome]:
    """Run what is not finished, and yield every variant as it ends.

    missing : folders of models that should be trained by now, but are not
    """
    todo = []
    for variant in variants:
        if lacking := [folder for folder in variant.needs if folder in missing]:
            yield Outcome(variant, 'failed', f'not started: {lacking[0]} is not trained')
        elif variant.is_finished():
            yield Outcome(variant, 'skipped')
        else:
            todo.append(variant)
    for outcome in engine(todo) if todo else ():
        if outcome.status == 'done' and not outcome.variant.is_finished():
            outcome = Outcome(
                outcome.variant,
                'failed',
                'it ended well, but its results are not here; is its folder on a disk that all machines share?',
            )
        yield outcome


def summarize(outcomes: list[Outcome]) -> str:
    """Lay out how each variant ended, and count them."""
    counts = {
        status: sum(outcome.status == status for outcome in outcomes)
        for status in ('done', 'skipped', 'launched', 'failed')
    }
    lines = []
    for outcome in outcomes:
        lines.append(f'{outcome.status:8}  {outcome.variant.folder}')
        if outcome.status == 'failed':
            lines.append(f'          {outcome.why}')
            lines.append(f'          {outcome.variant.log}' if outcome.variant.log.exists() else '          no log')
    return '\n'.join([*lines, ', '.join(f'{n} {status}' for status, n in counts.items() if n) or 'nothing to do'])


def change(stages: list[tuple[ModuleType, Sweep]], changes: dict[str, list[str]]) -> list[Sweep]:
    """The sweeps with the settings given as flags; each goes to the scripts that have it."""
    own = {sweep.default_params['config'] for _, sweep in stages if 'config' in sweep.default_params}
    if own and 'config' in changes:
        raise InputError(f'this sweep has its own config: {", ".join(sorted(own))}.\n  Leave out --config.')
    (config,) = changes.get('config', ['config.offline'])
    modules = [SettingsParser().import_config(sweep.default_params.get('config', config)) for _, sweep in stages]
    aliases = {alias: name for module in modules for alias, name in getattr(module, 'aliases', {}).items()}
    changes = {aliases.get(name, name): values for name, values in changes.items()}
    known = [
        {'dataset', 'config', *get_type_hints(module.experiments[Path(script.__file__).stem])}
        for module, (script, _) in zip(modules, stages, strict=True)
    ]
    for name, values in changes.items():
        if not any(name in names for names in known):
            near = difflib.get_close_matches(name, set().union(*known), n=1)
            hint = f'Did you mean --{near[0]}?' if near else 'The scripts list their settings with --help.'
            raise InputError(f'no setting or flag is called {name!r}. {hint}')
        if not values:
            raise InputError(f'--{name} has no value.\n  Give it one, or several to sweep.')
    return [
        sweep.change({name: values for name, values in changes.items() if name in names})
        for (_, sweep), names in zip(stages, known, strict=True)
    ]


def group_flags(argv: list[str]) -> list[list[str]]:
    """Put each flag together with the words that follow it."""
    groups = []
    for word in argv:
        if word.startswith('--') or word == '-h' or not groups:
            groups.append([word])
        else:
            groups[-1].append(word)
    return groups


# -------------------------------- engines --------------------------------- #


def on_this_machine(args, _config_path):
    return lambda variants: local.run(variants, args.workers, args.retries)


def on_ray(args, _config_path):
    return lambda variants: ray.run(variants, args.workers, args.retries, args.gpus, args.cpus, args.address)


def on_slurm(args, _config_path):
    return lambda variants: slurm.run(
        variants, Path('logs', 'slurm'), args.workers, args.retries, args.gpus, args.cpus, args.hours, args.partition
    )


def on_doodad(args, config_path):
    return lambda variants: doodad.run(variants, config_path, args.region, args.gpu_model)


ENGINES = {'local': on_this_machine, 'ray': on_ray, 'slurm': on_slurm, 'doodad': on_doodad}
