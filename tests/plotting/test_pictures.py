"""Pictures appear whole or not at all, and a name that cannot be written is an error."""

import pytest
from matplotlib.figure import Figure

from plotting import curve, plot
from plotting.pictures import save_picture
from trajectory.utils.errors import InputError


@pytest.mark.parametrize('name', ['x.foo', 'x', ''])
def test_a_name_that_is_no_pictures_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r'is no name of a picture, which ends with one of .*\.png'):
        save_picture(Figure(), f'{tmp_path}/{name}', dpi=50)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_ends_the_command_with_one_message(tmp_path, capsys):
    (tmp_path / 'file').touch()
    (tmp_path / 'metrics.jsonl').write_text('{"epoch": 1, "step": 1, "tokens": 1, "loss": 1.0, "learning_rate": 0.1}')
    for main, flags in ((plot.main, []), (curve.main, [str(tmp_path)])):
        with pytest.raises(SystemExit, match='2'):
            main([*flags, '--savepath', str(tmp_path / 'file/x.png')])
        said = capsys.readouterr().err
        assert f'error: cannot make the folder {tmp_path}/file' in said
        assert 'Choose another place with --savepath.' in said
