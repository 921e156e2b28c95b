"""Write frames as videos that every browser plays: H.264, yuv420p."""

from pathlib import Path

import numpy as np

from trajectory.utils.errors import InputError
from trajectory.utils.files import mkdir, write_atomically


def save_video(filename: str | Path, video_frames: np.ndarray, fps: int = 60) -> None:
    """Write one video; the file appears whole.

    video_frames : [ T x height x width x 3 ]  uint8, or floats from 0 to 1
    """
    import imageio.v3 as imageio

    frames = _to_bytes(video_frames)
    odd = [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)]
    frames = np.pad(frames, odd, mode='edge')  # yuv420p halves both sides
    mkdir(Path(filename).parent)
    with write_atomically(filename) as partial:
        imageio.imwrite(
            partial, frames, plugin='FFMPEG', fps=fps, codec='libx264', pixelformat='yuv420p', macro_block_size=2
        )


def save_videos(filename: str | Path, *video_frames: np.ndarray, axis: int = 1, **kwargs) -> None:
    """Write several videos as one, side by side (`axis` 1) or one above the other (0).

    video_frames : [ T x height x width x 3 ] each; the shorter wait at their end
    """
    videos = [_to_bytes(frames) for frames in video_frames]
    longest = max(len(frames) for frames in videos)
    waiting = [np.pad(frames, [(0, longest - len(frames)), (0, 0), (0, 0), (0, 0)], mode='edge') for frames in videos]
    save_video(filename, np.concatenate(waiting, axis=axis + 1), **kwargs)


def _to_bytes(video_frames):
    frames = np.asarray(video_frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
        raise InputError(f'a video needs frames [ T x height x width x 3 ], got {list(frames.shape)}')
    if frames.dtype == np.uint8:
        return frames
    if not np.issubdtype(frames.dtype, np.floating):
        raise InputError(f'a video needs frames of uint8, or of floats from 0 to 1, got {frames.dtype}')
    return (frames.clip(0, 1) * 255).round().astype(np.uint8)
