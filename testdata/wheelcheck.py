"""Checks the wheels in a folder as an index would: names, metadata, tags and records, with the library of pip.

They and the npm packages beside them must have one version.
"""

import base64
import csv
import hashlib
import json
import sys
import tarfile
import zipfile
from email.parser import BytesParser
from pathlib import Path

from packaging.metadata import Metadata
from packaging.utils import canonicalize_name, parse_wheel_filename


def check(path: Path) -> str:
    name, version, _, tags = parse_wheel_filename(path.name)
    wheel = zipfile.ZipFile(path)
    assert wheel.testzip() is None
    (info,) = {entry.split("/")[0] for entry in wheel.namelist() if ".dist-info/" in entry}
    assert info == f"{path.name.split('-')[0]}-{version}.dist-info"

    metadata = Metadata.from_email(wheel.read(f"{info}/METADATA"))  # raises for what is not valid
    assert (canonicalize_name(metadata.name), metadata.version) == (name, version)
    assert metadata.summary
    assert metadata.description
    for file in metadata.license_files or []:
        assert wheel.read(f"{info}/licenses/{file}")

    text = BytesParser().parsebytes(wheel.read(f"{info}/WHEEL"))
    assert text["Wheel-Version"] == "1.0"
    assert sorted(text.get_all("Tag", [])) == sorted(map(str, tags))

    record = list(csv.reader(wheel.read(f"{info}/RECORD").decode().splitlines()))
    assert sorted(row[0] for row in record) == sorted(wheel.namelist())
    for file, digest, size in record:
        if file == f"{info}/RECORD":
            assert digest == size == ""
            continue
        data = wheel.read(file)
        assert int(size) == len(data), file
        assert digest == "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode(), file
        assert bool(wheel.getinfo(file).external_attr >> 16 & 0o111) == (".data/scripts/" in file), file
    print(path.name, "has", len(record), "files and is as it should be")
    return str(version)


def npm_version(path: Path) -> str:
    with tarfile.open(path) as archive:
        manifest = archive.extractfile("package/package.json")
        assert manifest
        return str(json.load(manifest)["version"])


folder = Path(sys.argv[1])
wheels, tarballs = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tgz"))
assert wheels
assert tarballs
versions = {check(wheel) for wheel in wheels} | {npm_version(tarball) for tarball in tarballs}
assert len(versions) == 1, versions
