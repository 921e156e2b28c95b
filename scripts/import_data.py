"""Bring episodes of your own, plain arrays in .npz, into the layout that scripts/train.py reads.

    python scripts/import_data.py episodes.npz mine.hdf5 --env Hopper-v4
    python scripts/import_data.py folder/ mine.hdf5 --env Walker2d-v4
    python scripts/import_data.py hopper-medium-v2.pkl mine.hdf5 --env Hopper-v4 --physics d4rl

An .npz has one of three forms, T steps long:

    episodes   observations_0 [ T x d ]  actions_0 [ T x a ]  rewards_0 [ T ]  terminals_0 [ T ] or one for the episode,
               observations_1, …; or a folder of files, in the order of their names, each of one episode without numbers
    steps      observations [ T x d ]  actions [ T x a ]  rewards  terminals  timeouts [ T ], episodes end to end
    buffer     observations [ T x n x d ]  actions [ T x n x a ]  rewards  terminals  timeouts [ T x n ]: the same of n
               environments side by side, as a loop over Gymnasium's vector environments collects them

terminals (or terminations, terminated) are falls; timeouts (truncations, truncated) are ends by the clock, which
episodes may leave out. Steps and buffers may bring return_queue and length_queue of Gymnasium's RecordEpisodeStatistics
(or r and l): what was recorded is then compared with them.

A .pkl is a list of episodes, dicts of arrays, as the Decision Transformer's data is; dones count as falls. It is read
without running anything, and refused where it holds more than arrays of numbers.

From a list of episodes, dicts of arrays:

    np.savez_compressed('episodes.npz', **{f'{name}_{k}': value for k, episode in enumerate(episodes)
                                           for name, value in episode.items()})
"""

from pathlib import Path
from typing import Literal

from trajectory import utils
from trajectory.datasets import get_preprocess_fn
from trajectory.datasets.hdf5 import write_episodes
from trajectory.datasets.importing import import_episodes
from trajectory.datasets.sequence import check_widths
from trajectory.environments.making import make_environment
from trajectory.utils.errors import InputError


class Parser(utils.Flags):
    source: str  # the .npz or .pkl, or a folder of .npz
    target: str  # the HDF5 file to write
    env: str = ''  # Gymnasium environment that it was recorded in: Hopper-v4, say
    physics: Literal['stock', 'd4rl'] = 'stock'  # of that environment: as installed, or MuJoCo 2.1.0's
    autoreset: Literal['next_step', 'same_step'] = 'next_step'  # how the environments of a buffer began anew

    def configure(self):
        super().configure()
        self.add_argument('source')
        self.add_argument('target')


def main(args):
    # ------------------------------- setup -------------------------------- #
    source, target = Path(args.source), Path(args.target)
    if not args.env:
        raise InputError('where was it recorded? Name the Gymnasium environment: --env Hopper-v4')
    if target.exists():
        raise InputError(f'{target} is there already, and is not written over.\n  Name a new file.')
    if not target.parent.is_dir():
        raise InputError(f'the folder {target.parent} is not there.\n  Make it, or name another file.')

    # -------------------------------- data -------------------------------- #
    env = make_environment(args.env, args.physics, target.stem)
    columns = import_episodes(source, args.autoreset)
    preprocess_fn = get_preprocess_fn(env.id)
    check_widths(
        env,
        preprocess_fn,
        utils.TransitionLayout(preprocess_fn(columns['observations'][:1]).shape[1], columns['actions'].shape[1]),
    )

    # ------------------------------ results ------------------------------- #
    write_episodes(target, columns, {'env': env.id, 'physics': env.physics, 'sources': f'imported from {source.name}'})
    fell, clock = (int(columns[name].sum()) for name in ('terminals', 'timeouts'))
    print(
        f'{target}: {len(columns["rewards"]):,} steps, {fell:,} episodes ended by a fall, {clock:,} by the clock\n'
        f'Look at it: python scripts/check_data.py {target}\n'
        f'Train on it: python scripts/train.py --dataset {target.stem} --dataset_path {target}'
    )


if __name__ == '__main__':
    utils.run(main, Parser, experiment=None)
