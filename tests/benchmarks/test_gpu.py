"""The one call that checks and measures a CUDA machine, on whatever device is here."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_one_call_checks_and_measures_a_machine(tmp_path):
    done = subprocess.run(
        ['bash', ROOT / 'benchmarks' / 'gpu.sh', tmp_path, '--settings', 'halfcheetah'],
        env={'PYTHON': sys.executable, 'PATH': '/usr/bin:/bin', 'GPU_SECONDS': '400', 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / 'gpu.json').read_text())
    assert not {part: result for part, result in found.items() if 'failed' in result}
    assert found['golden'].pop('largest_difference_of_logits') < 1e-4
    assert all(found['golden'].values())
    assert found['graphs']['equal']
    assert not found['sync']['waits']
    assert found['resume']['was_killed']
    assert found['resume']['equal']
    assert found['plan']['halfcheetah x 1']['eager_s'] > 0
    assert {'plain', 'float32', 'bfloat16'} <= set(found['train'])
    table = (tmp_path / 'gpu.md').read_text()
    assert '| golden | plan0 | True |' in table
    assert table in done.stdout
