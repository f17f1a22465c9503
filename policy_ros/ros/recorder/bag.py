# SPDX-License-Identifier: Apache-2.0
"""A rosbag2 directory that survives what happens while it is written: a kill, a full disk, hours.

Files, indices and metadata are written by rosbags. Between a full chunk (mcap) or the end (sqlite3) and the next one it
keeps messages in memory only; :meth:`BagWriter.flush` writes them out.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer

from policy_ros.errors import PolicyRosError
from policy_ros.ros.recorder.definitions import Definition

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
COMPRESSIONS = ("none", "zstd")
WRITE_ERRORS = (OSError, sqlite3.Error)
MIN_FREE_BYTES = 64 * 2**20  # enough for what is not flushed yet, the index and the metadata
_INFORMATION = "rosbag2_bagfile_information"


class RecordError(PolicyRosError):
    """A recording cannot begin."""


class BagWriter:
    """Writes one bag; not for several threads.

    The file being written has the name of the directory. With ``split_bytes``, finished files are numbered: after
    ``pick/pick_0.mcap`` comes ``pick/pick_1.mcap``. Without metadata (after a kill) a reader takes all files there are.

    Args:
        path: directory to be made.
        storage: ``mcap`` or ``sqlite3``.
        compression: ``none`` or ``zstd``: by chunk in mcap, which every reader of mcap knows; by message in sqlite3.
        split_bytes: a file that has become larger is finished and a new one begun; 0: never.

    Raises:
        RecordError: something exists at ``path``, or it cannot be made.
    """

    def __init__(self, path: Path, *, storage: str = "mcap", compression: str = "none", split_bytes: int = 0) -> None:
        self.path = path
        self._plugin = STORAGES[storage]
        self._mode = CompressionMode.NONE
        if compression == "zstd":
            self._mode = CompressionMode.STORAGE if storage == "mcap" else CompressionMode.MESSAGE
        self._split_bytes = split_bytes
        self._arguments: list[dict[str, Any]] = []  # of each topic
        self._finished: list[dict[str, Any]] = []  # information about each finished file
        require_room(path)
        try:
            self._writer = self._open()
        except OSError as error:
            raise RecordError(f"output: '{path}' cannot be made: {error.strerror}") from None
        self._connections: list[Connection] = []

    def add_topic(self, topic: str, message_type: str, definition: Definition, offered: Sequence[Qos]) -> int:
        """Add a topic with the QoS that its publishers offer; the number that :meth:`write` takes."""
        arguments = {
            "topic": topic,
            "msgtype": message_type,
            "msgdef": definition.text,
            "rihs01": definition.digest,
            "offered_qos_profiles": list(offered),
        }
        self._arguments.append(arguments)
        self._connections.append(self._writer.add_connection(**arguments))
        return len(self._connections) - 1

    def write(self, topic: int, log_ns: int, data: bytes) -> None:
        """Write one serialised message; raises one of ``WRITE_ERRORS``."""
        self._writer.write(self._connections[topic], log_ns, data)

    def flush(self) -> None:
        """Hand everything written so far to the operating system: a kill of this process does not lose it any more.

        Raises one of ``WRITE_ERRORS``.
        """
        storage = self._writer.storage
        if isinstance(storage, McapWriter):
            if storage.chunk.msgs:
                storage.close_chunk()
            storage.bio.flush()
        elif isinstance(storage, Sqlite3Writer):
            storage.conn.commit()
        if self._split_bytes and self._file.stat().st_size >= self._split_bytes:
            self._begin_next_file()

    @property
    def free_bytes(self) -> int:
        """Space left where the bag is."""
        return shutil.disk_usage(self.path).free

    def close(self) -> None:
        """Finish index and metadata; raises one of ``WRITE_ERRORS``."""
        self._finish_file()
        if len(self._finished) > 1:
            self._number_file()
        text = yaml.safe_dump({_INFORMATION: _merged(self._finished)}, sort_keys=False)
        (self.path / "metadata.yaml").write_text(text)

    def abort(self) -> None:
        """Give up: what was flushed is all there is, without index and metadata; raises one of ``WRITE_ERRORS``."""
        storage, self._writer.storage = self._writer.storage, None
        if isinstance(storage, McapWriter):
            storage.bio.close()
        elif isinstance(storage, Sqlite3Writer):
            storage.conn.close()

    @property
    def _file(self) -> Path:
        assert self._writer.storage is not None
        return self._writer.storage.path

    def _open(self) -> Writer:
        writer = _Writer(self.path, version=Writer.VERSION_LATEST, storage_plugin=self._plugin)
        writer.set_compression(self._mode, CompressionFormat.ZSTD)
        writer.open()
        if isinstance(writer.storage, Sqlite3Writer):
            # Pages reach the file on commits only, so that it is whole between two of them. As with mcap, the
            # operating system decides when they reach the disk.
            writer.storage.conn.execute("PRAGMA cache_spill = OFF")
            writer.storage.conn.execute("PRAGMA synchronous = OFF")
        return writer

    def _begin_next_file(self) -> None:
        self._finish_file()
        self._number_file()
        self._writer = self._open()
        self._connections = [self._writer.add_connection(**arguments) for arguments in self._arguments]

    def _finish_file(self) -> None:
        """Close the file as a bag of its own, and keep what its metadata says."""
        self._writer.close()
        metadata = self.path / "metadata.yaml"
        self._finished.append(yaml.safe_load(metadata.read_text())[_INFORMATION])
        metadata.unlink()

    def _number_file(self) -> None:
        information = self._finished[-1]
        file = self.path / information["relative_file_paths"][0]
        numbered = file.rename(file.with_stem(f"{file.stem}_{len(self._finished) - 1}"))
        information["relative_file_paths"] = [numbered.name]
        information["files"][0]["path"] = numbered.name


class _Writer(Writer):
    """rosbags' writer, for one more file in a directory that is there already."""

    def __init__(self, path: Path, **options: Any) -> None:
        # The base class refuses a path that exists, and makes it.
        super().__init__(path / "unused", **options)
        self.path, self.metapath = path, path / "metadata.yaml"

    def open(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.storage = self.STORAGE_PLUGINS[self.storage_plugin](self.path, self.compression_mode)


def _merged(files: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Metadata of the whole bag from that of its files, in their order."""
    if len(files) == 1:
        return files[0]
    counts = {
        index: sum(file["topics_with_message_count"][index]["message_count"] for file in files)
        for index in range(len(files[0]["topics_with_message_count"]))
    }
    filled = [file for file in files if file["message_count"]]
    start_ns = min(_start_ns(file) for file in filled)
    end_ns = max(_start_ns(file) + file["duration"]["nanoseconds"] for file in filled)
    return {
        **files[0],
        "relative_file_paths": [name for file in files for name in file["relative_file_paths"]],
        "files": [entry for file in files for entry in file["files"]],
        "starting_time": {"nanoseconds_since_epoch": start_ns},
        "duration": {"nanoseconds": end_ns - start_ns},
        "message_count": sum(file["message_count"] for file in files),
        "topics_with_message_count": [
            {**entry, "message_count": counts[index]}
            for index, entry in enumerate(files[0]["topics_with_message_count"])
        ],
    }


def _start_ns(file: dict[str, Any]) -> int:
    return int(file["starting_time"]["nanoseconds_since_epoch"])


def require_room(path: Path) -> None:
    """Refuse a place where nothing can be recorded.

    Raises:
        RecordError: something is there already, or the disk is nearly full.
    """
    if path.exists():
        raise RecordError(f"output: expected a directory to be made, '{path}' exists; choose another or remove it")
    there = next(parent for parent in path.absolute().parents if parent.exists())
    free = shutil.disk_usage(there).free
    if free < 2 * MIN_FREE_BYTES:
        raise RecordError(
            f"output: expected at least {2 * MIN_FREE_BYTES / 2**20:.0f} MB of room at '{there}', "
            f"{free / 2**20:.0f} MB are left; make room, or choose another place"
        )


def directory_bytes(path: Path) -> int:
    """Size of all files of a bag, while it is written too."""
    total = 0
    for file in path.iterdir():
        with suppress(FileNotFoundError):  # renamed meanwhile
            total += file.stat().st_size
    return total
