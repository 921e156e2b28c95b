"""Say what a file may ask for: settings of a model and of a dataset, checked before anything is built from them."""

from trajectory.utils.errors import InputError, shorten

MAX_MODEL = 2**28  # numbers, the attention masks included

MAX_NUMBER = 1e300  # what is larger is no setting
DIM = (int, 1, 10_000)
WEIGHT = (float, 0, 1e6)
SHARE = (float, 0, 1)

MODEL = {  # name: type, least, most
    'vocab_size': (int, 1, 2**15),
    'block_size': (int, 1, 2**14),
    'n_layer': (int, 1, 1_000),
    'n_head': (int, 1, 1_000),
    'n_embd': (int, 1, 2**16),
    'observation_dim': DIM,
    'action_dim': DIM,
    'transition_dim': DIM,
    'action_weight': WEIGHT,
    'reward_weight': WEIGHT,
    'value_weight': WEIGHT,
    'embd_pdrop': SHARE,
    'resid_pdrop': SHARE,
    'attn_pdrop': SHARE,
}
DATA = {
    'env': (str,),
    'N': (int, 1, 2**15),
    'penalty': (float, -1e9, 1e9),
    'discretizer': (str,),
    'sequence_length': (int, 1, 10**6),
    'step': (int, 1, 10**6),
    'discount': SHARE,
    'max_path_length': (int, 1, 10**9),
    'device': (str,),
}
MAY_BE_NONE = ('penalty', 'max_path_length')
MAY_BE_MISSING = ('max_path_length', 'device', 'penalty')

RESTORE = 'Restore the file, or download it again.'


def check_model_settings(settings, path, remedy: str = RESTORE) -> None:
    """Refuse settings that describe no model, or one too large to be meant.    path : the file they are from"""
    _check(settings, MODEL, path, remedy)
    width, depth = settings['n_embd'], settings['n_layer']
    vocabulary = settings['vocab_size'] * settings['transition_dim']
    places = settings['block_size'] + settings['observation_dim']  # of a goal
    numbers = depth * (12 * width**2 + places**2) + (2 * vocabulary + places) * width
    if numbers > MAX_MODEL:
        raise InputError(
            f'{path} describes a model of {numbers:,} numbers; the largest that is read has {MAX_MODEL:,}.\n  {remedy}'
        )


def check_data_settings(settings, path, remedy: str = RESTORE) -> None:
    """Refuse settings that describe no dataset.    path : the file they are from"""
    _check(settings, DATA, path, remedy)
    if unknown := sorted(set(settings) - set(DATA)):
        raise InputError(
            f'{path} has the setting {unknown[0]!r}, which no dataset is made with.\n  There are {", ".join(DATA)}.'
        )


def _check(settings, table, path, remedy):
    missing = [name for name in table if name not in settings and name not in MAY_BE_MISSING]
    if missing:
        raise InputError(f'{path} says nothing of {", ".join(missing)}.\n  {remedy}')
    for name, (kind, *limits) in table.items():
        value = settings.get(name)
        if value is None and (name in MAY_BE_NONE or name not in settings):
            continue
        if not _is_a(kind, value) or (limits and not limits[0] <= value <= limits[1]):
            between = f' from {limits[0]:,} to {limits[1]:,}' if limits else ''
            raise InputError(f'{path}: {name} is {shorten(value)!r}, expected {_WORDS[kind]}{between}.\n  {remedy}')


_WORDS = {int: 'a whole number', float: 'a number', str: 'a text'}


def _is_a(kind, value):
    if isinstance(value, bool):
        return False
    if kind is float:
        return isinstance(value, int | float) and -MAX_NUMBER <= value <= MAX_NUMBER
    return isinstance(value, kind)
