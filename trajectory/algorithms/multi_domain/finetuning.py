"""Ways to fine-tune a pre-trained multi-domain policy: which weights learn, what is added, what keeps them near."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trajectory.algorithms.multi_domain.policy import Policy
from trajectory.models.modulators import MODULATORS
from trajectory.models.pool import ModulationPool
from trajectory.utils.errors import InputError

PENALTY = 400.0
FISHER_BATCHES = 10


@dataclass(frozen=True)
class Finetuning:
    """A method.

    modulator   : of `MODULATORS`, on a base that is frozen; None lets weights of the base learn
    options     : of the modulator
    learns      : beginnings of the names of the base's weights that learn; () is none
    pool        : of the `ModulationPool` whose keys choose a modulator; None has one for all
    anchored_by : what keeps the weights near those of earlier tasks: `fisher` (EWC), `ones` (L2) or nothing
    """

    modulator: str | None = None
    options: dict = field(default_factory=dict)
    learns: tuple[str, ...] = ()
    pool: dict | None = None
    anchored_by: str | None = None


ALL = ('',)
FINETUNING = {
    'full': Finetuning(learns=ALL),
    'last_layers': Finetuning(learns=('encoder.h.-1.', 'encoder.ln_f.', 'action_net.')),
    'action_head': Finetuning(learns=('action_net.',)),
    'lora': Finetuning('lora'),
    'lora_ff': Finetuning('lora', {'targets': ('q', 'v', 'ff')}),
    'ia3': Finetuning('ia3'),
    'prompt': Finetuning('prompt'),
    'deep_prompt': Finetuning('prompt', {'deep': True}),
    'prefix': Finetuning('prefix'),
    'adapter': Finetuning('adapter'),
    'ewc': Finetuning(learns=ALL, anchored_by='fisher'),
    'l2': Finetuning(learns=ALL, anchored_by='ones'),
    'l2m_lora': Finetuning('lora', {'targets': ('q', 'v', 'ff')}, pool={}),
    'l2m_ia3': Finetuning('ia3', pool={}),
    'l2m_oracle': Finetuning('lora', {'targets': ('q', 'v', 'ff')}, pool={'n_tasks': -1}),
    'l2p': Finetuning('prompt', {'length': 5}, pool={'n_keys': 100}),
}


def find_finetuning(name: str) -> Finetuning:
    """The method of this name."""
    if name not in FINETUNING:
        raise InputError(f'there is no fine-tuning method {name!r}; there are {", ".join(FINETUNING)}.')
    return FINETUNING[name]


def add_modulators(policy: Policy, method: Finetuning, n_keys: int, n_pretrain_keys: int, n_tasks: int) -> None:
    """Give a policy what the method adds.    n_tasks : in the sequence, which an oracle shares its keys out to"""
    if method.modulator is None:
        return
    width, n_layer = policy.model.encoder.ln_f.weight.shape[0], len(policy.model.encoder.h)
    kind = MODULATORS[method.modulator]
    if method.pool is None:
        policy.lone = kind(width, n_layer, **method.options)
        return
    options = {'n_keys': n_keys, 'n_pretrain_keys': n_pretrain_keys, **method.pool}
    if options.get('n_tasks'):
        options['n_tasks'] = n_tasks
    policy.pool = ModulationPool(kind(width, n_layer, options['n_keys'], **method.options), width, **options)


def freeze(policy: Policy, method: Finetuning) -> None:
    """Let only those weights of the base learn that the method names."""
    last = f'encoder.h.{len(policy.model.encoder.h) - 1}.'
    learns = tuple(name.replace('encoder.h.-1.', last) for name in method.learns)
    for name, parameter in policy.model.named_parameters():
        parameter.requires_grad_(name.startswith(learns) if learns else False)


def parameter_groups(policy: Policy, weight_decay: float) -> list[dict]:
    """Matrices of the base decay; embeddings, norms, biases and what was added do not."""
    decayed, others = [], []
    for name, parameter in policy.model.named_parameters():
        if parameter.requires_grad:
            is_matrix = parameter.ndim > 1 and 'embed_timestep' not in name and 'embed_action' not in name
            (decayed if is_matrix and 'wpe' not in name else others).append(parameter)
    others += [parameter for parameter in policy.added.parameters() if parameter.numel()]
    groups = [{'params': decayed, 'weight_decay': weight_decay}, {'params': others, 'weight_decay': 0.0}]
    return [group for group in groups if group['params']]


class Anchors:
    """Keeps weights near those after earlier tasks: penalty Σ_tasks Σ F (θ - θ*)², F a Fisher information or 1."""

    def __init__(self, penalty: float = PENALTY):
        self.penalty = penalty
        self.places: list[dict[str, dict[str, Tensor]]] = []  # of each task: `at`, and `weight` where F is not 1

    def add(self, model: nn.Module, importance: dict[str, Tensor] | None) -> None:
        """Remember the weights as they are.    importance : F by name; None is 1"""
        at = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
        self.places.append({'at': at, 'weight': importance or {}})

    def loss(self, model: nn.Module) -> Tensor:
        """The penalty at the present weights."""
        named = dict(model.named_parameters())
        parts = [
            ((named[name] - value) ** 2 * place['weight'].get(name, 1.0)).sum()
            for place in self.places
            for name, value in place['at'].items()
        ]
        return self.penalty * sum(parts, torch.zeros((), device=next(model.parameters()).device))


def fisher_information(model: nn.Module, losses) -> dict[str, Tensor]:
    """Mean squared gradient of some batches' losses, by name.    losses : an iterable of them, without a penalty"""
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    sums = {name: torch.zeros_like(p) for name, p in named.items()}
    n = 0
    for loss in losses:
        gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
        for name, gradient in zip(named, gradients, strict=True):
            if gradient is not None:
                sums[name] += gradient**2
        n += 1
    return {name: total / n for name, total in sums.items()}
