"""Fit a model to windows of tokens, with the reference's optimizer and schedule."""

import logging
import math
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from trajectory.training.distributed import Distributed
from trajectory.training.loop import TrainingLoop
from trajectory.training.precision import arithmetic_of
from trajectory.utils.arrays import to_device
from trajectory.utils.errors import InputError

log = logging.getLogger(__name__)

COUNTERS = ('n_tokens', 'n_updates', 'n_epochs', 'n_batches')
WINDOWS_NAMED = 16  # of a batch that went wrong


def count_epochs(n_windows: int, n_epochs: int | None, n_epochs_ref: int) -> int:
    """Epochs to train for: `n_epochs`, or in its absence `n_epochs_ref` for a million windows, in proportion."""
    return int(1e6 / n_windows * n_epochs_ref) if n_epochs is None else n_epochs


class MapStyleDataset:
    """Batches of a map-style dataset, as the trainer asks for them.

    dataset    : items (X, Y, mask) or (X, goal, Y, mask), tokens [ T ]
    stop_token : the target that is not counted
    """

    device = torch.device('cpu')
    on_disk = True  # batches are made beside the step before

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
    log.info(
        'epoch %.2f | step %s | %s',
        row['epoch'],
        f'{row["step"]:,}',
        ' | '.join(f'{name} {row[name]:.4g}' for name in ('loss', 'learning_rate', 'tokens_per_second')),
    )


class Trainer:
    """Keeps the optimizer, the count of tokens and the order of the windows from one epoch to the next.

    config : batch_size, learning_rate, betas, grad_norm_clip, weight_decay, lr_decay, warmup_tokens, final_tokens,
             device; if absent, `seed` for the order of the windows is 0, `precision` auto, and `compile` None
    distributed : the processes that share every batch
    """

    __module__ = 'trajectory.utils.training'  # its published name, which recipes keep
    takes_config = True  # `Config` hands it the recipe whole

    def __init__(self, config, distributed: Distributed | None = None):
        self.config = config
        self.distributed = distributed or Distributed()
        self.device = torch.device(config.device)
        self.arithmetic = arithmetic_of(self.device, config.get('precision', 'auto'), config.get('compile'))
        self.network = self.arithmetic.prepare(lambda model, inputs: model(*inputs)[0])
        self.optimizer = None
        self.n_tokens = 0  # of targets seen, stop tokens left out: the clock of the schedule
        self.n_updates = 0
        self.n_epochs = 0
        self.n_batches = 0  # of the epoch under way
        self.generator = torch.Generator().manual_seed(config.get('seed', 0))
        self._before_order = self.generator.get_state()  # of the epoch under way
        self._unchecked = []  # of updates that may have gone wrong: number, windows, loss, gradient's norm
        self._loop = None  # of `train`, which may be called again and again

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

    def train(
        self,
        model,
        dataset,
        n_epochs: int = 1,
        log_freq: int = 100,
        *,
        windows: Tensor | None = None,
        on_log=None,
        on_epoch=None,
        progress=None,
        checkpoints=None,
        stop=False,
    ) -> None:
        """Show the model every window of the dataset, `n_epochs` times, in a new order each time.

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
        learner = WindowLearner(self, model, dataset, windows)
        learner.n_updates = self.n_updates + n_epochs * learner.updates_per_epoch
        if self._loop is None:
            self._loop = TrainingLoop(learner, self.distributed)
        self._loop.algorithm, self._loop.log_freq, self._loop.checkpoints = learner, log_freq, checkpoints
        self._loop.run(on_log=on_log, on_epoch=on_epoch, progress=progress, stop=stop)
        model.eval()

    def begin_epoch(self) -> None:
        """Count an epoch that has ended, and order the next one anew."""
        self.n_epochs, self.n_batches = self.n_epochs + 1, 0
        self._before_order = self.generator.get_state()

    def order(self, windows):
        """[ n ]  the windows in the order of the epoch under way, which is the same when it is asked for again."""
        self.generator.set_state(self._before_order)
        return windows[torch.randperm(len(windows), generator=self.generator)]

    def gathered(self, dataset, batches):
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

    def shard(self, indices):
        """The windows of a batch that this rank reads; a rank that gets none reads the first, and its loss weighs 0."""
        shard = self.distributed.shard(indices)
        return shard if len(shard) else indices[:1]

    def _gather(self, dataset, indices):
        return to_device(dataset.gather(indices.to(dataset.device)), self.device)

    def update(self, model, dataset, indices: Tensor, inputs=None) -> Tensor:
        """One step of the optimizer.

        indices : [ B ]  the windows to learn from
        inputs  : what `dataset.gather` makes of this rank's shard of them, where that has been done
        returns : [ T ]  the mean loss at each token, before the step
        """
        optimizer = self.get_optimizer(model)
        inputs = inputs or self._gather(dataset, self.shard(indices))
        optimizer.zero_grad(set_to_none=True)
        losses = self._forward(model, inputs)
        losses = losses * (len(self.distributed.shard(indices)) / len(indices))  # [ T ]
        self._weigh(model, losses).backward()
        losses = losses.detach()
        self.distributed.all_reduce([*(parameter.grad for parameter in model.parameters()), losses])
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), self.config.grad_norm_clip)
        self._unchecked.append((self.n_updates + 1, indices, losses.mean(), norm))
        if self.device.type == 'cpu':  # elsewhere to look means to wait, so it is done at times, for many updates
            self.check()
        optimizer.step()
        self.n_tokens += dataset.count_targets(indices)
        self.n_updates += 1
        for group in optimizer.param_groups:
            group['lr'] = self.learning_rate()
        return losses

    def _forward(self, model, inputs):
        """[ T ]  the windows' mean loss at each token."""
        *inputs, targets, mask = inputs
        with self.arithmetic.autocast():
            logits = self.network(model, inputs)
        return model.token_losses(logits.float(), targets, mask).mean(dim=0)

    def _weigh(self, model, losses):
        return (losses * model.token_weights(len(losses), losses.device)).mean()

    def check(self) -> None:
        """Raise InputError if a loss or a gradient since the last check is not finite."""
        if not self._unchecked:
            return
        seen = torch.stack([torch.stack((loss, norm)) for _, _, loss, norm in self._unchecked]).tolist()
        for (update, indices, _, _), (loss, norm) in zip(self._unchecked, seen, strict=True):
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what, value = ('gradient', norm) if math.isfinite(loss) else ('loss', loss)
                named = ', '.join(map(str, indices[:WINDOWS_NAMED].tolist()))
                rest = f' and {len(indices) - WINDOWS_NAMED} more' if len(indices) > WINDOWS_NAMED else ''
                raise InputError(
                    f'the {what} became {value} at update {update:,}, in the batch of the windows {named}'
                    f'{rest}.\n  The last checkpoint is whole. Give the same command with a smaller '
                    '--learning_rate to go on from there, or with --restart to start over.'
                )
        self._unchecked = []

    @torch.no_grad()
    def evaluate(self, model, dataset, windows: Tensor) -> dict[str, float]:
        """The loss on windows that are not learned from, and its parts.    windows : [ n ]"""
        was_training = model.training
        model.eval()
        batches = windows.cpu().split(self.config.batch_size)
        losses = sum(
            self._forward(model, inputs) * len(batch)
            for batch, inputs in zip(batches, self.gathered(dataset, batches), strict=True)
        )
        losses = losses / len(windows)
        model.train(was_training)
        parts = self.parts(model, losses)
        return dict(zip(parts, torch.stack(list(parts.values())).tolist(), strict=True))

    def parts(self, model, losses: Tensor) -> dict[str, Tensor]:
        """The loss, and the mean cross-entropy of each kind of token, unweighted.    losses : [ T ]"""
        columns = torch.arange(1, len(losses) + 1) % model.layout.dim
        losses = losses.detach()
        parts = {'loss': self._weigh(model, losses)}
        for kind in ('observation', 'action', 'reward', 'value'):
            of_kind = torch.isin(columns, torch.arange(model.layout.dim)[getattr(model.layout, kind)])
            parts[f'loss_{kind}'] = losses[of_kind.to(losses.device)].mean()
        return parts

    # ----------------------------- checkpoints ---------------------------- #

    def state(self, model) -> dict:
        """All that it takes to go on as if nothing had happened, but for the global generators."""
        return {
            'model': model.state_dict(),
            'optimizer': self.get_optimizer(model).state_dict(),
            'counters': {name: getattr(self, name) for name in COUNTERS},
            'before_order': self._before_order,
        }

    def restore(self, model, state: dict) -> None:
        """Go on from a state that `state` returned."""
        model.load_state_dict(state['model'])
        self.get_optimizer(model).load_state_dict(state['optimizer'])
        for name in COUNTERS:
            setattr(self, name, state['counters'][name])
        self._before_order = state['before_order']
        for group in self.optimizer.param_groups if self.n_updates else ():
            group['lr'] = self.learning_rate()  # it may have been changed on purpose


class WindowLearner:
    """A model that learns from the windows of a dataset: what `TrainingLoop` asks of an algorithm.

    windows : [ n ]  those to learn from, by default all
    """

    logged = ('loss',)

    def __init__(self, trainer: Trainer, model, dataset, windows: Tensor | None = None, n_epochs: int = 0):
        self.trainer = trainer
        self.model = model
        self.dataset = dataset
        self.windows = torch.arange(len(dataset)) if windows is None else windows.cpu()
        self.updates_per_epoch = -(-len(self.windows) // trainer.config.batch_size)
        self.n_updates = n_epochs * self.updates_per_epoch
        self._batches = None  # of the epoch under way, those still to come

    def update(self) -> dict[str, Tensor]:
        """One step of the optimizer.    returns : the loss and its parts"""
        self.model.train()
        if self._batches is None:
            self._batches = self._epoch()
        batch = next(self._batches, None)
        if batch is None:  # the epoch has ended
            self.trainer.begin_epoch()
            self._batches = self._epoch()
            batch = next(self._batches)
        losses = self.trainer.update(self.model, self.dataset, *batch)
        self.trainer.n_batches += 1
        return self.trainer.parts(self.model, losses)

    def _epoch(self):
        """The batches of the epoch under way that are still to come: indices, and what is gathered of them."""
        coming = self.trainer.order(self.windows).split(self.trainer.config.batch_size)[self.trainer.n_batches :]
        shards = [self.trainer.shard(indices) for indices in coming]
        yield from zip(coming, self.trainer.gathered(self.dataset, shards), strict=True)

    def check(self) -> None:
        self.trainer.check()

    def status(self) -> dict:
        return {'tokens': self.trainer.n_tokens, 'learning_rate': self.trainer.learning_rate()}

    def state_dict(self) -> dict:
        return self.trainer.state(self.model)

    def load_state_dict(self, state: dict) -> None:
        self.trainer.restore(self.model, state)
        self._batches = None
