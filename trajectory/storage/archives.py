"""Unpack an archive that somebody else made: nothing leaves the folder, no links, no devices, no more than fits."""

import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from trajectory.utils.errors import InputError
from trajectory.utils.files import mkdir

MAX_ARCHIVE = 2**35  # bytes, unpacked
MAX_MEMBERS = 100_000
MAX_HEADER = 2**20  # bytes
HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


def unpack(path: Path, folder: Path, place: Callable[[PurePosixPath], PurePosixPath | None]) -> int:
    """Write the members of a zip or tar file under `folder`, once the names of all of them are found harmless.

    place   : where under `folder` a member goes, or None to leave it out
    returns : how many were written
    """
    with _opened(path) as (members, copy):
        places = {}
        for member, name, size in members:
            inside = _check_name(path, name)
            target = place(inside) if size is not None else None
            if target is None:
                continue
            if target in places:
                raise InputError(f'{path}: two members are called {target}.{_REMEDY}')
            places[target] = member, size
        total = sum(size for _, size in places.values())
        mkdir(folder)
        n_free = shutil.disk_usage(folder).free
        if total > min(MAX_ARCHIVE, n_free):
            raise InputError(
                f'{path} would unpack to {total:,} bytes; {n_free:,} are free, and no more than '
                f'{MAX_ARCHIVE:,} are unpacked.{_REMEDY}'
            )
        for target, (member, size) in places.items():
            _write(folder / target, member, size, copy)
    return len(places)


_REMEDY = '\n  Nothing of it was unpacked. Delete it, and fetch it again from a place you trust.'


def _check_name(path, name) -> PurePosixPath:
    inside = PurePosixPath(name)
    is_absolute = inside.is_absolute() and name != '/'  # with which some zips of folders begin
    if is_absolute or '..' in inside.parts or re.search(r'^[A-Za-z]:|[\\\0]', name):
        raise InputError(f'{path}: the member {name[:200]!r} would be written outside of its folder.{_REMEDY}')
    return inside


@contextmanager
def _opened(path):
    """Members with their names and sizes, and how to read one; every way of being damaged ends as an `InputError`."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield _zip_members(path, archive), archive.open
        elif tarfile.is_tarfile(path):
            with tarfile.open(path, tarinfo=_BoundedInfo) as archive:
                yield _tar_members(path, archive), archive.extractfile
        else:
            with open(path, 'rb') as file:
                raise InputError(f'{path} is neither a zip nor a tar file; it begins with {file.read(40)!r}.{_REMEDY}')
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        NotImplementedError,
        zipfile.zlib.error,
    ) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path} is not whole: {error}.\n  Delete it, and fetch it again.') from error


class _BoundedInfo(tarfile.TarInfo):
    """A member whose extended header is no larger than names and times need; tarfile reads them into memory."""

    def _proc_member(self, tar):
        if self.type in HEADERS and self.size > MAX_HEADER:
            raise tarfile.ReadError(f'a header of {self.size:,} bytes, the largest that is read has {MAX_HEADER:,}')
        return super()._proc_member(tar)


def _zip_members(path, archive):
    members = []
    for member in archive.infolist():
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise InputError(f'{path}: the member {member.filename[:200]!r} is a link or a device.{_REMEDY}')
        members.append((member, member.filename, None if member.is_dir() else member.file_size))
    return _counted(path, members)


def _tar_members(path, archive):
    members = []
    for member in archive:
        if member.issparse():
            raise InputError(
                f'{path}: the member {member.name[:200]!r} is sparse: it unpacks to more than it has.{_REMEDY}'
            )
        if not member.isreg() and not member.isdir():
            raise InputError(f'{path}: the member {member.name[:200]!r} is a link or a device.{_REMEDY}')
        members.append((member, member.name, member.size if member.isreg() else None))
        _counted(path, members)
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:  # which tarfile does not mind
        raise tarfile.ReadError('its end is missing')
    return members


def _counted(path, members):
    if len(members) > MAX_MEMBERS:
        raise InputError(f'{path} has more than {MAX_MEMBERS:,} members.{_REMEDY}')
    return members


def _write(target, member, size, copy):
    mkdir(target.parent)
    with copy(member) as source, open(target, 'xb') as file:
        shutil.copyfileobj(source, file)
    if target.stat().st_size != size:
        raise EOFError(f'{target.name} has {target.stat().st_size:,} of {size:,} bytes')
