"""Archives that climb out, link, lie or are cut off write nothing, and say which member or file it is."""

import io
import stat
import tarfile
import zipfile
from pathlib import PurePosixPath

import pytest

from trajectory.storage import archives
from trajectory.storage.archives import unpack
from trajectory.utils.errors import InputError

GOOD = {'a/one.txt': b'one' * 1000, 'a/b/two.txt': b'two'}


def zip_of(path, members, change=id):
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo('x')
            info.filename = name  # as it is given, which the constructor would tidy
            change(info)
            archive.writestr(info, content)
    return path


def tar_of(path, members, change=id, mode='w'):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            change(info)
            archive.addfile(info, io.BytesIO(content))
    return path


MAKERS = {'zip': zip_of, 'tar': tar_of}


def everything(member):
    return PurePosixPath(*member.parts)


def written(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def refused(path, folder, cause):
    """Unpacking says which file it is and why, and leaves nothing anywhere."""
    before = written(folder)
    with pytest.raises(InputError, match=cause) as raised:
        unpack(path, folder / 'out/in', everything)
    assert str(raised.value).startswith(f'{path}')
    assert written(folder) == before


@pytest.mark.parametrize('kind', MAKERS)
def test_members_come_out_as_they_went_in(tmp_path, kind):
    path = MAKERS[kind](tmp_path / 'x', GOOD)
    assert unpack(path, tmp_path / 'out', everything) == 2
    assert {name: (tmp_path / 'out' / name).read_bytes() for name in written(tmp_path / 'out')} == GOOD


def test_a_zip_of_a_shared_folder_begins_with_a_slash(tmp_path):
    path = zip_of(tmp_path / 'x.zip', {'/': b'', 'a/': b'', **GOOD})
    assert unpack(path, tmp_path / 'out', everything) == 2


def test_what_has_no_place_is_left_out(tmp_path):
    path = zip_of(tmp_path / 'x.zip', GOOD)
    assert unpack(path, tmp_path / 'out', lambda member: member if member.name == 'two.txt' else None) == 1
    assert written(tmp_path / 'out') == ['a/b/two.txt']


def test_a_compressed_tar_is_one_too(tmp_path):
    path = tar_of(tmp_path / 'x.tar.gz', GOOD, mode='w:gz')
    assert unpack(path, tmp_path / 'out', everything) == 2


@pytest.mark.parametrize('kind', MAKERS)
@pytest.mark.parametrize(
    'name',
    [
        '../evil',
        'a/../../evil',
        '/evil',
        '//evil',
        'a/..',
        '..\\evil',
        'C:/evil',
        'C:evil',
    ],
)
def test_a_member_that_climbs_out_is_named(tmp_path, kind, name):
    path = MAKERS[kind](tmp_path / 'x', {**GOOD, name: b'evil'})
    refused(path, tmp_path, 'would be written outside of its folder')


@pytest.mark.parametrize('type_', [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_tar_with_a_link_or_a_device_is_refused(tmp_path, type_):
    def change(info):
        if info.name == 'link':
            info.type, info.linkname, info.size = type_, '../..', 0

    path = tar_of(tmp_path / 'x.tar', {'link': b'', 'link/evil': b'evil'}, change)
    refused(path, tmp_path, "the member 'link' is a link or a device")


def test_a_zip_with_a_link_is_refused(tmp_path):
    def change(info):
        info.external_attr = (stat.S_IFLNK | 0o777) << 16

    refused(zip_of(tmp_path / 'x.zip', {'link': b'../..'}, change), tmp_path, "the member 'link' is a link or a device")


@pytest.mark.parametrize('kind', MAKERS)
def test_two_members_of_one_name_are_refused(tmp_path, kind):
    path = MAKERS[kind](tmp_path / 'x', {'a/x': b'1', 'a//x': b'2'})
    refused(path, tmp_path, 'two members are called a/x')


def test_more_than_is_sensible_is_refused_before_it_is_written(tmp_path, monkeypatch):
    path = zip_of(tmp_path / 'x.zip', GOOD)
    monkeypatch.setattr(archives, 'MAX_ARCHIVE', 3002)
    refused(path, tmp_path, 'would unpack to 3,003 bytes')
    monkeypatch.setattr(archives, 'MAX_MEMBERS', 1)
    refused(path, tmp_path, 'more than 1 members')
    refused(tar_of(tmp_path / 'x.tar', GOOD), tmp_path, 'more than 1 members')


def test_a_zip_whose_member_is_larger_than_it_says_writes_no_more_than_that(tmp_path):
    path = zip_of(tmp_path / 'x.zip', {'bomb': b'0' * 5000})
    content = path.read_bytes()
    size = (5000).to_bytes(4, 'little')
    path.write_bytes(content.replace(size, (10).to_bytes(4, 'little')))
    with pytest.raises(InputError, match='is not whole'):
        unpack(path, tmp_path / 'out', everything)
    assert all(file.stat().st_size <= 10 for file in (tmp_path / 'out').rglob('*') if file.is_file())


@pytest.mark.parametrize('kind', MAKERS)
def test_an_archive_cut_short_is_noticed(tmp_path, kind):
    path = MAKERS[kind](tmp_path / 'x', GOOD)
    whole = path.read_bytes()
    for cut in [len(whole) - 3, len(whole) // 2, 100] if kind == 'zip' else [600, 3000, 512 * 7, 512 * 8, 512 * 9]:
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match=r'x is (not whole|neither a zip nor a tar)'):
            unpack(path, tmp_path / 'out', everything)


def test_one_flipped_bit_of_a_zip_is_noticed(tmp_path):
    path = zip_of(tmp_path / 'x.zip', GOOD)
    content = bytearray(path.read_bytes())
    content[content.index(b'oneone')] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'x.zip is not whole: Bad CRC-32'):
        unpack(path, tmp_path / 'out', everything)


def test_a_web_page_is_no_archive(tmp_path):
    (tmp_path / 'x').write_text('<!DOCTYPE html><title>Not found</title>')
    refused(tmp_path / 'x', tmp_path, r"neither a zip nor a tar file; it begins with b'<!DOCTYPE html")


def test_an_encrypted_zip_is_refused(tmp_path):
    path = zip_of(tmp_path / 'x.zip', {'secret': b'x'})
    content = bytearray(path.read_bytes())
    for mark, place in ((b'PK\x03\x04', 6), (b'PK\x01\x02', 8)):
        content[content.index(mark) + place] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r'x.zip is not whole: .*encrypted'):
        unpack(path, tmp_path / 'out', everything)
