# SPDX-License-Identifier: Apache-2.0
"""The parquet files of a dataset while they are written: frames, episodes and tasks."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policy_ros.lerobot_dataset import extra, layout
from policy_ros.lerobot_dataset.features import IMAGE, Feature
from policy_ros.lerobot_dataset.layout import DATA_FILE_BYTES, FileNumber

_BUFFERED_EPISODES = 50


class FrameFiles:
    """Writes the frames of episodes, a row group for each episode; a file that is full is followed by another."""

    def __init__(self, root: Path, features: Mapping[str, Feature]) -> None:
        self._root, self._features = root, features
        self._pyarrow = extra.pyarrow()
        self._number = FileNumber()
        self._sink: Any = None
        self._writer: Any = None

    def write(self, columns: Mapping[str, NDArray[Any] | list[bytes]]) -> FileNumber:
        """Write an episode: ``(T, n)`` for a vector, ``(T,)`` for a number, T PNG files for an image."""
        arrays = {key: self._array(feature, columns[key]) for key, feature in self._features.items()}
        table = self._pyarrow.table(arrays)
        if self._writer is None:
            path = self._root / self._number.path(layout.DATA)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = self._pyarrow.OSFile(os.fspath(path), "wb")
            self._writer = self._pyarrow.parquet.ParquetWriter(self._sink, table.schema)
        self._writer.write_table(table, row_group_size=len(table))
        number = self._number
        if self._sink.tell() >= DATA_FILE_BYTES:
            self.close()
            self._number = number.next()
        return number

    def close(self) -> None:
        """Finish the last file."""
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
            self._writer = self._sink = None

    def _array(self, feature: Feature, values: NDArray[Any] | list[bytes]) -> Any:
        pyarrow = self._pyarrow
        if feature.dtype == IMAGE:
            struct = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
            return pyarrow.array([{"bytes": value, "path": None} for value in values], type=struct)
        array = np.asarray(values, dtype=feature.dtype)
        flat = pyarrow.array(array.ravel())
        if feature.shape == (1,):
            return flat
        return pyarrow.FixedSizeListArray.from_arrays(flat, feature.shape[0])


class EpisodeFile:
    """Writes ``meta/episodes``, one row for each episode, all of them in one file."""

    def __init__(self, root: Path) -> None:
        self._path = root / FileNumber().path(layout.EPISODES)
        self._pyarrow = extra.pyarrow()
        self._rows: list[Mapping[str, Any]] = []
        self._writer: Any = None

    def write(self, row: Mapping[str, Any]) -> None:
        """Write an episode, all with the same columns."""
        self._rows.append({**row, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        if len(self._rows) == _BUFFERED_EPISODES:
            self._flush()

    def close(self) -> None:
        """Finish the file."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _flush(self) -> None:
        if not self._rows:
            return
        schema = None if self._writer is None else self._writer.schema
        table = self._pyarrow.Table.from_pylist(self._rows, schema=schema)
        if self._writer is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._pyarrow.parquet.ParquetWriter(os.fspath(self._path), table.schema)
        self._writer.write_table(table)
        self._rows.clear()


def write_tasks(root: Path, tasks: Sequence[str]) -> None:
    """Write ``meta/tasks.parquet``, in which the text is the index of a pandas table, which LeRobot relies on."""
    pyarrow = extra.pyarrow()
    columns = [("task_index", "int64", "int64"), ("task", "unicode", "object")]
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_type, "metadata": None}
            for name, kind, numpy_type in columns
        ],
        "creator": {"library": "pyarrow", "version": pyarrow.__version__},
        "pandas_version": "2.2.0",
    }
    table = pyarrow.table(
        {
            "task_index": pyarrow.array(range(len(tasks)), pyarrow.int64()),
            "task": pyarrow.array(tasks, pyarrow.string()),
        }
    )
    path = root / layout.TASKS
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), os.fspath(path))
