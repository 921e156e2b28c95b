"""Folders of shared models appear whole or not at all; the Hub and other formats are in test_pretrained.py."""

import pytest
import torch

from trajectory.storage.model_files import read_folder_weights, save_safetensors, write_folder
from trajectory.utils.errors import InputError


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(FileNotFoundError), write_folder(tmp_path / 'x') as folder:
        (folder / 'none/a').touch()
    assert not list(tmp_path.iterdir())
    with write_folder(tmp_path / 'x') as folder:
        save_safetensors({'a': torch.arange(6.0).view(2, 3).T}, folder)
    weights, path = read_folder_weights(tmp_path / 'x')
    assert path == tmp_path / 'x/model.safetensors'
    assert torch.equal(weights['a'], torch.arange(6.0).view(2, 3).T)
    with pytest.raises(InputError, match='is there already'), write_folder(tmp_path / 'x'):
        pass


def test_weights_that_are_absent_or_cut_are_named(tmp_path):
    with pytest.raises(InputError, match=r'holds neither model.safetensors nor pytorch_model.bin'):
        read_folder_weights(tmp_path)
    save_safetensors({'a': torch.ones(100)}, tmp_path)
    path = tmp_path / 'model.safetensors'
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match='cannot be read as weights'):
        read_folder_weights(tmp_path)
