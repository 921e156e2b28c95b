"""Videos read back frame by frame."""

import imageio.v3 as imageio
import numpy as np
import pytest

from trajectory.utils.errors import InputError
from trajectory.utils.video import save_video, save_videos


def grey(n_frames, height=32, width=48, start=0):
    """Frames of one brightness each, rising."""
    levels = (start + 10 * np.arange(n_frames)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (n_frames, height, width, 3))


def test_a_video_plays_back_as_it_was(tmp_path):
    save_video(tmp_path / 'new' / 'a.mp4', grey(15), fps=30)
    frames = imageio.imread(tmp_path / 'new' / 'a.mp4')
    assert frames.shape == (15, 32, 48, 3)
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), 10 * np.arange(15), atol=4)
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['a.mp4']


def test_floats_and_odd_sizes_are_taken(tmp_path):
    save_video(tmp_path / 'a.mp4', np.full((4, 31, 33, 3), 0.5))
    frames = imageio.imread(tmp_path / 'a.mp4')
    assert frames.shape == (4, 32, 34, 3)
    np.testing.assert_allclose(frames.mean(), 128, atol=4)


def test_the_shorter_video_waits_at_its_end(tmp_path):
    save_videos(tmp_path / 'a.mp4', grey(6), grey(3, start=100), axis=1)
    frames = imageio.imread(tmp_path / 'a.mp4')
    assert frames.shape == (6, 32, 96, 3)
    np.testing.assert_allclose(frames[:, :, 60:].mean(axis=(1, 2, 3)), [100, 110, 120, 120, 120, 120], atol=5)


def test_no_frames_make_no_video(tmp_path):
    with pytest.raises(InputError, match=r'got \[0, 32, 48, 3\]'):
        save_video(tmp_path / 'a.mp4', grey(0))
    assert not list(tmp_path.iterdir())


def test_an_empty_video_beside_another_is_refused(tmp_path):
    with pytest.raises(InputError, match=r'got \[0, 32, 48, 3\]'):
        save_videos(tmp_path / 'a.mp4', grey(3), grey(0))


def test_floats_beside_bytes_are_as_bright_as_alone(tmp_path):
    save_videos(tmp_path / 'a.mp4', np.full((2, 32, 32, 3), 0.25), np.full((2, 32, 32, 3), 192, dtype=np.uint8))
    frames = imageio.imread(tmp_path / 'a.mp4')
    np.testing.assert_allclose(frames[:, :, :28].mean(), 64, atol=4)
    np.testing.assert_allclose(frames[:, :, 36:].mean(), 192, atol=4)


def test_videos_stand_above_one_another_on_axis_0(tmp_path):
    save_videos(tmp_path / 'a.mp4', grey(2), grey(2), axis=0)
    assert imageio.imread(tmp_path / 'a.mp4').shape == (2, 64, 48, 3)


def test_whole_numbers_that_are_no_bytes_are_refused(tmp_path):
    with pytest.raises(InputError, match='or of floats from 0 to 1, got int64'):
        save_video(tmp_path / 'a.mp4', grey(2).astype(np.int64))


def test_a_video_that_cannot_be_written_leaves_the_old_one(tmp_path):
    save_video(tmp_path / 'a.mp4', grey(3))
    with pytest.raises(AssertionError, match='fps'):
        save_video(tmp_path / 'a.mp4', grey(5), fps='often')
    assert len(imageio.imread(tmp_path / 'a.mp4')) == 3
    assert [path.name for path in tmp_path.iterdir()] == ['a.mp4']
