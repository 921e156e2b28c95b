"""Run a sweep on machines that doodad starts on Azure, as the reference did; each ends with its variant.

doodad is installed from its repository. The package that PyPI has under this name is another one, and is refused.
"""

import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from trajectory.sweeps.description import ROOT, Variant
from trajectory.sweeps.work import Outcome, environment
from trajectory.utils.errors import InputError

REPOSITORY = 'git+https://github.com/JannerM/doodad.git@janner'


def run(
    variants: list[Variant],
    config_path: Path,
    region: str | None = None,
    gpu_model: str | None = None,
    log_path: str = 'logs',
    mode: str = 'azure',
) -> Iterator[Outcome]:
    """Start a machine for each variant, and yield it; the machine puts the results where `azure/sync.sh` finds them.

    config_path : the module that doodad reads the cloud's settings from
    log_path    : folder of the results in the storage container
    """
    sweep_function = import_sweep_function()
    runpy.run_path(str(config_path))['check']()  # its own words for what is missing, before anything starts
    chosen = {'azure_region': region, 'gpu_model': gpu_model}
    sweep_function(
        remote_fn,
        {'command': [[variant.script, *variant.flags] for variant in variants]},
        default_params={},
        config_path=str(config_path),
        log_path=log_path,
        mode=mode,
        use_gpu=True,
        filter_dir=['logs', '.git', '.venv'],
        **{name: value for name, value in chosen.items() if value is not None},
    )
    for variant in variants:
        yield Outcome(variant, 'launched')


def remote_fn(doodad_config, variant: dict) -> None:
    """Run one variant on the machine that doodad started, and leave the results to it."""
    from doodad.wrappers.easy_launch.metadata import save_doodad_config

    script, *flags = variant['command']
    command = [script, *flags, '--logbase', str(doodad_config.output_directory)]
    print(shlex.join(['python', *command]), flush=True)
    try:
        subprocess.run([sys.executable, *command], cwd=ROOT, env=environment(), check=True)
    finally:
        save_doodad_config(doodad_config)


def import_sweep_function():
    """The function that starts doodad's machines; refuses a package that only has the name."""
    remedy = f'Install it from its repository: pip install {REPOSITORY}'
    try:
        import doodad
    except ImportError as error:
        raise InputError(f'this engine needs doodad.\n  {remedy}') from error
    place = getattr(doodad, '__file__', None) or 'a folder'
    if not all(hasattr(doodad, name) for name in ('MountLocal', 'MountAzure', 'LocalMode', 'AzureMode')):
        raise InputError(
            f'the doodad in {place} is an unrelated package: PyPI has one of this name.\n'
            f'  Remove it: pip uninstall doodad\n  {remedy}'
        )
    try:
        from doodad.wrappers.easy_launch import sweep_function
    except ImportError as error:
        raise InputError(f'the doodad in {place} has no doodad.wrappers.easy_launch: {error}.\n  {remedy}') from error
    return sweep_function
