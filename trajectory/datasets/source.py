"""Recorded experience with the environment it belongs to: what every dataset is made from; no simulator is built."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trajectory.datasets.hdf5 import read_episodes
from trajectory.environments.spec import EnvironmentSpec
from trajectory.utils.errors import InputError


@dataclass(frozen=True)
class DataSource:
    """A dataset of recorded steps.

    name         : of the dataset
    spec         : the environment it was recorded in
    dataset_path : the HDF5 file, or None
    read         : returns the columns observations, actions, rewards, terminals, timeouts, one row a step, episodes end
                   to end; what is not on this machine is downloaded then; None where nothing is recorded
    """

    name: str
    spec: EnvironmentSpec
    dataset_path: Path | None = None
    read: Callable[[], dict[str, np.ndarray]] | None = None

    @property
    def id(self) -> str:
        """The environment's id."""
        return self.spec.id

    @property
    def data_source(self) -> str | None:
        """Where the data comes from, in words."""
        return self.spec.data_source

    def get_dataset(self, h5path: str | Path | None = None) -> dict[str, np.ndarray]:
        """The recorded steps in D4RL's layout.    h5path : a file to read instead"""
        if h5path is not None:
            return read_episodes(h5path)
        if self.read is None:
            raise InputError(f'{self.name} names no recorded data; pass a file: --dataset_path FILE.hdf5')
        return self.read()

    def make(self):
        """The simulator of its environment, an `OfflineEnvironment` that serves this data."""
        env = self.spec.make()
        env.source, env.dataset_path = self, self.dataset_path
        return env
