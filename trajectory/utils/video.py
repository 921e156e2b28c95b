"""Write frames as videos that every browser plays: H.264, yuv420p."""
from pathlib import Path

import numpy as np

from trajectory.utils.errors import InputError
from trajectory.utils.serialization import mkdir, write_atomically


def save_video(filename: str | Path, video_frames: np.ndarray, fps: int = 60) -> None:
    """Write one video; the file appears whole.

    video_frames : [ T x height x width x 3 ]  uint8, or floats from 0 to 1
    """
    import imageio.v3 as imageio

    frames = np.asarray(video_frames)
    if frames.ndim != 4 or frames.shape[-1] != 3 or not len(frames):
        raise InputError(f'a video needs frames [ T x height x width x 3 ], got {list(frames.shape)}')
    if frames.dtype != np.uint8:
        frames = (frames.clip(0, 1) * 255).round().astype(np.uint8)
    odd = [(0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)]
    frames = np.pad(frames, odd, mode='edge')  # yuv420p halves both sides
    mkdir(Path(filename).parent)
    with write_atomically(filename) as partial:
        imageio.imwrite(partial, frames, plugin='FFMPEG', fps=fps, codec='libx264', pixelformat='yuv420p',
                        macro_block_size=2)


def save_videos(filename: str | Path, *video_frames: np.ndarray, axis: int = 1, **kwargs) -> None:
    """Write several videos as one, side by side (`axis` 1) or one above the other (0); the shorter wait at their end.

    video_frames : [ T x height x width x 3 ] each
    """
    longest = max(len(frames) for frames in video_frames)
    waiting = [np.concatenate([frames, frames[-1:].repeat(longest - len(frames), axis=0)]) for frames in video_frames]
    save_video(filename, np.concatenate(waiting, axis=axis + 1), **kwargs)
