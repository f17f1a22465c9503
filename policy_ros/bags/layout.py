# SPDX-License-Identifier: Apache-2.0
"""Which files make up a bag: by its metadata.yaml, or, where a killed recorder left none, by what lies there."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from policy_ros.bags.errors import BagError
from policy_ros.bags.problems import Problems

METADATA = "metadata.yaml"
SUFFIXES = (".mcap", ".db3")
COMPRESSED = ".zstd"
_YamlLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # many topics with their QoS: 20 times as fast in C


def storage_suffix(path: Path) -> str:
    """``.mcap`` or ``.db3``, also of a compressed file; empty for any other file."""
    name = path.name.removesuffix(COMPRESSED)
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def bag_files(path: Path, problems: Problems) -> list[Path]:
    """The files of a bag in the order of recording.

    Args:
        path: a directory, or one file.
        problems: where to note files that are missing and metadata that cannot be read.

    Raises:
        BagError: there is nothing, or nothing that could be a bag of ROS 2.
    """
    if not path.exists():
        raise BagError(f"{path}: expected a bag, got nothing there; check the path")
    if path.is_file():
        if not storage_suffix(path):
            raise BagError(
                f"{path}: expected a bag's directory or a file {_either()}, got another kind of file{_hint(path)}"
            )
        return [path]
    found = sorted((file for file in path.iterdir() if file.is_file() and storage_suffix(file)), key=_natural)
    listed = _listed(path, problems)
    if listed is None:
        files = found
    else:
        missing = [file.name for file in listed if not file.exists()]
        if missing:
            problems.add(f"{path}: expected the files that {METADATA} lists, missing: {', '.join(missing)}; left out")
        files = [file for file in listed if file.exists()]
    if not files:
        raise BagError(f"{path}: expected a bag's directory with files {_either()}, got none of them{_hint(path)}")
    return files


def _listed(path: Path, problems: Problems) -> list[Path] | None:
    """The files that the metadata lists, or None."""
    metadata = path / METADATA
    if not metadata.exists():
        problems.add(f"{path}: expected {METADATA}, got none (was the recorder killed?); read by the files themselves")
        return None
    try:
        content: Any = yaml.load(metadata.read_text(), _YamlLoader)
        names: list[str] = content["rosbag2_bagfile_information"]["relative_file_paths"]
        # Old ones hold the path from the directory's parent; never leave the directory.
        return [path / PurePosixPath(name).name for name in names]
    except (yaml.YAMLError, OSError, UnicodeDecodeError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        problems.add(f"{metadata}: expected a list of the bag's files, got {reason}; read by the files themselves")
        return None


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts ``bag_10`` behind ``bag_9``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _either() -> str:
    return " or ".join(f"*{suffix}" for suffix in SUFFIXES)


def _hint(path: Path) -> str:
    if path.suffix == ".bag" or (path.is_dir() and any(path.glob("*.bag"))):
        return "; a bag of ROS 1 has to be converted first, e.g. by rosbags-convert"
    return ""
