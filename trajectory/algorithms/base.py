"""The anatomy of a method: what every algorithm offers to the scripts that train, evaluate and resume it."""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from pathlib import Path

from trajectory.environments.spec import EnvironmentSpec
from trajectory.rollouts.agent import Agent
from trajectory.rollouts.evaluation import evaluate
from trajectory.utils.errors import InputError, did_you_mean

ALGORITHMS = tuple(
    sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.ispkg)
)  # the folders beside this file


class Algorithm(ABC):
    """One method: it learns in `update`, and acts through an `Agent`.

    n_updates        : updates of a whole run
    updates_per_epoch: an epoch is the unit of checkpoints, held-out numbers and `--eval_every`
    logged           : names of the numbers that the progress bar shows, the first first
    learns_from_data : whether it is trained on a dataset, and not on episodes of its own
    free_to_change   : settings of its own that a resumed run may change
    epoch            : that the weights of a loaded one are from
    mean_return      : of the data it learned from, where there is data
    """

    n_updates: int
    updates_per_epoch: int = 1
    logged: tuple[str, ...] = ('loss',)
    learns_from_data: bool = True
    free_to_change: frozenset[str] = frozenset()
    epoch: int | None = None
    mean_return: float | None = None

    @classmethod
    @abstractmethod
    def build(cls, settings, device, distributed) -> 'Algorithm':
        """Make the algorithm of a new run: its data or environments, networks and optimizers.

        settings    : the parsed settings of the experiment `train`
        device      : torch.device to learn on
        distributed : the `Distributed` processes that share each batch
        """

    @abstractmethod
    def update(self) -> dict:
        """Make one step of learning.    returns : its numbers, floats or tensors of no dimension, by name"""

    @abstractmethod
    def state_dict(self) -> dict:
        """All that a resumed run needs, generators included: tensors, numbers, strings, lists and dicts."""

    @abstractmethod
    def load_state_dict(self, state: dict) -> None:
        """Go on from what `state_dict` returned."""

    @abstractmethod
    def save_recipe(self, folder: Path) -> None:
        """Write what acting needs beside the weights: recipes, statistics, and the environment in `source.json`."""

    @abstractmethod
    def save(self, folder: Path, epoch: int) -> None:
        """Write the weights, as `state_<epoch>.pt`."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, epoch='latest', device='cpu') -> 'Algorithm':
        """Read what `save_recipe` and `save` wrote; such an algorithm can act, and needs no dataset."""

    @abstractmethod
    def identity(self) -> str:
        """Checksum of all that a loaded algorithm acts by: its weights and statistics."""

    @abstractmethod
    def agent(self, settings) -> Agent:
        """The policy.    settings : the parsed settings of the experiment that acts (`evaluate`, or `plan`)"""

    @abstractmethod
    def spec(self, name: str | None = None, backend: str = 'mujoco') -> EnvironmentSpec:
        """Where the agent acts; known once there is an agent.    name : of the dataset it is asked for"""

    def variants(self, settings) -> list[dict]:
        """Changes of the acting settings to evaluate one after the other; none where they are evaluated as they are."""
        return []

    def fingerprint(self) -> str:
        """Checksum of the data, which a resumed run must find unchanged."""
        return ''

    def prepare(self, folder: Path) -> None:
        """Called on every rank once the run owns its folder, before the first update."""

    def status(self) -> dict:
        """Numbers of the present moment: `learning_rate`, and `tokens` where speed is counted in them."""
        return {}

    def evaluate_policy(self, settings, acting, stop=False) -> dict:
        """Numbers of the policy that is being trained, for the log.

        settings, acting : the parsed settings of `train`, and of the experiment that acts
        stop             : true once there is no time left
        """
        return evaluate(
            self.agent(acting),
            self.spec(),
            settings.eval_episodes,
            max_steps=settings.eval_steps,
            seed=settings.seed,
            stop=stop,
        )

    def record_evaluation(self, args, run: Path) -> str | None:
        """An evaluation of the method's own, where acting in episodes of one environment is not the question.

        args : parsed settings of the experiment `evaluate`    run : the folder it was loaded from
        returns : what the script prints; None where the method has none of its own
        """
        return None

    def check(self) -> None:
        """Raise InputError if an update since the last call was not finite."""

    def evaluate_held_out(self) -> dict:
        """Numbers on what is not learned from, at the end of each epoch; none if nothing is held out."""
        return {}


def find_algorithm(name: str) -> type[Algorithm]:
    """The class of a method by the name of its folder; each folder exports it as `ALGORITHM`."""
    if name not in ALGORITHMS:
        raise InputError(
            f'there is no algorithm {name!r}.{did_you_mean(name, ALGORITHMS)}\n  There are {", ".join(ALGORITHMS)}.'
        )
    return importlib.import_module(f'trajectory.algorithms.{name}').ALGORITHM
