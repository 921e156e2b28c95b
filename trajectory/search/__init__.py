"""The planner: beam search over what the model imagines."""

from trajectory.search.core import VALUE_PLACEHOLDER, beam_plan, beam_search, likeliest_plan, search
from trajectory.search.sampling import sample_n
from trajectory.search.settings import SearchSettings
from trajectory.search.utils import extract_actions, make_prefix, update_context

__all__ = [
    'VALUE_PLACEHOLDER',
    'SearchSettings',
    'beam_plan',
    'beam_search',
    'extract_actions',
    'likeliest_plan',
    'make_prefix',
    'sample_n',
    'search',
    'update_context',
]
