"""Hold the published scores that ours are compared with: D4RL's v2 datasets, 100 × normalised return.

Sources: TT, its errors and TT (uniform), and the collection of the others: Janner et al. 2021, "Offline
Reinforcement Learning as One Big Sequence Modeling Problem". Only TT was run on Ant.
"""

BUFFERS = ('medium-expert', 'medium', 'medium-replay')
ENVIRONMENTS = ('halfcheetah', 'hopper', 'walker2d', 'ant')
SETTINGS = tuple((buffer, environment) for buffer in BUFFERS for environment in ENVIRONMENTS)
SETTINGS_WITHOUT_ANT = tuple(setting for setting in SETTINGS if setting[1] != 'ant')

UNIFORM = 'TT (uniform)'

# by buffer, environment, algorithm
means = {
    'medium-expert': {
        'halfcheetah': dict(BC=59.9, MBOP=105.9, MOPO=63.3, BRAC=41.9, CQL=91.6, DT=86.8, TT=95.0),
        'hopper': dict(BC=79.6, MBOP=55.1, MOPO=23.7, BRAC=0.9, CQL=105.4, DT=107.6, TT=110.0),
        'walker2d': dict(BC=36.6, MBOP=70.2, MOPO=44.6, BRAC=81.6, CQL=108.8, DT=108.1, TT=101.9),
        'ant': dict(TT=116.1),
    },
    'medium': {
        'halfcheetah': dict(BC=43.1, MBOP=44.6, MOPO=42.3, BRAC=46.3, CQL=44.0, DT=42.6, TT=46.9),
        'hopper': dict(BC=63.9, MBOP=48.8, MOPO=28.0, BRAC=31.3, CQL=58.5, DT=67.6, TT=61.1),
        'walker2d': dict(BC=77.3, MBOP=41.0, MOPO=17.8, BRAC=81.1, CQL=72.5, DT=74.0, TT=79.0),
        'ant': dict(TT=83.1),
    },
    'medium-replay': {
        'halfcheetah': dict(BC=4.3, MBOP=42.3, MOPO=53.1, BRAC=47.7, CQL=45.5, DT=36.6, TT=41.9),
        'hopper': dict(BC=27.6, MBOP=12.4, MOPO=67.5, BRAC=0.6, CQL=95.0, DT=82.7, TT=91.5),
        'walker2d': dict(BC=36.9, MBOP=9.7, MOPO=39.0, BRAC=0.9, CQL=77.2, DT=66.6, TT=82.6),
        'ant': dict(TT=77.0),
    },
}

# standard errors over 15 plans, in the same order
errors = {
    'medium-expert': {
        'halfcheetah': dict(TT=0.2),
        'hopper': dict(TT=2.7),
        'walker2d': dict(TT=6.8),
        'ant': dict(TT=9.0),
    },
    'medium': {
        'halfcheetah': dict(TT=0.4),
        'hopper': dict(TT=3.6),
        'walker2d': dict(TT=2.8),
        'ant': dict(TT=7.3),
    },
    'medium-replay': {
        'halfcheetah': dict(TT=2.5),
        'hopper': dict(TT=3.6),
        'walker2d': dict(TT=6.9),
        'ant': dict(TT=6.8),
    },
}

# TT with bins of equal widths instead of equal counts
uniform_means = {
    'medium-expert': {
        'halfcheetah': {UNIFORM: 40.8},
        'hopper': {UNIFORM: 106.0},
        'walker2d': {UNIFORM: 91.0},
    },
    'medium': {
        'halfcheetah': {UNIFORM: 44.0},
        'hopper': {UNIFORM: 67.4},
        'walker2d': {UNIFORM: 81.3},
    },
    'medium-replay': {
        'halfcheetah': {UNIFORM: 44.1},
        'hopper': {UNIFORM: 99.4},
        'walker2d': {UNIFORM: 79.4},
    },
}


def average(means: dict, algorithm: str, settings=SETTINGS) -> float | None:
    """Average an algorithm's scores over settings (buffer, environment); None where one is missing."""
    scores = [means[buffer][environment].get(algorithm) for buffer, environment in settings]
    return None if None in scores else sum(scores) / len(scores)
