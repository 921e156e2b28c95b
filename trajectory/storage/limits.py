"""Say what a file may ask for: settings of a model and of a dataset, checked before anything is built from them."""

from collections.abc import Mapping

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
    check_record(settings, MODEL, path, remedy)
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
    check_record(settings, DATA, path, remedy)
    if unknown := sorted(set(settings) - set(DATA)):
        raise InputError(
            f'{path} has the setting {unknown[0]!r}, which no dataset is made with.\n  There are {", ".join(DATA)}.'
        )


def check_record(record, table, path, remedy: str = RESTORE) -> None:
    """Refuse a record read from a file that lacks an entry of a table, or holds something else there.

    table : name: (kind, least, most), of a number; of a list of numbers the bounds are of its length. A tuple of texts
            is a choice
    path  : the file it is from
    """
    if not isinstance(record, Mapping):
        raise InputError(f'{path} holds a {type(record).__name__}, expected an object.\n  {remedy}')
    missing = [name for name in table if name not in record and name not in MAY_BE_MISSING]
    if missing:
        raise InputError(f'{path} says nothing of {", ".join(missing)}.\n  {remedy}')
    for name, (kind, *limits) in table.items():
        value = record.get(name)
        if value is None and (name in MAY_BE_NONE or name not in record):
            continue
        size = len(value) if isinstance(value, list) else value
        if not _is_a(kind, value) or (limits and not limits[0] <= size <= limits[1]):
            expected = _WORDS.get(kind) or f'one of {", ".join(kind)}'
            between = f' from {limits[0]:,} to {limits[1]:,}' if limits else ''
            raise InputError(f'{path}: {name} is {shorten(value)!r}, expected {expected}{between}.\n  {remedy}')


_WORDS = {
    int: 'a whole number',
    float: 'a number',
    str: 'a text',
    bool: 'true or false',
    list: 'a list of numbers, of a length',
}


def _is_a(kind, value):
    if isinstance(kind, tuple):
        return isinstance(value, str) and value in kind
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if kind is list:
        return isinstance(value, list) and all(_is_a(float, one) for one in value)
    if kind is float:
        return isinstance(value, int | float) and -MAX_NUMBER <= value <= MAX_NUMBER
    return isinstance(value, kind)
