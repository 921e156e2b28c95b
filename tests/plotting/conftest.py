"""The files that plans leave behind, as `scripts/plan.py` and as the reference implementation write them."""

import json

import pytest

REFERENCE_KEYS = ('score', 'return', 'step', 'term', 'gpt_epoch')


@pytest.fixture(scope='session')
def write_rollout():
    """Write one `folder/rollout.json`; changes to its keys come by name, `return` as `return_`."""

    def write(folder, *, reference=False, **changes):
        rollout = {
            'score': 0.5,
            'return': 1000.0,
            'step': 1000,
            'term': False,
            'gpt_epoch': 50,
            'seed': 0,
            'environment': 'Hopper-v4',
            'physics': 'd4rl',
            'data_source': 'D4RL',
            'dataset': 'hopper-medium-v2',
            'seconds_per_step': 0.1,
            'stop_tokens': 0,
            **{key.removesuffix('_'): value for key, value in changes.items()},
        }
        if reference:
            rollout = {key: rollout[key] for key in REFERENCE_KEYS}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'rollout.json').write_text(json.dumps(rollout))

    return write


@pytest.fixture(scope='session')
def write_training():
    """Write the folder of a training run that ended well; changes to its settings come by name."""

    def write(folder, *, n_epochs=2, metrics=None, **settings):
        folder.mkdir(parents=True)
        (folder / 'args.json').write_text(
            json.dumps(
                {
                    'experiment': 'train',
                    'dataset': 'hopper-medium-v2',
                    'n_epochs': n_epochs,
                    'seed': 0,
                    'n_layer': 4,
                    'log_freq': 10,
                    'commit': '0123456789abcdef',
                    'versions': {'python': '3.12.1', 'torch': '2.9.0'},
                    **settings,
                }
            )
        )
        (folder / 'source.json').write_text(
            json.dumps(
                {
                    'environment': 'Hopper-v4',
                    'physics': 'd4rl',
                    'data_source': 'D4RL',
                    'transitions': 999906,
                    'episodes': 2186,
                    'mean_return': 1422.1,
                    'best_tenth_return': 2300.5,
                }
            )
        )
        (folder / 'model_config.json').write_text('{}')
        (folder / f'state_{n_epochs}.pt').write_bytes(b'weights')
        (folder / 'metrics.jsonl').write_text(
            metrics
            or ''.join(
                json.dumps(
                    {
                        'epoch': step / 20,
                        'step': step,
                        'tokens': 1000 * step,
                        'loss': 3 - step / 40,
                        'learning_rate': 6e-4,
                        'heldout_loss': 3.1 - step / 40 if step % 20 == 0 else None,
                    }
                )
                + '\n'
                for step in range(10, 50, 10)
            )
        )

    return write
