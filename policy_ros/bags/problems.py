# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a bag that can be read all the same: one line for each thing, however often it happens."""

from __future__ import annotations


class Problems:
    """Lines in the order of their first occurrence; the same key again only counts."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, ...], str] = {}
        self._counts: dict[tuple[str, ...], int] = {}

    def add(self, text: str, *key: str) -> None:
        """Note a problem.

        Args:
            text: what was expected, what came and what to do about it, in one line.
            key: what makes it the same as an earlier one, whose text is kept; empty: the text itself.
        """
        key = key or (text,)
        self._lines.setdefault(key, text)
        self._counts[key] = self._counts.get(key, 0) + 1

    def lines(self) -> list[str]:
        """One line for each problem, with the number of occurrences where there was more than one."""
        return [
            text if self._counts[key] == 1 else f"{text} ({self._counts[key]} times)"
            for key, text in self._lines.items()
        ]
