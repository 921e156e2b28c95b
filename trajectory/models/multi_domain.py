"""Multi-domain Decision Transformer (Schmied et al. 2023): one GPT-2 over states, returns, binned actions and rewards.

B sequences    K steps    S slots of a state    A columns of an action    d width    per step A + 3 tokens:
state, return-to-go, a_1 … a_A, reward. a_1 is read from the return's token, a_{i+1} from that of a_i.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trajectory.models.decision_transformer import INIT_STD, GPT2Block
from trajectory.models.modulators import Modulator


class Sequences(NamedTuple):
    """A batch: states [ B x K x S ], action tokens [ B x K x A ], the rest [ B x K ]; mask is 0 at padded steps."""

    states: Tensor
    actions: Tensor
    returns: Tensor
    rewards: Tensor
    timesteps: Tensor
    mask: Tensor


class Outputs(NamedTuple):
    """Action logits [ B x K x A x bins ]; returns and rewards [ B x K x 1 ]."""

    actions: Tensor
    returns: Tensor
    rewards: Tensor


class Encoder(nn.Module):
    """GPT-2 whose tokens all have position 0, and which a modulator may change."""

    def __init__(self, width: int, n_layer: int, n_head: int, dropout: float = 0.0):
        super().__init__()
        self.n_head = n_head
        self.wpe = nn.Embedding(1, width)
        self.drop = nn.Dropout(dropout)
        self.h = nn.ModuleList(GPT2Block(width, n_head, 'gelu', dropout, dropout) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(width)
        nn.init.normal_(self.wpe.weight, std=INIT_STD)
        for block in self.h:
            for layer in (block.attn, block.mlp):
                nn.init.normal_(layer.c_proj.weight, std=INIT_STD / math.sqrt(2 * n_layer))

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        modulator: Modulator | None = None,
        ids: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """The last hidden states, [ B x T x d ].

        x      : [ B x T x d ]
        mask   : [ B x T ], 0 where a key is not seen
        ids    : [ B ], see `Modulator`
        hidden : [ B x T x T ], true where a query does not see a key for other reasons
        """
        modulator = modulator or Modulator()
        ids = torch.zeros(len(x), dtype=torch.long, device=x.device) if ids is None else ids
        n_prompt = modulator.n_prompt
        if (tokens := modulator.input_prompt(ids)) is not None:
            x = torch.cat([tokens, x], dim=1)
        x = self.drop(x + self.wpe.weight[0])
        mask = F.pad(mask, (n_prompt, 0), value=1)
        n = mask.shape[1]
        causal = torch.ones(n, n, dtype=torch.bool, device=x.device).tril()
        itself = torch.eye(n, dtype=torch.bool, device=x.device)  # padding would see nothing else
        seen = (causal & (mask != 0)[:, None, None, :]) | itself
        if hidden is not None:
            seen = seen & ~F.pad(hidden, (n_prompt, 0, n_prompt, 0))[:, None]
        for layer, block in enumerate(self.h):
            if (prompt := modulator.prompt(layer, ids)) is not None:
                x = torch.cat([prompt, x if layer == 0 else x[:, n_prompt:]], dim=1)
            x = x + modulator.attention_output(layer, self._attend(block, layer, x, seen, modulator, ids), ids)
            hidden = modulator.mlp_hidden(layer, block.mlp.c_fc(block.ln_2(x)), F.gelu, ids)
            x = x + block.mlp.dropout(modulator.mlp_output(layer, block.mlp.c_proj(hidden), ids))
        return self.ln_f(x[:, n_prompt:])

    def _attend(self, block, layer, x, seen, modulator, ids):
        x = block.ln_1(x)
        q, k, v = modulator.attention_inputs(layer, x, *block.attn.c_attn(x).chunk(3, dim=-1), ids)
        if (prefix := modulator.prefix(layer, ids)) is not None:
            k, v = (torch.cat([own, other], dim=1) for own, other in zip(prefix, (k, v), strict=True))
            seen = F.pad(seen, (prefix[0].shape[1], 0), value=True)
        q, k, v = (part.unflatten(-1, (self.n_head, -1)).transpose(1, 2) for part in (q, k, v))
        dropout = block.attn.attn_pdrop if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, dropout_p=dropout)
        return block.attn.resid_dropout(block.attn.c_proj(mixed.transpose(1, 2).flatten(2)))


class MultiDomainTransformer(nn.Module):
    """The MDDT, with the names of the original's weights.

    state_dim  : slots of a state, shared by all domains
    act_dim    : columns of an action; narrower ones are padded
    bins       : of an action; id `bins` is of an action that is not seen, and embedded as 0
    max_ep_len : timesteps that have an embedding
    """

    def __init__(
        self,
        state_dim: int = 204,
        act_dim: int = 6,
        bins: int = 64,
        hidden_size: int = 768,
        n_layer: int = 6,
        n_head: int = 12,
        max_ep_len: int = 1000,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.state_dim, self.act_dim, self.bins, self.max_ep_len = state_dim, act_dim, bins, max_ep_len
        self.encoder = Encoder(hidden_size, n_layer, n_head, dropout)
        self.embed_timestep = nn.Embedding(max_ep_len, hidden_size)
        self.embed_state = nn.Linear(state_dim, hidden_size)
        self.embed_return, self.embed_rewards = nn.Linear(1, hidden_size), nn.Linear(1, hidden_size)
        self.embed_action_disc = nn.Embedding(bins + 1, hidden_size, padding_idx=bins)
        self.embed_ln = nn.LayerNorm(hidden_size)
        self.action_net = nn.Sequential(nn.Linear(hidden_size, bins))
        self.predict_return, self.predict_reward = nn.Linear(hidden_size, 1), nn.Linear(hidden_size, 1)
        for layer in (self.embed_return, self.embed_rewards, self.action_net[0], self.predict_return,
                      self.predict_reward):  # fmt: skip
            nn.init.normal_(layer.weight, std=INIT_STD)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.embed_timestep.weight, std=INIT_STD)

    @property
    def tokens_per_step(self) -> int:
        return self.act_dim + 3

    def embed(self, batch: Sequences) -> Tensor:
        """Tokens as they enter the encoder, [ B x K·(A + 3) x d ]."""
        actions = torch.where(batch.mask[..., None] != 0, batch.actions, self.bins)
        parts = [
            self.embed_state(batch.states)[:, :, None],
            self.embed_return(batch.returns[..., None])[:, :, None],
            self.embed_action_disc(actions),
            self.embed_rewards(batch.rewards[..., None])[:, :, None],
        ]
        times = self.embed_timestep(batch.timesteps.clamp(max=self.max_ep_len - 1))[:, :, None]
        return self.embed_ln(torch.cat(parts, dim=2) + times).flatten(1, 2)

    def query(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Mean of the state tokens at real steps, by which a modulator is chosen, [ B x d ].

        tokens : [ B x K·n x d ], of which the first of each step is the state's    mask : [ B x K ]
        """
        states = tokens.unflatten(1, (mask.shape[1], -1))[:, :, 0]
        mask = mask.to(states)[..., None]
        return (states * mask).sum(1) / mask.sum(1)

    def hidden(self, tokens: Tensor, mask: Tensor, modulator=None, ids=None, hide=None) -> Tensor:
        """The last hidden states, [ B x K x (A + 3) x d ].

        tokens : as `embed` returns them
        mask   : [ B x K ]
        hide   : [ B ], true of sequences whose actions are seen within their own step alone
        """
        keys = mask.repeat_interleave(self.tokens_per_step, dim=1)
        hidden = None if hide is None else hide[:, None, None] & self.is_past_action(mask.shape[1]).to(hide.device)
        return self.encoder(tokens, keys, modulator, ids, hidden).unflatten(1, (mask.shape[1], -1))

    def is_past_action(self, n_steps: int) -> Tensor:
        """Which keys are actions of other steps than the query's, or rewards, which have seen them, [ T x T ]."""
        place = torch.arange(n_steps * self.tokens_per_step)
        step, kind = place // self.tokens_per_step, place % self.tokens_per_step
        return (step[:, None] != step[None]) & (kind >= 2)[None]

    def read(self, hidden: Tensor) -> Outputs:
        """Predictions from hidden states, [ B x K x (A + 3) x d ]."""
        return Outputs(
            self.action_net(hidden[:, :, 1:-2]),
            self.predict_return(hidden[:, :, 0]),
            self.predict_reward(hidden[:, :, -2]),
        )

    def forward(self, batch: Sequences, modulator: Modulator | None = None, ids: Tensor | None = None, hide=None):
        """Predict at every step; what stands at padded steps means nothing.    returns : `Outputs`"""
        return self.read(self.hidden(self.embed(batch), batch.mask, modulator, ids, hide))


def action_loss(logits: Tensor, actions: Tensor, mask: Tensor) -> Tensor:
    """Mean cross-entropy over the columns that exist at real steps.

    logits : [ B x K x A x bins ]    actions : [ B x K x A ]    mask : [ B x K x A ]
    """
    losses = F.cross_entropy(logits.flatten(0, 2), actions.flatten(), reduction='none')
    weights = mask.flatten().to(losses)
    return (losses * weights).sum() / weights.sum()
