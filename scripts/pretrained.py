"""Fetch the published models and the plans that were made with them.

    ./pretrained.sh                      all 16 datasets
    ./pretrained.sh hopper-medium-v2     one, or several
    ./pretrained.sh --list               what there is, and what is here

A model goes to logs/DATASET/gpt/pretrained, its plans to logs/DATASET/plans/pretrained. What is here already is left
alone, and a download that was cut off is taken up again. If the host is gone, name a copy, an address or a file:

    PRETRAINED_MODELS=models.zip PRETRAINED_PLANS=plans.tar ./pretrained.sh
"""

import logging
import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from trajectory import utils
from trajectory.environments.catalogue import ROBOTS, VERSION
from trajectory.storage.archives import unpack
from trajectory.storage.download import download
from trajectory.utils.errors import InputError

log = logging.getLogger(__name__)

DATASETS = [
    f'{robot}-{quality}-{VERSION}'
    for robot in ROBOTS
    for quality in ('expert', 'medium-expert', 'medium', 'medium-replay')
]
KINDS = {  # folder under a dataset's: what it holds, where it is published, how the archive is called here
    'gpt': ('models', 'https://www.dropbox.com/sh/r09lkdoj66kx43w/AACbXjMhcI6YNsn1qU4LParja?dl=1', 'models.zip'),
    'plans': ('plans', 'https://www.dropbox.com/s/5sn79ep79yo22kv/pretrained-plans.tar?dl=1', 'plans.tar'),
}


class Parser(utils.Flags):
    names: list[str] = []  # datasets to fetch for; all, if none is named
    list: bool = False  # list the datasets, and what of them is here
    logbase: str = 'logs/'  # folder that holds all runs

    def configure(self):
        self.add_argument('names', nargs='*')


def main(args):
    # ------------------------------- setup -------------------------------- #
    if unknown := [name for name in args.names if name not in DATASETS]:
        raise InputError(f'nothing was published for {unknown[0]!r}; there is\n  ' + '\n  '.join(DATASETS))
    if args.list:
        for name in DATASETS:
            here = [what for kind, (what, *_) in KINDS.items() if place(args.logbase, name, kind).is_dir()]
            print(f'{name:<30}{" and ".join(here) or "-"}')
        return
    names = args.names or DATASETS

    for path in (place(args.logbase, name, kind) for name in names for kind in KINDS):
        if not path.is_dir() and (path.is_symlink() or path.exists()):  # found out before anything is fetched
            raise InputError(f'{path} is in the way: expected a folder, or nothing.\n  Move it, and run this again.')

    # ------------------------------- files -------------------------------- #
    for kind, (what, _, _) in KINDS.items():
        missing = [name for name in names if not place(args.logbase, name, kind).is_dir()]
        if missing:
            fetch(args.logbase, kind, missing)
        log.info('%s: %s fetched, %s were here', what, len(missing), len(names) - len(missing))

    # ------------------------------ results ------------------------------- #
    print(f'Plan with one: python scripts/plan.py --dataset {names[0]} --gpt_loadpath gpt/pretrained')


def place(logbase, name, kind) -> Path:
    """Where a dataset's model (`gpt`) or plans (`plans`) belong."""
    return Path(logbase, name, kind, 'pretrained')


def fetch(logbase, kind, names):
    """Get the archive of models or of plans, and put these datasets' share of it in place."""
    what, url, file = KINDS[kind]
    variable = f'PRETRAINED_{what.upper()}'
    url = os.environ.get(variable) or url
    store = Path(logbase, '.pretrained')
    utils.mkdir(store)
    archive = Path(url) if Path(url).is_file() else store / file
    if not archive.exists():
        download(
            url,
            archive,
            what=f'The archive of published {what}',
            remedy=(
                '  Is there a network? If the host is gone, name a copy elsewhere, an address or a file here:\n'
                f'  {variable}=COPY ./pretrained.sh'
            ),
        )

    with tempfile.TemporaryDirectory(dir=store) as folder:
        unpack(archive, Path(folder), lambda member: find_place(member, kind, names))
        absent = [name for name in names if not place(folder, name, kind).is_dir()]
        for name in [name for name in names if name not in absent]:
            place(logbase, name, kind).parent.mkdir(parents=True, exist_ok=True)
            place(folder, name, kind).rename(place(logbase, name, kind))
    if absent:
        raise InputError(
            f'{archive} holds no {what} of {", ".join(absent)}.\n'
            f'  Name the archive that was published: {variable}=COPY ./pretrained.sh'
        )
    if all(place(logbase, name, kind).is_dir() for name in DATASETS):
        shutil.rmtree(store)
    else:
        log.info('%s stays for the other datasets; delete it to have its room back', archive)


def find_place(member: PurePosixPath, kind, names) -> PurePosixPath | None:
    """Where …/DATASET/gpt/pretrained/FILE goes: to DATASET/gpt/pretrained/FILE; None if it was not asked for."""
    parts = member.parts
    for start, name in enumerate(parts[:-3]):
        if name in names and parts[start + 1 : start + 3] == (kind, 'pretrained'):
            return PurePosixPath(*parts[start:])
    return None


if __name__ == '__main__':
    utils.run(main, Parser, experiment=None)
