"""Archives: what is good is unpacked, what is bad is refused before it does harm."""

import io
import os
import stat
import tarfile
import zipfile

import pytest

from migrate import errors
from migrate.sources import archives
from migrate.sources.archives import UnpackLimits, unpack_archive


def make_tar(path, members, mode="w:gz"):
    """`members`: (name, content) or a TarInfo."""
    with tarfile.open(path, mode) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            tar.addfile(info, io.BytesIO(member[1]))
    return path


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def special(kind, target="/etc/passwd"):
    info = tarfile.TarInfo("saved_model.pb")
    info.type, info.linkname = kind, target
    return info


def zip_link(name, target):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target


GOOD = [("./a/saved_model.pb", b"one"), ("b.txt", b"two")]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar(tmp_path, mode):
    unpack_archive(str(make_tar(tmp_path / "m.tar", GOOD, mode)), str(tmp_path / "out"))
    assert (tmp_path / "out" / "a" / "saved_model.pb").read_bytes() == b"one"
    assert (tmp_path / "out" / "b.txt").read_bytes() == b"two"


def test_zip(tmp_path):
    unpack_archive(str(make_zip(tmp_path / "m.zip", GOOD)), str(tmp_path / "out"))
    assert (tmp_path / "out" / "a" / "saved_model.pb").read_bytes() == b"one"


BAD = {
    "up": (lambda p: make_tar(p, [("../evil.pb", b"x")]), "leads out"),
    "up inside": (lambda p: make_tar(p, [("a/../../evil.pb", b"x")]), "leads out"),
    "absolute": (lambda p: make_tar(p, [("/tmp/evil.pb", b"x")]), "leads out"),
    "backslash": (lambda p: make_tar(p, [("..\\evil.pb", b"x")]), "leads out"),
    "drive": (lambda p: make_zip(p, [("C:evil.pb", b"x")]), "leads out"),
    "zip up": (lambda p: make_zip(p, [("../evil.pb", b"x")]), "leads out"),
    "symbolic link": (lambda p: make_tar(p, [special(tarfile.SYMTYPE)]), "a link"),
    "hard link": (lambda p: make_tar(p, [special(tarfile.LNKTYPE)]), "a link"),
    "zip link": (lambda p: make_zip(p, [zip_link("saved_model.pb", "/etc/passwd")]), "a link"),
    "device": (lambda p: make_tar(p, [special(tarfile.CHRTYPE)]), "a device"),
    "fifo": (lambda p: make_tar(p, [special(tarfile.FIFOTYPE)]), "a device"),
    "empty": (lambda p: make_tar(p, []), "no file"),
    "no archive": (lambda p: p.write_bytes(b"\x1f\x8b but no gzip") and p, "cannot be unpacked"),
    "no zip": (lambda p: p.write_bytes(b"PK\x03\x04 and nothing") and p, "cannot be unpacked"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(tmp_path, name):
    make, reason = BAD[name]
    path = make(tmp_path / "bad")
    with pytest.raises(errors.CorruptModelError, match=reason):
        unpack_archive(str(path), str(tmp_path / "in" / "out"))
    assert sorted(os.listdir(tmp_path)) in (["bad", "in"], ["bad"])
    assert os.listdir(tmp_path / "in") == ["out"]


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_bomb_by_ratio(tmp_path, make):
    """Zeros unpack to a thousand times their size: refused long before all of them are written."""
    path = make(tmp_path / "bomb", [("zeros", bytes(8 * 2**20)), ("more", bytes(2**20))])
    limits = UnpackLimits(ratio_from=2**20)
    with pytest.raises(errors.CorruptModelError, match="200 times"):
        unpack_archive(str(path), str(tmp_path / "out"), limits)
    written = sum(file.stat().st_size for file in (tmp_path / "out").rglob("*") if file.is_file())
    assert written <= 2**20


def test_zip_that_lies_about_its_size(tmp_path):
    """What is really unpacked counts, not what the directory says."""
    path = make_zip(tmp_path / "m.zip", [("zeros", bytes(4 * 2**20))])
    data = path.read_bytes()
    path.write_bytes(data.replace((4 * 2**20).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with pytest.raises(errors.CorruptModelError):
        unpack_archive(str(path), str(tmp_path / "out"), UnpackLimits(max_bytes=2**20))


def test_limits_on_size_and_number(tmp_path):
    path = make_tar(tmp_path / "m.tgz", [(f"f{i}", b"x" * 100) for i in range(20)])
    with pytest.raises(errors.CorruptModelError, match="more than 1,000 bytes"):
        unpack_archive(str(path), str(tmp_path / "a"), UnpackLimits(max_bytes=1000))
    with pytest.raises(errors.CorruptModelError, match="more than 5 files"):
        unpack_archive(str(path), str(tmp_path / "b"), UnpackLimits(max_files=5))
    unpack_archive(str(path), str(tmp_path / "c"), UnpackLimits(max_bytes=2000, max_files=20))


@pytest.mark.parametrize("make", [make_tar, make_zip])
def test_truncated(tmp_path, make):
    path = make(tmp_path / "m", [("a", os.urandom(50_000)), ("b", os.urandom(50_000))])
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(errors.CorruptModelError, match="cannot be unpacked"):
        unpack_archive(str(path), str(tmp_path / "out"))


def test_no_limit_is_infinite():
    """The limits that hold when nobody sets one."""
    limits = archives.UnpackLimits()
    assert limits.max_bytes < 2**40 and limits.max_files < 10**6 and limits.max_ratio < 1000
