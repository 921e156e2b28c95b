"""Build a GPT from its recipe and weights, and refuse what does not fit."""

from pathlib import Path

import torch

from trajectory.storage.config import Config, class_name
from trajectory.storage.limits import check_model_settings
from trajectory.utils.errors import InputError


def build_model(config, config_path: Path, weights: dict, weights_path: Path):
    """The model of a recipe with these weights, in evaluation mode; what does not fit is named by its file.

    The constant `attn.mask` may be missing from the weights, as in Hugging Face's files.
    """
    _check_model_class(config, config_path)
    check_model_settings(config, config_path)
    misfit = f'{weights_path} does not fit the model that {config_path.name} beside it describes.\n'
    remedy = '\n  Were the two copied from different runs? Restore the pair, or download it again.'
    n_columns, n_bins, width = config['transition_dim'], config['vocab_size'], config['n_embd']
    n_heads = () if config.get('share_head') else (n_columns,)
    largest = {
        'pos_emb': (1, config['block_size'], width),
        'head.weight': (*n_heads, n_bins + 1, width),
        'tok_emb.weight': (n_columns * n_bins + 1, width),
    }
    for name, expected in largest.items():  # compared before anything so large is made
        found = tuple(weights[name].shape) if name in weights else None
        if found != expected:
            raise InputError(f'{misfit}  {name} has the shape {found}, expected {expected}.{remedy}')
    try:
        model = config()
    except ValueError as error:
        raise InputError(f'{config_path}: {error}.\n  Restore the file, or download it again.') from error

    masks = {name: value for name, value in model.state_dict().items() if name.endswith('.attn.mask')}
    if wrong := [name for name, value in masks.items() if name in weights and not torch.equal(value, weights[name])]:
        raise InputError(f'{misfit}  {wrong[0]} is not the mask of such a model.{remedy}')
    try:
        model.load_state_dict({**masks, **weights})
    except RuntimeError as error:
        raise InputError(f'{misfit}{error}{remedy}') from error
    return model.eval()


def _check_model_class(config, path):
    if not hasattr(config._class, 'get_block_size'):
        raise InputError(
            f'{path} describes a {class_name(config._class)}, expected a model.\n'
            '  Restore the file, or download it again.'
        )


def recipe_of(model) -> Config:
    """The recipe that builds such a model."""
    block = model.blocks[0]
    return Config(
        type(model),
        verbose=False,
        vocab_size=model.vocab_size,
        block_size=model.block_size,
        n_layer=len(model.blocks),
        n_head=block.attn.n_head,
        n_embd=model.embedding_dim,
        observation_dim=model.observation_dim,
        action_dim=model.action_dim,
        transition_dim=model.transition_dim,
        action_weight=model.action_weight,
        reward_weight=model.reward_weight,
        value_weight=model.value_weight,
        embd_pdrop=model.drop.p,
        resid_pdrop=block.attn.resid_drop.p,
        attn_pdrop=block.attn.attn_drop.p,
        **({'share_head': True} if model.shares_head else {}),
    )
