# SPDX-License-Identifier: Apache-2.0
"""What stands on the page, as plain values and texts, and the page made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from policy_ros.replay.report.libraries import jinja2, plotly_js


@dataclass(frozen=True)
class Number:
    """One of the numbers at the top.

    Attributes:
        title: what it is.
        value: as text.
        unit: behind it.
        interval: as text; empty without one.
        note: what to compare it with, or what it says.
        bad: whether it is to be seen at once.
    """

    title: str
    value: str
    unit: str = ""
    interval: str = ""
    note: str = ""
    bad: bool = False


@dataclass(frozen=True)
class Column:
    """Of a table. ``text`` is aligned left and sorted as text; ``wrap`` allows lines to break; ``note`` explains it."""

    title: str
    text: bool = False
    wrap: bool = False
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """Text, and for a column of numbers the value that it is sorted by; None: there is none."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class Row:
    """Cells in the order of columns; ``bad`` ones are marked."""

    cells: tuple[Cell, ...]
    bad: bool = False


@dataclass(frozen=True)
class Table:
    """A table that can be sorted."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Problem:
    """What was not evaluated, or not as it should have been, and why."""

    subject: str
    text: str


@dataclass(frozen=True)
class ShownPicture:
    """A camera's picture; ``source`` is a data URI."""

    camera: str
    source: str
    width: int
    height: int
    age: str


@dataclass(frozen=True)
class ShownMoment:
    """A worst moment; ``stretch`` is the number of its plot."""

    when: str
    error: str
    joint: str
    joint_error: str
    stretch: int
    pictures: tuple[ShownPicture, ...]


@dataclass(frozen=True)
class ShownStretch:
    """An entry of the selector, with what the script draws."""

    label: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Page:
    """Everything on the page. ``horizon``, ``alignment`` and ``histograms`` are what the script draws, plain values."""

    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    problems_title: str
    problems: Sequence[Problem]
    problems_note: str
    numbers: Sequence[Number]
    numbers_note: str
    joints: Table
    stretches: Sequence[ShownStretch]
    stretches_note: str
    moments: Sequence[ShownMoment]
    horizon: Mapping[str, Any] | None
    horizon_note: str
    alignment: Mapping[str, Any] | None
    alignment_note: str
    histograms: Sequence[Mapping[str, Any]]
    timing_note: str
    episodes: Table
    episodes_note: str
    bags: Table
    parameters: str
    definitions_note: str

    @property
    def data(self) -> dict[str, Any]:
        """What the script reads."""
        return {
            "stretches": [each.data for each in self.stretches],
            "horizon": self.horizon,
            "alignment": self.alignment,
            "histograms": list(self.histograms),
        }


def render(page: Page) -> str:
    """The page as HTML, whole in itself.

    Every text is escaped; what is not are the style sheet and the scripts, which come with the package and plotly.

    Raises:
        ConfigurationError: a library of the extra ``report`` is not installed.
    """
    jinja = jinja2()
    environment = jinja.Environment(
        loader=jinja.FunctionLoader(_template), autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    as_it_is = environment.filters["safe"]
    html: str = environment.get_template("report.html.j2").render(
        page=page,
        zip=zip,
        css=as_it_is(_template("report.css")),
        script=as_it_is(_template("report.js")),
        plotly=as_it_is(plotly_js()),
    )
    return html


def _template(name: str) -> str:
    return (files("policy_ros.replay.report") / "templates" / name).read_text(encoding="utf-8")
