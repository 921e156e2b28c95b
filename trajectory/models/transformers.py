"""Read a trajectory as a sequence of tokens, and predict each token from those before it.

Two things set it apart from a text model: every column of a transition has an output layer of its own, and no
token may attend to a value column, so that plans cannot lean on the value they are to predict.

    B  sequences      T  tokens            D  tokens in a transition
    E  embedding      H  attention heads   N  bins, and so tokens, per column; token N means "the episode ended"
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trajectory.models.attention import Dropout, attend, make_attention_blocks
from trajectory.models.ein import EinLinear
from trajectory.models.reading import forward_with_cache
from trajectory.utils.layout import TransitionLayout


class CausalSelfAttention(nn.Module):
    """Attention to what came before, less the value columns.    x : [ B x T x E ]    returns : [ B x T x E ]"""

    # the names of the four layers, and the buffer `mask` [ 1 x 1 x block x block ], are in published checkpoints

    def __init__(self, config):
        super().__init__()
        if config.n_embd % config.n_head:
            raise ValueError(f'{config.n_head} heads cannot share an embedding of {config.n_embd} evenly')
        self.key = nn.Linear(config.n_embd, config.n_embd)
        self.query = nn.Linear(config.n_embd, config.n_embd)
        self.value = nn.Linear(config.n_embd, config.n_embd)
        self.proj = nn.Linear(config.n_embd, config.n_embd)
        self.attn_drop = Dropout(config.attn_pdrop)
        self.resid_drop = Dropout(config.resid_pdrop)
        self.n_head = config.n_head
        self.register_buffer('mask', self.visible(config).float()[None, None])
        self._plans = {}  # by number of tokens

    @staticmethod
    def visible(config) -> Tensor:
        """[ block x block ]  whether the token of a row may attend to the token of a column."""
        layout = TransitionLayout(config.observation_dim, config.action_dim)
        visible = torch.ones(config.block_size, config.block_size, dtype=torch.bool).tril()
        visible[:, layout.value :: layout.dim] = False
        return visible

    def forward(self, x: Tensor) -> Tensor:
        layers = (self.query, self.key, self.value)
        weight, bias = (torch.cat([getattr(layer, name) for layer in layers]) for name in ('weight', 'bias'))
        qkv = F.linear(x, weight, bias).unflatten(-1, (3, self.n_head, -1))  # [ B x T x 3 x H x E/H ]
        dropout = self.attn_drop.p if self.training else 0.0
        if x.device.type == 'cpu' and 0 < dropout < 1:
            mixed = attend(qkv, self._plan(x.shape[1]), dropout)  # [ B x T x H x E/H ]
        else:
            mixed = self.attend_fused(qkv, dropout)
        return self.resid_drop(self.proj(mixed.flatten(2)))

    def attend_fused(self, qkv: Tensor, dropout: float = 0.0) -> Tensor:
        """Attend with PyTorch's kernel.    qkv : [ B x T x 3 x H x E/H ]    returns : [ B x T x H x E/H ]"""
        q, k, v = qkv.transpose(1, 3).unbind(dim=2)  # [ B x H x T x E/H ]
        visible = self.mask[0, 0, : qkv.shape[1], : qkv.shape[1]] > 0
        return F.scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=dropout).transpose(1, 2)

    def _plan(self, n_tokens):
        if n_tokens not in self._plans:
            self._plans[n_tokens] = make_attention_blocks(self.mask[0, 0, :n_tokens, :n_tokens] > 0)
        return self._plans[n_tokens]


class Block(nn.Module):
    """Attention, then a feed-forward layer, each added to its input.    x : [ B x T x E ]    returns : the same"""

    def __init__(self, config):
        super().__init__()
        self.ln1 = nn.LayerNorm(config.n_embd)
        self.ln2 = nn.LayerNorm(config.n_embd)
        self.attn = self.attention(config)
        self.mlp = nn.Sequential(  # its names `mlp.0` and `mlp.2` are in published checkpoints
            nn.Linear(config.n_embd, 4 * config.n_embd),
            nn.GELU(),
            nn.Linear(4 * config.n_embd, config.n_embd),
            Dropout(config.resid_pdrop),
        )

    attention = CausalSelfAttention

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))


class GPT(nn.Module):
    """The Trajectory Transformer (Janner et al. 2021), a minGPT with one output layer per column.

    config : vocab_size (N), block_size (tokens), n_layer, n_head, n_embd (E, the whole width), observation_dim,
             action_dim, transition_dim (D), {action, reward, value}_weight, {embd, resid, attn}_pdrop; if present,
             share_head for one output layer instead of one per column
    """

    takes_config = True  # `Config` hands it the recipe whole
    block = Block
    n_goal = 0  # tokens read before the first transition

    def __init__(self, config):
        super().__init__()
        self.layout = TransitionLayout(config.observation_dim, config.action_dim)
        if config.transition_dim != self.layout.dim:
            raise ValueError(
                f'a transition of {config.observation_dim} observation and {config.action_dim} action columns has '
                f'{self.layout.dim} tokens with its reward and value, not {config.transition_dim}'
            )
        self.vocab_size = config.vocab_size
        self.block_size = config.block_size
        self.transition_dim = config.transition_dim
        self.observation_dim = config.observation_dim
        self.action_dim = config.action_dim
        self.embedding_dim = config.n_embd
        self.stop_token = config.vocab_size * config.transition_dim
        self.action_weight = config.action_weight
        self.reward_weight = config.reward_weight
        self.value_weight = config.value_weight

        self.tok_emb = nn.Embedding(config.vocab_size * config.transition_dim + 1, config.n_embd)
        self.pos_emb = nn.Parameter(torch.zeros(1, config.block_size, config.n_embd))
        self.drop = Dropout(config.embd_pdrop)
        self.blocks = nn.Sequential(*[self.block(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd)
        self.shares_head = bool(getattr(config, 'share_head', False))
        if self.shares_head:
            self.head = nn.Linear(config.n_embd, config.vocab_size + 1, bias=False)
        else:
            self.head = EinLinear(config.transition_dim, config.n_embd, config.vocab_size + 1, bias=False)
        self.apply(self._init_weights)

    @staticmethod
    def _init_weights(module):
        if isinstance(module, nn.Linear | nn.Embedding):  # EinLinear keeps its own start
            nn.init.normal_(module.weight, std=0.02)
            if getattr(module, 'bias', None) is not None:
                nn.init.zeros_(module.bias)

    def get_block_size(self) -> int:
        """The most tokens of transitions that a forward pass can read."""
        return self.block_size

    def forward(self, idx: Tensor, targets: Tensor | None = None, mask: Tensor | None = None, **asked):
        """Predict, after every token, the next one.

        idx     : [ B x T ]  tokens, beginning with the first column of a transition
        targets : [ B x T ]  the tokens one further on
        mask    : [ B x T ]  which of them count; all, if not given
        asked   : use_cache, past_key_values, attention_mask, output_attentions and more: see `reading.read`
        returns : [ B x T x N+1 ] logits, and the loss (None without targets)
        """
        if asked:
            return forward_with_cache(self, idx, None, targets, mask, **asked)
        return self._predict(self.embed(idx), targets, mask)

    def _predict(self, embedded, targets, mask):
        hidden = self.ln_f(self.blocks(self.drop(embedded))[:, self.n_goal :])
        padded, _ = self.pad_to_full_observation(hidden)
        logits = self.head(padded).reshape(len(hidden), -1, self.vocab_size + 1)[:, : hidden.shape[1]]
        return logits, None if targets is None else self.loss(logits, targets, mask)

    def head_weight(self, column: int) -> Tensor:
        """[ N+1 x E ]  the output layer of the token after a column."""
        return self.head.weight if self.shares_head else self.head.weight[column]

    def embed(self, idx: Tensor, start: int = 0) -> Tensor:
        """[ B x T x E ]  tokens in the places `start`, `start + 1`, … of a sequence."""
        end = start + idx.shape[1]
        if end > self.block_size:
            raise ValueError(f'a sequence of {end} tokens does not fit the block of {self.block_size}')
        return self.tok_emb(self.offset_tokens(idx, start)) + self.pos_emb[:, start:end]

    def offset_tokens(self, idx: Tensor, start: int = 0) -> Tensor:
        """[ B x T ]  rows of the embedding table: column j has the N after j·N, the stop token one for all columns."""
        columns = torch.arange(start, start + idx.shape[1], device=idx.device) % self.transition_dim
        return torch.where(idx == self.vocab_size, self.stop_token, idx + columns * self.vocab_size)

    def pad_to_full_observation(self, x: Tensor, verify: bool = False) -> tuple[Tensor, int]:
        """Cut a sequence into transitions, the last one filled up with zeros.

        x       : [ B x T x E ]
        verify  : make sure that every token kept its place
        returns : [ B·⌈T/D⌉ x D x E ], and how many tokens were filled up
        """
        n_pad = -x.shape[1] % self.transition_dim
        x_pad = F.pad(x, (0, 0, 0, n_pad)).reshape(-1, self.transition_dim, x.shape[-1])
        if verify and not self.verify(x, x_pad):
            raise RuntimeError('tokens moved while they were cut into transitions')
        return x_pad, n_pad

    def verify(self, x: Tensor, x_pad: Tensor) -> bool:
        """Whether `x_pad`, made from `x` by `pad_to_full_observation`, still has every token at its place."""
        joined = x_pad.reshape(len(x), -1, x.shape[-1])
        return bool((joined[:, : x.shape[1]] == x).all() and (joined[:, x.shape[1] :] == 0).all())

    def loss(self, logits: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Cross-entropy, weighted by column, averaged over all tokens: the masked ones count as zeros."""
        return (self.token_losses(logits, targets, mask) * self.token_weights(targets.shape[1], targets.device)).mean()

    def token_losses(self, logits: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """[ B x T ]  cross-entropy of every token, unweighted; 0 where it is masked."""
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction='none').view_as(targets)
        return losses if mask is None else losses * mask

    def token_weights(self, n_tokens: int, device) -> Tensor:
        """[ T ]  how much each of the first `n_tokens` targets counts in the loss, by its column."""
        weights = torch.ones(self.transition_dim, device=device)
        weights[self.layout.action] = self.action_weight
        weights[self.layout.reward] = self.reward_weight
        weights[self.layout.value] = self.value_weight
        return weights[torch.arange(1, n_tokens + 1, device=device) % self.transition_dim]

    def configure_optimizers(self, train_config) -> torch.optim.AdamW:
        """AdamW; only the matrices of Linear and EinLinear decay.

        train_config : learning_rate, betas, weight_decay
        """
        decayed = {id(module.weight) for module in self.modules() if isinstance(module, nn.Linear | EinLinear)}
        groups = [
            {'params': [p for p in self.parameters() if id(p) in decayed], 'weight_decay': train_config.weight_decay},
            {'params': [p for p in self.parameters() if id(p) not in decayed], 'weight_decay': 0.0},
        ]
        fused = self.pos_emb.device.type in ('cpu', 'cuda')
        return torch.optim.AdamW(groups, lr=train_config.learning_rate, betas=tuple(train_config.betas), fused=fused)


class GoalAttention(CausalSelfAttention):
    """Attention in which every token sees the whole goal, and the transitions as before.    x : [ B x G+T x E ]"""

    @staticmethod
    def visible(config) -> Tensor:
        n_goal = config.observation_dim
        visible = torch.zeros(n_goal + config.block_size, n_goal + config.block_size, dtype=torch.bool)
        visible[:, :n_goal] = True
        visible[n_goal:, n_goal:] = CausalSelfAttention.visible(config)
        return visible


class GoalBlock(Block):
    attention = GoalAttention


class ConditionalGPT(GPT):
    """A GPT that reads a goal, an observation, before the trajectory that should lead there.

    The goal's tokens share the observations' embeddings and have no position.
    """

    block = GoalBlock

    def __init__(self, config):
        super().__init__(config)
        self.n_goal = config.observation_dim

    def forward(
        self, idx: Tensor, goal: Tensor | None, targets: Tensor | None = None, mask: Tensor | None = None, **asked
    ):
        """As `GPT.forward`.    goal : [ B x observation_dim ]  tokens"""
        if asked:
            return forward_with_cache(self, idx, goal, targets, mask, **asked)
        return self._predict(torch.cat([self.embed_goal(goal), self.embed(idx)], dim=1), targets, mask)

    def embed_goal(self, goal: Tensor) -> Tensor:
        """[ B x observation_dim x E ]"""
        if goal.shape[1] != self.observation_dim:
            raise ValueError(f'a goal has {self.observation_dim} tokens, this one has {goal.shape[1]}')
        return self.tok_emb(self.offset_tokens(goal))
