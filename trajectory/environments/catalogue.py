"""Know D4RL's datasets: their files, and the two returns that turn a return into a score."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROBOTS = {'hopper': 'Hopper', 'halfcheetah': 'HalfCheetah', 'walker2d': 'Walker2d', 'ant': 'Ant'}
WIDTHS = {  # of observations, less the columns that are always left out, and of actions
    'Hopper-v4': (11, 3),
    'Hopper-v5': (11, 3),
    'HalfCheetah-v4': (17, 6),
    'HalfCheetah-v5': (17, 6),
    'Walker2d-v4': (17, 6),
    'Walker2d-v5': (17, 6),
    'Ant-v4': (27, 8),
    'maze2d': (4, 2),
    'antmaze': (29, 8),
    'kitchen': (30, 9),
}
TASKS = ('maze2d', 'antmaze', 'kitchen')  # whose environments gymnasium-robotics has
VERSION = 'v2'  # of the datasets whose reference returns score a robot


@dataclass(frozen=True)
class Record:
    """One row of D4RL's catalogue. A score is `(return - ref_min) / (ref_max - ref_min)`; papers print it x 100.

    bytes, sha256 : of the file, where they are known
    """

    name: str
    url: str
    ref_min: float | None
    ref_max: float | None
    bytes: int | None
    sha256: str | None

    @property
    def file(self) -> str:
        return self.url.rsplit('/', 1)[1]


@cache
def d4rl_catalogue() -> dict[str, Record]:
    """D4RL's datasets by name (source: D4RL's own catalogue, and TensorFlow Datasets' checksum lists)."""
    table = Path(__file__).with_name('d4rl_catalogue.tsv')
    with table.open() as rows:
        return {
            row['dataset']: Record(
                name=row['dataset'],
                url=row['url'],
                ref_min=float(row['ref_min_score']) if row['ref_min_score'] else None,
                ref_max=float(row['ref_max_score']) if row['ref_max_score'] else None,
                bytes=int(row['bytes']) if row['bytes'] else None,
                sha256=row['sha256'] or None,
            )
            for row in csv.DictReader(rows, delimiter='\t')
        }


def robot_of(name: str) -> str | None:
    """`hopper-medium-v2` -> `hopper`, `Hopper-v4` -> `hopper`; None where the name starts with no known robot."""
    first = name.split('-', 1)[0].lower()
    return first if first in ROBOTS else None


def is_task(name: str) -> bool:
    """Whether a name is one of D4RL's mazes or kitchens."""
    return name.split('-', 1)[0] in TASKS and name in d4rl_catalogue()


def reference_returns(name: str) -> tuple[float | None, float | None]:
    """The returns that D4RL scores 0 and 1, of a dataset's name or an environment's id."""
    robot = robot_of(name)
    record = d4rl_catalogue().get(f'{robot}-medium-{VERSION}' if robot else name)
    return (record.ref_min, record.ref_max) if record else (None, None)


def widths_of(id: str) -> tuple[int, int] | None:
    """Columns of the observations and actions of an environment, as far as they are known without a simulator."""
    return WIDTHS.get(id.split('-', 1)[0] if is_task(id) else id)
