"""Read with what Hugging Face's page of this model promises: a cache, a mask on attention, a look inside.

The same numbers as the plain `forward`, at every position and in training; slower, because it keeps what fused kernels
drop. Planning has a cache of its own, faster and for many candidates at once: see `decoding`.

    B  sequences      T  tokens given now      P  tokens read before      H  heads      E  embedding
"""

from contextlib import nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class ModelOutput(NamedTuple):
    """What was asked for; None where nothing was.

    logits          : [ B x T x N+1 ]
    loss            : of the targets
    past_key_values : a pair of keys and values a layer, each [ B x H x P+T x E/H ]; a goal's come first
    hidden_states   : what goes into each block, and what comes out of the last, each [ B x T x E ]
    attentions      : weights of each layer before dropout, [ B x H x T x P+T ]
    """

    logits: Tensor
    loss: Tensor | None
    past_key_values: tuple[tuple[Tensor, Tensor], ...] | None
    hidden_states: tuple[Tensor, ...] | None
    attentions: tuple[Tensor, ...] | None


def forward_with_cache(
    model,
    idx: Tensor,
    goal: Tensor | None,
    targets: Tensor | None,
    mask: Tensor | None,
    *,
    past_key_values=None,
    attention_mask: Tensor | None = None,
    use_cache: bool = False,
    output_attentions: bool = False,
    output_hidden_states: bool = False,
    gradient_checkpointing: bool = False,
    bfloat16: bool = False,
):
    """Predict, after every token, the next one.    idx, goal, targets, mask : as for the model's `forward`

    past_key_values        : of the tokens before `idx`, from a reading with `use_cache`; a goal is among them
    attention_mask         : [ B x P+T ]  0 where nobody may attend to a token, itself included
    use_cache              : return the keys and values of all tokens
    output_attentions      : return what attends to what
    output_hidden_states   : return what goes from block to block
    gradient_checkpointing : compute the blocks again for the gradient, rather than keep them in memory
    bfloat16               : multiply matrices in half precision
    returns                : logits and loss, or, where more was asked for, a `ModelOutput`
    """
    n_read = past_key_values[0][0].shape[2] if past_key_values else 0
    start = max(0, n_read - model.n_goal)
    with torch.autocast(idx.device.type, torch.bfloat16) if bfloat16 else nullcontext():
        embedded = model.embed(idx, start)
        if model.n_goal and not n_read:
            embedded = torch.cat([model.embed_goal(goal), embedded], dim=1)
        visible = find_visible(model, n_read, embedded.shape[1], attention_mask)
        hidden, states, pairs, attentions = model.drop(embedded), [], [], []
        for number, block in enumerate(model.blocks):
            states.append(hidden)
            past = past_key_values[number] if past_key_values else None
            given = hidden, visible, past
            if gradient_checkpointing:
                hidden, pair, weights = checkpoint(run_block, block, *given, use_reentrant=False)
            else:
                hidden, pair, weights = run_block(block, *given)
            pairs.append(pair if use_cache else None)
            attentions.append(weights if output_attentions else None)
        states.append(hidden)
        logits = predict(model, hidden[:, -idx.shape[1] :], start)
    logits = logits.float() if bfloat16 else logits
    loss = None if targets is None else find_loss(model, logits, targets, mask, start)
    if not (use_cache or output_attentions or output_hidden_states):
        return logits, loss
    return ModelOutput(
        logits,
        loss,
        tuple(pairs) if use_cache else None,
        tuple(states) if output_hidden_states else None,
        tuple(attentions) if output_attentions else None,
    )


def find_visible(model, n_read: int, n_new: int, attention_mask: Tensor | None) -> Tensor:
    """[ B or 1 x 1 x T x P+T ]  whether a new token may attend to one before it, a goal's among both."""
    n_all = n_read + n_new
    visible = model.blocks[0].attn.mask[:, :, n_read:n_all, :n_all] > 0
    if attention_mask is None:
        return visible
    if attention_mask.shape[1] != n_all - model.n_goal:
        raise ValueError(
            f'expected an attention_mask of {n_all - model.n_goal} tokens, those read before included, '
            f'got {attention_mask.shape[1]}'
        )
    return visible & F.pad(attention_mask.bool(), (model.n_goal, 0), value=True)[:, None, None]


def run_block(block, x: Tensor, visible: Tensor, past):
    """A block's output, its keys and values with those of the `past`, and its attention before dropout."""
    mixed, pair, weights = attend(block.attn, block.ln1(x), visible, past)
    x = x + mixed
    return x + block.mlp(block.ln2(x)), pair, weights


def attend(attn, x: Tensor, visible: Tensor, past):
    """Attention spelled out; a token that sees nothing takes nothing."""
    q, k, v = (
        layer(x).unflatten(-1, (attn.n_head, -1)).transpose(1, 2) for layer in (attn.query, attn.key, attn.value)
    )  # [ B x H x T x E/H ]
    if past is not None:
        k, v = (torch.cat(both, dim=2) for both in zip(past, (k, v), strict=True))
    scores = (q * k.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # [ B x H x T x P+T ]
    scores = scores.masked_fill(~visible, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1) * visible
    mixed = attn.attn_drop(weights).to(v.dtype) @ v
    return attn.resid_drop(attn.proj(mixed.transpose(1, 2).flatten(2))), (k, v), weights


def predict(model, hidden: Tensor, start: int) -> Tensor:
    """[ B x T x N+1 ]  logits of the tokens from the place `start` on.    hidden : [ B x T x E ]"""
    n_before = start % model.transition_dim
    padded, _ = model.pad_to_full_observation(F.pad(model.ln_f(hidden), (0, 0, n_before, 0)))
    logits = model.head(padded).reshape(len(hidden), -1, model.vocab_size + 1)
    return logits[:, n_before : n_before + hidden.shape[1]]


def find_loss(model, logits: Tensor, targets: Tensor, mask: Tensor | None, start: int) -> Tensor:
    """The loss of the tokens from the place `start` on, each weighted by the column it stands in."""
    n_before = start % model.transition_dim  # filled up with tokens that do not count, but are averaged over
    mask = torch.ones_like(targets) if mask is None else mask
    loss = model.loss(F.pad(logits, (0, 0, n_before, 0)), F.pad(targets, (n_before, 0)), F.pad(mask, (n_before, 0)))
    return loss * ((n_before + targets.shape[1]) / targets.shape[1])
