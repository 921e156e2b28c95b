"""Write a figure as a picture, which appears whole or not at all."""

from pathlib import Path

from trajectory.utils.errors import InputError
from trajectory.utils.files import mkdir, write_atomically


def save_picture(figure, savepath: str | Path, dpi: int) -> None:
    """Write a matplotlib figure in the format that the name ends with."""
    formats = figure.canvas.get_supported_filetypes()
    if Path(savepath).suffix[1:].lower() not in formats:
        raise InputError(
            f"'{savepath}' is no name of a picture, which ends with one of .{', .'.join(formats)}.\n"
            '  Pass --savepath picture.png, say.'
        )
    mkdir(Path(savepath).parent, flag='--savepath')
    with write_atomically(savepath) as partial:
        figure.savefig(partial, dpi=dpi)
