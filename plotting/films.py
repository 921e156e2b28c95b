"""Take videos into a page, as far as there is room for them, and link the others."""

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from plotting.runs import Episode

MEDIA_TYPES = {'.mp4': 'video/mp4', '.png': 'image/png'}


@dataclass(frozen=True)
class Film:
    """A video, or for mazes a picture, as the page shows it.

    src  : the file itself, or its address seen from the page
    path : its address seen from the page
    """

    src: str
    path: str
    megabytes: float
    is_within: bool
    is_picture: bool


def collect_films(episodes: list[Episode], page: Path, budget: float) -> dict[Path, Film]:
    """Take videos into the page, whole episodes before plans and small ones before large ones.

    budget : bytes of videos that the page may hold
    """
    rollouts = [episode.rollout_video for episode in episodes if episode.rollout_video]
    plans = [path for episode in episodes for _, path in episode.plan_videos]
    sizes = {path: path.stat().st_size for path in rollouts + plans}
    films = {}
    for path in sorted(rollouts, key=sizes.get) + sorted(plans, key=sizes.get):
        address = address_of(path, page)
        is_within = sizes[path] <= budget
        if is_within:
            budget -= sizes[path]
            content = base64.b64encode(path.read_bytes()).decode()
        films[path] = Film(
            f'data:{MEDIA_TYPES[path.suffix]};base64,{content}' if is_within else address,
            address,
            sizes[path] / 2**20,
            is_within,
            path.suffix == '.png',
        )
    return films


def address_of(path: Path, page: Path) -> str:
    """Where a file lies, seen from the page."""
    return quote(os.fsencode(os.path.relpath(path, page.parent)))
