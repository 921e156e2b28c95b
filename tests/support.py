"""What several tests need: the golden archives, and models made from them."""
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from trajectory.models.transformers import GPT

GOLDEN = Path(__file__).parent / 'golden'


def golden(name):
    """The arrays of one archive; a string is JSON, and is read."""
    with np.load(GOLDEN / f'{name}.npz') as archive:
        return {key: json.loads(str(archive[key])) if archive[key].dtype.kind == 'U' and '{' in str(archive[key])
                else archive[key] for key in archive.files}


def make_gpt(config, state=None, dtype=torch.float32, kind=GPT):
    """A model in evaluation mode.    state : {name: array}, its weights"""
    model = kind(SimpleNamespace(**config)).to(dtype).eval()
    if state is not None:
        model.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    return model


def state_of(arrays, group='state'):
    """The weights among golden arrays: `state/NAME` -> NAME."""
    return {name.removeprefix(f'{group}/'): value for name, value in arrays.items() if name.startswith(f'{group}/')}
