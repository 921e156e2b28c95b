"""Fit a model to windows of tokens, with the reference's optimizer and schedule."""
import math

import torch

from trajectory.utils.arrays import to_device
from trajectory.utils.errors import InputError
from trajectory.utils.progress import Silent
from trajectory.utils.timer import Timer


class Trainer:
    """Keeps the optimizer, the count of tokens and the order of the windows from one epoch to the next.

    config : batch_size, learning_rate, betas, grad_norm_clip, weight_decay, lr_decay, warmup_tokens, final_tokens,
             device; `seed` for the order of the windows, 0 if absent
    """

    takes_config = True  # `Config` hands it the recipe whole

    def __init__(self, config):
        self.config = config
        self.device = torch.device(config.device)
        self.optimizer = None
        self.n_tokens = 0   # of targets seen, stop tokens left out: the clock of the schedule
        self.n_updates = 0
        self.n_epochs = 0
        self.generator = torch.Generator().manual_seed(config.get('seed', 0))

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

    def train(self, model, dataset, n_epochs: int = 1, log_freq: int = 100, *, on_log=None, progress=None) -> None:
        """Show the model every window of the data set, `n_epochs` times, in a new order each time.

        dataset  : has `gather(indices)`, a length, and `N`, the stop token
        on_log   : called with a row of numbers every `log_freq` updates, and at the end of an epoch
        progress : told of every update
        """
        progress = progress or Silent()
        model.train()
        for _ in range(n_epochs):
            order = torch.randperm(len(dataset), generator=self.generator).to(dataset.device)
            batches = order.split(self.config.batch_size)
            losses, tokens_before, timer = [], self.n_tokens, Timer()
            for number, indices in enumerate(batches, start=1):
                losses.append(self.update(model, dataset.gather(indices), stop_token=dataset.N))
                if number % log_freq == 0 or number == len(batches):
                    row = self._summarize(losses, tokens_before, timer(), epoch=self.n_epochs + number / len(batches))
                    losses, tokens_before = [], self.n_tokens
                    progress.set_description({'loss': row['loss'], 'tokens/s': row['tokens_per_second']})
                    if on_log:
                        on_log(row)
                progress.update()
            self.n_epochs += 1
        model.eval()

    def update(self, model, batch, stop_token: int) -> torch.Tensor:
        """One step of the optimizer.    batch : tokens, (goal,) targets, mask    returns : the loss before it"""
        optimizer = self.get_optimizer(model)
        batch = to_device(batch, self.device)
        _, loss = model(*batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), self.config.grad_norm_clip)
        optimizer.step()

        targets = batch[-2]
        self.n_tokens += int((targets != stop_token).sum())
        self.n_updates += 1
        for group in optimizer.param_groups:
            group['lr'] = self.learning_rate()
        return loss.detach()

    def _summarize(self, losses, tokens_before, seconds, epoch):
        loss = float(torch.stack(losses).mean())
        if not math.isfinite(loss):
            raise InputError(f'the loss became {loss} at update {self.n_updates:,}; the weights of earlier epochs are '
                             'whole.\n  Pass a smaller --learning_rate.')
        return {
            'epoch': epoch, 'step': self.n_updates, 'tokens': self.n_tokens, 'loss': loss,
            'learning_rate': self.learning_rate(), 'tokens_per_second': (self.n_tokens - tokens_before) / seconds,
        }
