# SPDX-License-Identifier: Apache-2.0
"""A ROS domain that nobody else of this project uses on this machine meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_domain() -> Iterator[int]:
    """One of the domains that all systems have; an abstract socket of its name is the lock, as in the tests."""
    for domain in range(100, 0, -1):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
            try:
                lock.bind(f"\0policy_ros test domain {domain}")
            except OSError:
                continue
            yield domain
            return
    raise RuntimeError("expected a free ROS domain, all 100 are in use by tests; end them")
