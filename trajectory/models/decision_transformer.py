"""Decision Transformer: a GPT-2 over returns-to-go, states and actions, which predicts each action from its state.

B  sequences      K  steps      d, a  columns of states and actions      h  width
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trajectory.utils.errors import InputError

MAX_STEPS = 1024 // 3  # three tokens each
INIT_STD = 0.02
ACTIVATIONS = {
    'relu': F.relu,
    'gelu': F.gelu,
    'gelu_new': lambda x: F.gelu(x, approximate='tanh'),
    'silu': F.silu,
    'tanh': torch.tanh,
}


class Predictions(NamedTuple):
    """states [ B x K x d ] and returns [ B x K x 1 ] after each action, actions [ B x K x a ] at each state."""

    states: Tensor
    actions: Tensor
    returns: Tensor


class Conv1D(nn.Module):
    """A linear layer whose weight is stored [ in x out ], as GPT-2's are."""

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.weight = nn.Parameter(INIT_STD * torch.randn(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.flatten(0, -2), self.weight).unflatten(0, x.shape[:-1])


class Attention(nn.Module):
    """Self-attention.    x : [ B x T x h ]    mask : [ B x 1 x T x T ], true where a key is seen"""

    def __init__(self, width: int, n_head: int, attn_pdrop: float, resid_pdrop: float):
        super().__init__()
        self.n_head, self.attn_pdrop = n_head, attn_pdrop
        self.c_attn, self.c_proj = Conv1D(width, 3 * width), Conv1D(width, width)
        self.resid_dropout = nn.Dropout(resid_pdrop)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.n_head, -1)).transpose(1, 2) for part in self.c_attn(x).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=self.attn_pdrop if self.training else 0.0
        )
        return self.resid_dropout(self.c_proj(mixed.transpose(1, 2).flatten(2)))


class MLP(nn.Module):
    """Two layers, four times as wide between them.    x : [ … x h ]"""

    def __init__(self, width: int, activation: str, resid_pdrop: float):
        super().__init__()
        self.c_fc, self.c_proj = Conv1D(width, 4 * width), Conv1D(4 * width, width)
        self.activation, self.dropout = ACTIVATIONS[activation], nn.Dropout(resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(self.activation(self.c_fc(x))))


class GPT2Block(nn.Module):
    """Attention and MLP, each after a LayerNorm and added to what came in."""

    def __init__(self, width: int, n_head: int, activation: str, attn_pdrop: float, resid_pdrop: float):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, n_head, attn_pdrop, resid_pdrop)
        self.mlp = MLP(width, activation, resid_pdrop)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))


class GPT2(nn.Module):
    """GPT-2 without positions; `wte` is unused, and there because the original's weights have it."""

    def __init__(self, width: int, n_layer: int, n_head: int, activation: str, dropout: float):
        super().__init__()
        self.wte = nn.Embedding(1, width)
        self.drop = nn.Dropout(dropout)
        self.h = nn.ModuleList(GPT2Block(width, n_head, activation, dropout, dropout) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(width)
        nn.init.normal_(self.wte.weight, std=INIT_STD)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        x = self.drop(x)
        for block in self.h:
            x = block(x, mask)
        return self.ln_f(x)


class DecisionTransformer(nn.Module):
    """Decision Transformer (Chen et al. 2021), with the names of the original's weights.

    state_dim, act_dim       : columns of states and actions
    hidden_size              : width
    max_ep_len               : timesteps that have an embedding
    action_tanh              : whether actions are squashed to −1 … 1
    dropout                  : after the embedding, on attention weights, and after both projections
    """

    def __init__(
        self,
        state_dim: int,
        act_dim: int,
        hidden_size: int = 128,
        n_layer: int = 3,
        n_head: int = 1,
        max_ep_len: int = 1000,
        activation_function: str = 'relu',
        dropout: float = 0.1,
        action_tanh: bool = True,
    ):
        super().__init__()
        if activation_function not in ACTIVATIONS:
            raise InputError(
                f"unknown activation '{activation_function}'; there are: {', '.join(ACTIVATIONS)}.\n"
                '  Pass --activation_function relu, say.'
            )
        if hidden_size % n_head:
            raise InputError(
                f'a width of {hidden_size} cannot be shared among {n_head} heads.\n  Pass --n_head 1, say.'
            )
        self.state_dim, self.act_dim, self.max_ep_len = state_dim, act_dim, max_ep_len
        self.transformer = GPT2(hidden_size, n_layer, n_head, activation_function, dropout)
        self.embed_timestep = nn.Embedding(max_ep_len, hidden_size)
        self.embed_return = nn.Linear(1, hidden_size)
        self.embed_state = nn.Linear(state_dim, hidden_size)
        self.embed_action = nn.Linear(act_dim, hidden_size)
        self.embed_ln = nn.LayerNorm(hidden_size)
        self.predict_state = nn.Linear(hidden_size, state_dim)
        self.predict_action = nn.Sequential(nn.Linear(hidden_size, act_dim), *([nn.Tanh()] if action_tanh else []))
        self.predict_return = nn.Linear(hidden_size, 1)

    def embed(self, states: Tensor, actions: Tensor, returns_to_go: Tensor, timesteps: Tensor) -> Tensor:
        """[ B x 3K x h ]  tokens in the order R₁ s₁ a₁ R₂ s₂ a₂ …, normalized."""
        times = self.embed_timestep(timesteps)
        parts = self.embed_return(returns_to_go), self.embed_state(states), self.embed_action(actions)
        return self.embed_ln(torch.stack([part + times for part in parts], dim=2).flatten(1, 2))

    def hidden(
        self,
        states: Tensor,
        actions: Tensor,
        returns_to_go: Tensor,
        timesteps: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """[ B x 3K x h ]  the last hidden state; arguments as for `forward`."""
        n_steps = states.shape[1]
        if n_steps > MAX_STEPS:
            raise InputError(f'{n_steps} steps are {3 * n_steps} tokens, more than 1024.\n  Pass --K 20, say.')
        if attention_mask is None:
            attention_mask = torch.ones(states.shape[:2], device=states.device)
        keys = (attention_mask != 0).repeat_interleave(3, dim=1)
        n = 3 * n_steps
        causal = torch.ones(n, n, dtype=torch.bool, device=states.device).tril()
        alone = torch.eye(n, dtype=torch.bool, device=states.device)  # padding sees itself: else it would see nothing
        mask = (causal & keys[:, None, None, :]) | alone
        return self.transformer(self.embed(states, actions, returns_to_go, timesteps), mask)

    def forward(
        self,
        states: Tensor,
        actions: Tensor,
        returns_to_go: Tensor,
        timesteps: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Predictions:
        """Predict at every step; what stands at padded steps means nothing.

        states : [ B x K x d ] normalized    actions : [ B x K x a ]    returns_to_go : [ B x K x 1 ] scaled
        timesteps : [ B x K ]    attention_mask : [ B x K ]  0 at padded steps
        """
        hidden = self.hidden(states, actions, returns_to_go, timesteps, attention_mask).unflatten(1, (-1, 3))
        at_state, at_action = hidden[:, :, 1], hidden[:, :, 2]
        return Predictions(self.predict_state(at_action), self.predict_action(at_state), self.predict_return(at_action))


def action_loss(predicted: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over real steps and columns.    predicted, actions : [ B x K x a ]    mask : [ B x K ]"""
    kept = mask > 0
    return F.mse_loss(predicted[kept], actions[kept])


# ------------------------------- Hugging Face ------------------------------ #


def to_huggingface(weights: dict, n_positions: int = 1024) -> dict:
    """Weights in the names of `transformers.DecisionTransformerModel`; its position embedding is zero."""
    renamed = {name.replace('transformer.', 'encoder.', 1): value for name, value in weights.items()}
    width = weights['embed_ln.bias'].shape[0]
    return {**renamed, 'encoder.wpe.weight': weights['embed_ln.bias'].new_zeros(n_positions, width)}


def from_huggingface(weights: dict) -> dict:
    """The original's names; the position embedding's first row, which it adds to every token, joins `embed_ln.bias`."""
    dropped = ('.attn.bias', '.attn.masked_bias')
    renamed = {
        name.replace('encoder.', 'transformer.', 1): value
        for name, value in weights.items()
        if not name.endswith(dropped)
    }
    if not {'transformer.wpe.weight', 'embed_ln.bias'} <= renamed.keys():
        raise InputError(
            'these weights have no encoder.wpe.weight or no embed_ln.bias: they are of no DecisionTransformerModel.\n'
            '  Copy or download them again.'
        )
    positions = renamed.pop('transformer.wpe.weight')
    return {**renamed, 'embed_ln.bias': renamed['embed_ln.bias'] + positions[0]}


def huggingface_config(recipe: dict, n_steps: int) -> dict:
    """`config.json` of `transformers.DecisionTransformerModel`.    recipe : of `DecisionTransformer`"""
    dropout = recipe['dropout']
    return {
        'model_type': 'decision_transformer',
        'architectures': ['DecisionTransformerModel'],
        **{name: value for name, value in recipe.items() if name != 'dropout'},
        'resid_pdrop': dropout,
        'embd_pdrop': dropout,
        'attn_pdrop': dropout,
        'n_positions': 1024,
        'vocab_size': 1,
        'max_length': n_steps,
    }


def n_parameters(model: nn.Module) -> int:
    """Numbers in a model's weights."""
    return sum(math.prod(parameter.shape) for parameter in model.parameters())
