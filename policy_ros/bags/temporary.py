# SPDX-License-Identifier: Apache-2.0
"""A folder for decompressed copies of files."""

from __future__ import annotations

import os
import shutil
import weakref
from pathlib import Path
from tempfile import mkdtemp


class TemporaryFolder:
    """Made when it is first asked for, removed with this object; not by a forked worker, which shares it."""

    def __init__(self) -> None:
        self._made: Path | None = None

    @property
    def path(self) -> Path:
        """The folder."""
        if self._made is None:
            self._made = Path(mkdtemp(prefix="policy_ros_bag_"))
            weakref.finalize(self, _remove, self._made, os.getpid())
        return self._made


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
