"""Keep a run safe: `resume.pt` holds all that a run needs to go on as if it had never stopped."""

import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import torch

from trajectory.storage.weights import load_tensors, save_tensors, why_unreadable
from trajectory.utils.errors import InputError
from trajectory.utils.files import delete_files

NAME = 'resume.pt'
SECONDS_OF_ECHO = 3


class StopSwitch:
    """Remembers that SIGTERM or SIGINT came, so that the step under way can end.

    A second SIGINT does not wait, unless it follows at once: `torchrun` repeats what the terminal has sent already.
    """

    def __init__(self):
        self.signum = 0
        self._pressed_at = 0.0

    def __bool__(self) -> bool:
        return self.signum != 0

    def press(self, signum, _frame=None):
        if not self.signum:
            self.signum, self._pressed_at = signum, time.monotonic()
        elif signum == signal.SIGINT and time.monotonic() - self._pressed_at > SECONDS_OF_ECHO:
            raise KeyboardInterrupt


@contextmanager
def catch_signals():
    """Yield a `StopSwitch` that SIGTERM and SIGINT press, for as long as this lasts."""
    switch = StopSwitch()
    before = {signum: signal.signal(signum, switch.press) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield switch
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


class Checkpoints:
    """Writes `resume.pt` every so often, whole or not at all.

    folder   : of the run
    settings : what must be the same when the run goes on
    steps    : updates between two checkpoints; None: only the clock counts
    minutes  : between two checkpoints; None: only the updates count
    """

    def __init__(self, folder, settings: dict, steps: int | None = None, minutes: float | None = None):
        self.path = Path(folder, NAME)
        self.settings = settings
        self.steps = steps
        self.minutes = minutes
        self._saved_at = time.monotonic()

    def are_due(self, n_updates: int) -> bool:
        """Whether it is time for the next one."""
        if self.steps is not None and n_updates % self.steps == 0:
            return True
        return self.minutes is not None and time.monotonic() - self._saved_at >= 60 * self.minutes

    def save(self, state: dict) -> None:
        save_tensors({'settings': self.settings, **state}, self.path)
        self._saved_at = time.monotonic()


def find_checkpoint(folder, settings: dict) -> dict | None:
    """What the last run in this folder left to go on from; None if it left nothing.

    settings : names and values that must be those of that run
    """
    folder = Path(folder)
    path = folder / NAME
    restart = 'or pass --restart to start over; its weights will be deleted.'
    if not path.exists():
        if kept := sorted(state.name for state in folder.glob('state_*.pt')):
            raise InputError(
                f'{folder} holds {", ".join(kept)}, but no {NAME} to go on from.\n'
                f'  Choose another --exp_name, {restart}'
            )
        return None
    try:
        state = load_tensors(path)
        if not isinstance(state, dict) or not isinstance(state.get('settings'), dict):
            raise ValueError('it is no checkpoint of a run')
    except InputError:
        raise
    except Exception as error:  # cut or flipped bytes make the readers raise nearly anything
        raise InputError(
            f'{path} cannot be read: {why_unreadable(error)}\n  Restore it from a copy, {restart}'
        ) from error
    before = dict(state['settings'])
    if 'algorithm' in settings:
        before.setdefault('algorithm', 'trajectory_transformer')  # which older ones do not name
    differing = [
        f'{name} was {before.get(name)}, is {settings.get(name)}'
        for name in sorted({*before, *settings})
        if before.get(name) != settings.get(name)
    ]
    if differing:
        raise InputError(
            f'{folder} holds a run with other settings: {"; ".join(differing)}.\n'
            f'  Give the same command as before, choose another --exp_name, {restart}'
        )
    return state


def clear_run(folder) -> None:
    """Delete what a run left that a new one would go on from, or be mistaken for."""
    delete_files([Path(folder, NAME), *Path(folder).glob('state_*.pt'), Path(folder, 'wandb_id.txt')])
    shutil.rmtree(Path(folder, 'tensorboard'), ignore_errors=True)


def random_state() -> dict[str, torch.Tensor]:
    """The state of torch's generators: on the CPU, and on the CUDA device in use."""
    state = {'cpu': torch.get_rng_state()}
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(state['cpu'])
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])
