"""The files that plans leave behind, as `scripts/plan.py` and as the reference implementation write them."""
import json

import pytest

REFERENCE_KEYS = ('score', 'return', 'step', 'term', 'gpt_epoch')


@pytest.fixture
def write_rollout():
    """Write one `folder/rollout.json`; changes to its keys come by name, `return` as `return_`."""
    def write(folder, *, reference=False, **changes):
        rollout = {
            'score': 0.5, 'return': 1000.0, 'step': 1000, 'term': False, 'gpt_epoch': 50, 'seed': 0,
            'environment': 'Hopper-v4', 'physics': 'd4rl', 'data_source': 'D4RL',
            'dataset': 'hopper-medium-v2', 'seconds_per_step': 0.1, 'stop_tokens': 0,
            **{key.removesuffix('_'): value for key, value in changes.items()},
        }
        if reference:
            rollout = {key: rollout[key] for key in REFERENCE_KEYS}
        folder.mkdir(parents=True)
        (folder / 'rollout.json').write_text(json.dumps(rollout))

    return write
