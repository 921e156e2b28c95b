"""The reference's module of renderers: see `trajectory.rendering`."""

from trajectory.rendering.renderers import (
    AntMazeRenderer,
    DebugRenderer,
    KitchenRenderer,
    Maze2dRenderer,
    Renderer,
    make_renderer,
    rollout_from_state,
    set_state,
    split,
)

__all__ = [
    'AntMazeRenderer',
    'DebugRenderer',
    'KitchenRenderer',
    'Maze2dRenderer',
    'Renderer',
    'make_renderer',
    'rollout_from_state',
    'set_state',
    'split',
]
