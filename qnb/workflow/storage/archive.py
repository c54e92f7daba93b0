"""The zip around a saved workflow: members that are known by name, read within bounds.

JSON is deflated. Tensors are stored as they are, so that a small file cannot unpack to a large one: what a member says
of its size is compared with what is there before any of it is read.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any, BinaryIO

from qnb import schema
from qnb.errors import FileError
from qnb.workflow.storage.source import Source

WORKFLOW, DOCUMENT, MODEL, SIM = "workflow.json", "document.json", "model.safetensors", "sims/{}.safetensors"
_KNOWN = re.compile(r"workflow\.json|document\.json|model\.safetensors|sims/(0|[1-9][0-9]{0,5})\.safetensors")
_MOST = 10_000
"""Members at most."""
_RATIO = 4
"""What is larger than `qnb.schema.LARGEST` may unpack to so many times its size."""


class Writer:
    """Writes members one after the other, straight to a file."""

    def __init__(self, file: BinaryIO, operation: str):
        self.operation, self._zip = operation, zipfile.ZipFile(file, "w")

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error) -> None:
        self._zip.close()

    def json(self, name: str, content: Any) -> None:
        data = json.dumps(content, allow_nan=False).encode()
        if len(data) > schema.LARGEST:
            raise FileError(
                self.operation,
                f"{len(data):,} bytes of results in {name}, more than can be read again",
                "save fewer runs, or evaluate without per-sample values",
            )
        self._zip.writestr(name, data, zipfile.ZIP_DEFLATED)

    def tensors(self, name: str, data: bytes) -> None:
        self._zip.writestr(name, data, zipfile.ZIP_STORED)


class Reader:
    """Reads members by name; what a file of qnb does not have is refused.

    Raises:
        FileError: no zip, members of other names or of one name twice, sizes that cannot be.
    """

    def __init__(self, file: BinaryIO, source: Source):
        self.source = source
        try:
            self._zip = zipfile.ZipFile(file)
        except Exception as error:  # in several kinds
            raise source.error(f"it is cut short, or no .qnb file ({error})") from error
        members = self._zip.infolist()
        self._members = {info.filename: info for info in members}
        if len(self._members) < len(members) or len(members) > _MOST:
            raise source.error(f"{len(members):,} members, too many or of one name")
        if strange := [name for name in self._members if not _KNOWN.fullmatch(name)]:
            raise source.error(f"a member {strange[0][:80]!r}, which no .qnb file has")
        packed, unpacked = (sum(getattr(m, size) for m in members) for size in ("compress_size", "file_size"))
        if packed > file.seek(0, io.SEEK_END) or unpacked > schema.LARGEST + _RATIO * packed:
            raise source.error(f"{packed:,} bytes that would unpack to {unpacked:,}")

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def sims(self) -> set[str]:
        """Names of simulations' members."""
        return {name for name in self._members if name.startswith("sims/")}

    def json(self, name: str) -> Any:
        """Parsed JSON; no more is unpacked than `qnb.schema.LARGEST`, whatever the member says of itself."""
        return schema.parse(self._read(name, schema.LARGEST), self.source.operation, self.source.remedy)

    def tensors(self, name: str, packed: bool = False) -> bytes:
        """Bytes of a member that is stored as it is; or ``packed``, as version 1 did."""
        info = self._members.get(name)
        if info is not None and not packed and info.compress_type != zipfile.ZIP_STORED:
            raise self.source.error(f"{name} is packed, which no .qnb file's tensors are")
        return self._read(name, info.file_size if info is not None else 0)

    def _read(self, name: str, most: int) -> bytes:
        info = self._members.get(name)
        if info is None:
            raise self.source.error(f"there is no {name} in it")
        if info.compress_type not in _SIZES or not _SIZES[info.compress_type](info) or info.file_size > most:
            raise self.source.error(f"{name} of {info.file_size:,} bytes, in a form that no .qnb file has")
        try:
            with self._zip.open(info) as member:
                data = member.read(most + 1)
        except Exception as error:  # in several kinds
            raise self.source.error(f"{name} cannot be read ({error})") from error
        if len(data) != info.file_size:
            raise self.source.error(f"{name} of {len(data):,} bytes in place of {info.file_size:,}")
        return data


_SIZES = {
    zipfile.ZIP_STORED: lambda info: info.file_size == info.compress_size,
    zipfile.ZIP_DEFLATED: lambda info: True,
}
"""Forms that members may have, and whether their sizes are consistent."""
