"""Zip archives: checked before anything is written, unpacked once into a cache folder."""

import hashlib
import os
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path, PureWindowsPath

from kerastl.data.listing import printable
from kerastl.errors import DataError, StorageError

MAX_MEMBERS = 2_000_000
MAX_BYTES = 64 * 2**30
MAX_RATIO = 200  # images hardly shrink; a bomb shrinks a thousandfold
RATIO_FREE_BYTES = 256 * 2**20  # below this, even a bomb does no harm
_UTF8_FLAG = 0x800
_ENCRYPTED_FLAG = 0x1


def unpack(path: Path, cache: Path | None = None) -> Path:
    """Unpack a zip of images and return the folder; the same zip is unpacked once.

    Args:
        path: The zip file.
        cache: Folder for unpacked archives; `$XDG_CACHE_HOME/kerastl/archives` by default.

    Returns:
        A folder named after the content of the zip.

    Raises:
        DataError: It is no zip, damaged, encrypted, or a member is a link, leaves the
            folder, stands there twice, or the whole is too large.
        StorageError: It cannot be read or there is no room for it.
    """
    cache = cache or cache_folder()
    target = cache / _digest(path)[:24]
    try:
        with zipfile.ZipFile(path) as archive:
            members = _check_members(archive, path)
            if not _is_complete(target, members):
                _extract(archive, members, target, path)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise DataError(
            f"{path.name!r} is not a zip file that can be read: {error}."
        ) from error
    return target


def cache_folder() -> Path:
    """Return where archives are unpacked to."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kerastl" / "archives"


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StorageError(f"{str(path)!r} cannot be read: {error.strerror}.") from error


def _check_members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the files of the archive by clean name, or refuse the archive as a whole."""
    infos = [info for info in archive.infolist() if not info.is_dir()]
    _check_sizes(infos, path)
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = _clean_name(info, path)
        if name in members:
            raise DataError(f"{path.name!r} holds {name!r} twice.")
        members[name] = info
    return members


def _check_sizes(infos: list[zipfile.ZipInfo], path: Path) -> None:
    total = sum(info.file_size for info in infos)
    packed = max(path.stat().st_size, 1)
    if len(infos) > MAX_MEMBERS or total > MAX_BYTES:
        raise DataError(
            f"{path.name!r} holds {len(infos)} files of {total / 2**30:.1f} GiB; at most "
            f"{MAX_MEMBERS} files and {MAX_BYTES // 2**30} GiB are "
            "unpacked: unpack it yourself."
        )
    if total > RATIO_FREE_BYTES and total / packed > MAX_RATIO:
        raise DataError(
            f"{path.name!r} would grow {total // packed} times when unpacked, which images "
            "do not: unpack it yourself if you trust it."
        )


def _clean_name(info: zipfile.ZipInfo, path: Path) -> str:
    name = _decode_name(info).replace("\\", "/")
    shown = f"{path.name!r} member {printable(name)!r}"
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or PureWindowsPath(name).drive:
        raise DataError(f"{shown} leaves the archive's folder: this zip is not unpacked.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise DataError(f"{shown} is a symbolic link: this zip is not unpacked.")
    if info.flag_bits & _ENCRYPTED_FLAG:
        raise DataError(f"{shown} is encrypted: unpack the zip with its password yourself.")
    return "/".join(part for part in parts if part not in ("", "."))


def _decode_name(info: zipfile.ZipInfo) -> str:
    """Undo the wrong alphabet of names that Korean Windows packs without a UTF-8 mark."""
    if info.flag_bits & _UTF8_FLAG or info.filename.isascii():
        return info.filename
    raw = info.filename.encode("cp437")
    for encoding in ("utf-8", "cp949"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.filename


def _is_complete(target: Path, members: dict[str, zipfile.ZipInfo]) -> bool:
    for name, info in members.items():
        try:
            if os.lstat(target / name).st_size != info.file_size:
                return False
        except OSError:
            return False
    return target.is_dir()


def _extract(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], target: Path, path: Path
) -> None:
    """Unpack beside the target and rename, so that a half-unpacked folder is never used."""
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _check_room(target.parent, members, path)
        temporary = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=target.parent))
        for name, info in members.items():
            _write_member(archive, info, temporary / name)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)
    except OSError as error:
        raise StorageError(
            f"{path.name!r} cannot be unpacked into "
            f"{str(target.parent)!r}: {error.strerror}."
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _check_room(folder: Path, members: dict[str, zipfile.ZipInfo], path: Path) -> None:
    needed = sum(info.file_size for info in members.values())
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"{path.name!r} needs {needed} bytes in {str(folder)!r}, where {free} are "
            "free: make room or set XDG_CACHE_HOME to another disk."
        )


def _write_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, 2**20)
