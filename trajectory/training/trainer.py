"""Fit a model to windows of tokens, with the reference's optimizer and schedule."""
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from signal import SIGTERM

import torch
from torch import Tensor

from trajectory.storage.checkpoints import Stopped, random_state, set_random_state
from trajectory.training.distributed import Distributed
from trajectory.training.precision import arithmetic_of
from trajectory.utils.arrays import to_device
from trajectory.utils.errors import InputError
from trajectory.utils.progress import Silent
from trajectory.utils.timer import Timer

log = logging.getLogger(__name__)

COUNTERS = ('n_tokens', 'n_updates', 'n_epochs', 'n_batches', 'logged', 'seconds')
WINDOWS_NAMED = 16      # of a batch that went wrong


def count_epochs(n_windows: int, n_epochs: int | None, n_epochs_ref: int) -> int:
    """Epochs to train for: `n_epochs`, or in its absence `n_epochs_ref` for a million windows, in proportion."""
    return int(1e6 / n_windows * n_epochs_ref) if n_epochs is None else n_epochs


class MapStyleDataset:
    """Batches of a map-style dataset, as the trainer asks for them.

    dataset    : items (X, Y, mask) or (X, goal, Y, mask), tokens [ T ]
    stop_token : the target that is not counted
    """

    device = torch.device('cpu')
    on_disk = True      # batches are made beside the step before

    def __init__(self, dataset, stop_token: int):
        self.dataset = dataset
        self.stop_token = stop_token
        self._n_targets = torch.full((len(dataset),), -1)

    def __len__(self) -> int:
        return len(self.dataset)

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """The items of some indices, [ B ], stacked."""
        items = [[torch.as_tensor(part) for part in self.dataset[index]] for index in indices.tolist()]
        batch = tuple(torch.stack(parts) for parts in zip(*items, strict=True))
        self._n_targets[indices] = (batch[-2] != self.stop_token).sum(dim=1)
        return batch

    def count_targets(self, indices: Tensor) -> int:
        """How many targets of these items are not the stop token.    indices : [ B ]"""
        if len(unknown := indices[self._n_targets[indices] < 0]):
            self.gather(unknown)
        return int(self._n_targets[indices].sum())


def _log_row(row: dict) -> None:
    log.info('epoch %.2f | step %s | %s', row['epoch'], f'{row["step"]:,}', ' | '.join(
        f'{name} {row[name]:.4g}' for name in ('loss', 'learning_rate', 'tokens_per_second')))


class Trainer:
    """Keeps the optimizer, the count of tokens and the order of the windows from one epoch to the next.

    config : batch_size, learning_rate, betas, grad_norm_clip, weight_decay, lr_decay, warmup_tokens, final_tokens,
             device; if absent, `seed` for the order of the windows is 0, `precision` auto, and `compile` None
    distributed : the processes that share every batch
    """

    __module__ = 'trajectory.utils.training'    # its published name, which recipes keep
    takes_config = True  # `Config` hands it the recipe whole

    def __init__(self, config, distributed: Distributed | None = None):
        self.config = config
        self.distributed = distributed or Distributed()
        self.device = torch.device(config.device)
        self.arithmetic = arithmetic_of(self.device, config.get('precision', 'auto'), config.get('compile'))
        self.network = self.arithmetic.prepare(lambda model, inputs: model(*inputs)[0])
        self.optimizer = None
        self.n_tokens = 0   # of targets seen, stop tokens left out: the clock of the schedule
        self.n_updates = 0
        self.n_epochs = 0
        self.n_batches = 0  # of the epoch under way
        self.logged = 0     # the update after which the last row was written
        self.seconds = 0.0  # spent training
        self.generator = torch.Generator().manual_seed(config.get('seed', 0))
        self._before_order = self.generator.get_state()     # of the epoch under way
        self._recent = []           # losses by token, [ T ], of the updates since the last row
        self._unchecked = []        # of updates that may have gone wrong: number, windows, loss, gradient's norm
        self._logged_at = (0, 0.0)  # tokens and seconds when the last row was written

    def get_optimizer(self, model) -> torch.optim.Optimizer:
        """The one optimizer of this run, made for `model` at the first call."""
        if self.optimizer is None:
            self.optimizer = model.configure_optimizers(self.config)
        return self.optimizer

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine to a tenth, by tokens.

        As in the reference the first update has the full rate, and the cosine is not held at its end: it rises again.
        """
        config = self.config
        if not config.lr_decay:
            return config.learning_rate
        if self.n_tokens < config.warmup_tokens:
            return config.learning_rate * self.n_tokens / max(1, config.warmup_tokens)
        progress = (self.n_tokens - config.warmup_tokens) / max(1, config.final_tokens - config.warmup_tokens)
        return config.learning_rate * max(0.1, 0.5 * (1 + math.cos(math.pi * progress)))

    # ------------------------------- the loop ----------------------------- #

    def train(self, model, dataset, n_epochs: int = 1, log_freq: int = 100, *, windows: Tensor | None = None,
              on_log=None, on_epoch=None, progress=None, checkpoints=None, stop=False) -> None:
        """Show the model every window of the data set, `n_epochs` times, in a new order each time.

        dataset     : has `gather(indices)`, `count_targets(indices)`, a length, a device, and `on_disk`; or any
                      map-style `torch.utils.data.Dataset` of (X, Y, mask), or of (X, goal, Y, mask)
        windows     : [ n ]  those to learn from, by default all
        on_log      : called with a row of numbers every `log_freq` updates, and at the end of an epoch; without it and
                      `progress` the rows are logged
        on_epoch    : called with the number of epochs at the end of each; what it returns joins the row
        progress    : told of every update
        checkpoints : `Checkpoints` to save to; by default the run is lost if the process dies
        stop        : true once the run is to save itself and end, by raising `Stopped`
        """
        if not hasattr(dataset, 'gather'):
            dataset = MapStyleDataset(dataset, model.vocab_size)
        if on_log is None and progress is None:
            on_log = _log_row
        progress = progress or Silent()
        windows = torch.arange(len(dataset)) if windows is None else windows.cpu()
        model.train()
        for _ in range(n_epochs):
            batches = self._order(windows).split(self.config.batch_size)
            timer = Timer()
            coming = batches[self.n_batches:]
            shares = [self._share(indices) for indices in coming]
            for indices, inputs in zip(coming, self._gathered(dataset, shares), strict=True):
                self.update(model, dataset, indices, inputs)
                self.n_batches += 1
                ended, logs = self.n_batches == len(batches), self.n_batches % log_freq == 0
                if ended or logs:
                    self._check()
                self.seconds += timer()
                if logs and not ended:
                    self._log(model, self.n_epochs + self.n_batches / len(batches), on_log, progress)
                progress.update()
                self._save_if_due(model, checkpoints, stop)
                timer()
            numbers = on_epoch(self.n_epochs + 1) if on_epoch else None
            model.train()
            self._save_if_due(model, checkpoints, stop, only_to_stop=True)  # a resumed run ends the epoch once more
            self.n_epochs, self.n_batches = self.n_epochs + 1, 0
            self._before_order = self.generator.get_state()
            self._log(model, self.n_epochs, on_log, progress, numbers)
        model.eval()

    def _order(self, windows):
        """The windows in the order of the epoch under way, which is the same when it is asked for again."""
        self.generator.set_state(self._before_order)
        return windows[torch.randperm(len(windows), generator=self.generator)]

    def _gathered(self, dataset, batches):
        """What each batch is made of; where the device does not gather it, it is read beside the step before."""
        if dataset.device == self.device and not dataset.on_disk:
            yield from (self._gather(dataset, indices) for indices in batches)
            return
        with ThreadPoolExecutor(max_workers=1) as reader:
            coming = None
            for indices in batches:
                present, coming = coming, reader.submit(self._gather, dataset, indices)
                if present is not None:
                    yield present.result()
            if coming is not None:
                yield coming.result()

    def _share(self, indices):
        """The windows of a batch that this process reads: one that none is left for reads the first, for nothing."""
        share = self.distributed.shard(indices)
        return share if len(share) else indices[:1]

    def _gather(self, dataset, indices):
        return to_device(dataset.gather(indices.to(dataset.device)), self.device)

    def update(self, model, dataset, indices: Tensor, inputs: tuple[Tensor, ...] | None = None) -> None:
        """One step of the optimizer.

        indices : [ B ]  the windows to learn from
        inputs  : what `dataset.gather` makes of our share of them, where that has been done
        """
        optimizer = self.get_optimizer(model)
        inputs = inputs or self._gather(dataset, self._share(indices))
        optimizer.zero_grad(set_to_none=True)
        losses = self._forward(model, inputs)
        losses = losses * (len(self.distributed.shard(indices)) / len(indices))              # [ T ]
        self._weigh(model, losses).backward()
        losses = losses.detach()
        self.distributed.all_reduce([*(parameter.grad for parameter in model.parameters()), losses])
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), self.config.grad_norm_clip)
        self._recent.append(losses)
        self._unchecked.append((self.n_updates + 1, indices, losses.mean(), norm))
        if self.device.type == 'cpu':       # elsewhere to look means to wait, so it is done at times, for many updates
            self._check()
        optimizer.step()
        self.n_tokens += dataset.count_targets(indices)
        self.n_updates += 1
        for group in optimizer.param_groups:
            group['lr'] = self.learning_rate()

    def _forward(self, model, inputs):
        """[ T ]  the windows' mean loss at each token."""
        *inputs, targets, mask = inputs
        with self.arithmetic.autocast():
            logits = self.network(model, inputs)
        return model.token_losses(logits.float(), targets, mask).mean(dim=0)

    def _weigh(self, model, losses):
        return (losses * model.token_weights(len(losses), losses.device)).mean()

    def _check(self):
        """Stop the run if a loss or a gradient since the last look is not finite."""
        if not self._unchecked:
            return
        seen = torch.stack([torch.stack((loss, norm)) for _, _, loss, norm in self._unchecked]).tolist()
        for (update, indices, _, _), (loss, norm) in zip(self._unchecked, seen, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what, value = ('gradient', norm) if math.isfinite(loss) else ('loss', loss)
                named = ', '.join(map(str, indices[:WINDOWS_NAMED].tolist()))
                rest = f' and {len(indices) - WINDOWS_NAMED} more' if len(indices) > WINDOWS_NAMED else ''
                raise InputError(f'the {what} became {value} at update {update:,}, in the batch of the windows {named}'
                                 f'{rest}.\n  The last checkpoint is whole. Give the same command with a smaller '
                                 '--learning_rate to go on from there, or with --restart to start over.')
        self._unchecked = []

    @torch.no_grad()
    def evaluate(self, model, dataset, windows: Tensor) -> dict[str, float]:
        """The loss on windows that are not learned from, and its parts.    windows : [ n ]"""
        was_training = model.training
        model.eval()
        batches = windows.cpu().split(self.config.batch_size)
        losses = sum(self._forward(model, inputs) * len(batch) 
                     for batch, inputs in zip(batches, self._gathered(dataset, batches), strict=True))
        losses = losses / len(windows)
        model.train(was_training)
        return self._parts(model, losses)

    # ------------------------------ the record ---------------------------- #

    def _log(self, model, epoch, on_log, progress, numbers=None):
        """Hand on a row of numbers about the updates since the last one."""
        seconds = max(self.seconds - self._logged_at[1], 1e-9)
        row = {
            'epoch': epoch, 'step': self.n_updates, 'tokens': self.n_tokens,
            **self._parts(model, torch.stack(self._recent).mean(dim=0)), 'learning_rate': self.learning_rate(),
            'tokens_per_second': (self.n_tokens - self._logged_at[0]) / seconds, **(numbers or {}),
        }
        self._recent, self._logged_at, self.logged = [], (self.n_tokens, self.seconds), self.n_updates
        progress.set_description({'loss': row['loss'], 'tokens/s': round(row['tokens_per_second'])})
        if on_log:
            on_log(row)

    def _parts(self, model, losses):
        """The loss, and the mean cross-entropy of each kind of token, unweighted.    losses : [ T ]"""
        columns = torch.arange(1, len(losses) + 1) % model.layout.dim
        losses = losses.detach()
        parts = {'loss': self._weigh(model, losses)}
        for kind in ('observation', 'action', 'reward', 'value'):
            of_kind = torch.isin(columns, torch.arange(model.layout.dim)[getattr(model.layout, kind)])
            parts[f'loss_{kind}'] = losses[of_kind.to(losses.device)].mean()
        return dict(zip(parts, torch.stack(list(parts.values())).tolist(), strict=True))

    # ----------------------------- checkpoints ---------------------------- #

    def state(self, model) -> dict:
        """All that it takes to go on as if nothing had happened."""
        return {
            'model': model.state_dict(), 'optimizer': self.get_optimizer(model).state_dict(),
            'counters': {name: getattr(self, name) for name in COUNTERS}, 'logged_at': list(self._logged_at),
            'before_order': self._before_order, 'recent': list(self._recent),
            'random': self.distributed.all_gather(random_state()),
        }

    def restore(self, model, state: dict) -> None:
        """Go on from a state that `state` returned."""
        model.load_state_dict(state['model'])
        self.get_optimizer(model).load_state_dict(state['optimizer'])
        for name in COUNTERS:
            setattr(self, name, state['counters'][name])
        self._logged_at, self._before_order = tuple(state['logged_at']), state['before_order']
        self._recent = to_device(state['recent'], self.device)
        for group in self.optimizer.param_groups if self.n_updates else ():
            group['lr'] = self.learning_rate()      # it may have been changed on purpose
        if self.distributed.rank < len(state['random']):   # a process that was not there draws numbers of its own
            set_random_state(state['random'][self.distributed.rank])

    def save(self, model, checkpoints) -> None:
        """Write a checkpoint; every process takes part."""
        self._check()
        state = self.state(model)
        if self.distributed.is_main:
            checkpoints.save(state)

    def _save_if_due(self, model, checkpoints, stop, only_to_stop=False):
        due = (not only_to_stop and self.distributed.is_main and checkpoints is not None
               and checkpoints.are_due(self.n_updates))
        stopping, due = self.distributed.any(bool(stop), due)
        if checkpoints is not None and (due or stopping):
            self.save(model, checkpoints)
        if stopping:
            where = f', and saved in {checkpoints.path}; the same command goes on from there' if checkpoints else ''
            raise Stopped(f'stopped after {self.n_updates:,} updates{where}', getattr(stop, 'signum', 0) or SIGTERM)
