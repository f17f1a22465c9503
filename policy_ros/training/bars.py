# SPDX-License-Identifier: Apache-2.0
"""Progress of a look through bags, on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from policy_ros.training.inspection import Progress

_FORMAT = "{desc} {percentage:3.0f} % |{bar}| {elapsed}, {remaining} left"


@contextmanager
def progress_bar(text: str) -> Iterator[Progress]:
    """A bar on stderr, gone at the end; nothing where stderr is no terminal. Give what it yields as ``progress``."""
    from tqdm import tqdm

    with tqdm(total=1.0, desc=text, bar_format=_FORMAT, leave=False, disable=None) as bar:

        def show(share: float) -> None:
            bar.update(share - bar.n)

        yield show
