"""Speak Hugging Face's dialect: its names of our weights and settings, both ways.

Its port of this model, `TrajectoryTransformerModel` of `transformers` up to 4.57, computes the same numbers; only
`blocks.i.mlp.0` and `blocks.i.mlp.2` are `blocks.i.l1` and `blocks.i.l2` there, and new releases keep no `attn.mask`.
"""

import copy
import logging
import re
from pathlib import Path

import torch

from trajectory.storage.config import Config, class_name
from trajectory.storage.limits import MODEL
from trajectory.utils.errors import InputError

log = logging.getLogger(__name__)

MODEL_TYPE = 'trajectory_transformer'
GPT = 'trajectory.models.transformers:GPT'
DEFAULTS = {  # of its config, for files that leave some out
    'vocab_size': 100,
    'block_size': 249,
    'n_layer': 4,
    'n_head': 4,
    'n_embd': 128,
    'observation_dim': 17,
    'action_dim': 6,
    'transition_dim': 25,
    'action_weight': 5,
    'reward_weight': 1,
    'value_weight': 1,
    'embd_pdrop': 0.1,
    'resid_pdrop': 0.1,
    'attn_pdrop': 0.1,
}
EXTRA = 'trajectory'  # the entry of its config.json under which ours keeps what it has no name for


def to_huggingface_names(weights: dict) -> dict:
    """Our weights under its names."""
    renamed = {re.sub(r'^(blocks\.\d+\.)mlp\.([02])\.', _to_l, name): value for name, value in weights.items()}
    return {name: value for name, value in renamed.items() if not name.endswith('.attn.mask')}


def from_huggingface_names(weights: dict) -> dict:
    """Its weights under our names."""
    return {re.sub(r'^(blocks\.\d+\.)l([12])\.', _to_mlp, name): value for name, value in weights.items()}


def _to_l(match):
    return f'{match[1]}l{1 if match[2] == "0" else 2}.'


def _to_mlp(match):
    return f'{match[1]}mlp.{0 if match[2] == "1" else 2}.'


def to_huggingface_config(recipe: Config, extra: dict | None = None) -> dict:
    """What its config.json says of such a model; `extra` is kept in an entry of our own."""
    check_has_a_port(recipe)
    settings = {name: recipe[name] for name in MODEL}
    return {'architectures': ['TrajectoryTransformerModel'], 'model_type': MODEL_TYPE, **settings, EXTRA: extra or {}}


def check_has_a_port(recipe: Config) -> None:
    """Refuse a model that its port has no class for."""
    if class_name(recipe._class) != GPT or recipe.get('share_head'):
        kind = 'shared output head' if recipe.get('share_head') else recipe._class.__name__
        raise InputError(
            f"Hugging Face's port knows no {kind}, only the plain GPT.\n  Keep this model in the format `pretrained`."
        )


def from_huggingface_config(config: dict) -> Config:
    """The recipe of the model that its config.json describes."""
    return Config(GPT, verbose=False, **{name: config.get(name, default) for name, default in DEFAULTS.items()})


def to_transformers(model):
    """The same model as one of the installed `transformers`, in evaluation mode."""
    from trajectory.algorithms.trajectory_transformer.building import recipe_of

    settings = to_huggingface_config(recipe_of(model))
    port = _port()
    twin = port.TrajectoryTransformerModel(port.TrajectoryTransformerConfig(**{name: settings[name] for name in MODEL}))
    masks = {name: value for name, value in twin.state_dict().items() if name.endswith('.attn.mask')}
    twin.load_state_dict({**masks, **to_huggingface_names(model.state_dict())})
    return twin.eval()


def from_transformers(twin):
    """The same model as one of ours, in evaluation mode; its weights are copies."""
    model = from_huggingface_config(twin.config.to_dict())()
    masks = {name: value for name, value in model.state_dict().items() if name.endswith('.attn.mask')}
    model.load_state_dict({**masks, **from_huggingface_names(twin.state_dict())})
    return model.eval()


def _port():
    try:
        import transformers

        return transformers if transformers.TrajectoryTransformerModel else None
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"there is no `transformers` with Hugging Face's port here: {error}\n"
            '  Install one that has it: pip install -c constraints.txt -e .[test]'
        ) from error


def check_port_reads(folder: Path, model, idx: torch.Tensor) -> None:
    """Make sure that `transformers`, where it is installed, reads a folder as the same model.    idx : [ B x T ]"""
    try:
        port = _port()
    except InputError:
        log.info('transformers is not installed: what it would read was not tried')
        return
    twin = port.TrajectoryTransformerModel.from_pretrained(folder).double().eval()
    with torch.no_grad():
        expected, found = copy.deepcopy(model).double()(idx)[0], twin(idx)[0]
    difference = float((found - expected).abs().max())
    if difference > 1e-6:
        raise RuntimeError(f'transformers computes other logits from {folder}, by up to {difference:.1e}')
