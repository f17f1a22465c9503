# SPDX-License-Identifier: Apache-2.0
"""Joint states are merged by name, whatever subset and order they come in."""

from __future__ import annotations

import numpy as np
import pytest

from policy_ros.observation.joints import JointMerger
from policy_ros.observation.statistics import DropCause

NAMES = ("shoulder", "elbow", "gripper")


def test_order_of_the_message_does_not_matter():
    merger = JointMerger(NAMES)
    assert merger.update(["gripper", "shoulder", "elbow"], [0.3, 0.1, 0.2], 5) is None
    snapshot = merger.snapshot()
    assert snapshot is not None
    np.testing.assert_array_equal(snapshot.positions, [0.1, 0.2, 0.3])


def test_any_partition_and_order_of_the_joints_merges_to_the_same_vector():
    rng = np.random.default_rng(1)
    names = tuple(f"joint_{i}" for i in range(7))
    for _ in range(50):
        merger = JointMerger(names)
        values = rng.normal(size=7)
        order = rng.permutation(7)
        cuts = sorted(rng.integers(0, 8, size=2).tolist())
        for part in np.split(order, cuts):
            merger.update([names[i] for i in part], [values[i] for i in part], 1)
        snapshot = merger.snapshot()
        assert snapshot is not None
        np.testing.assert_array_equal(snapshot.positions, values)


def test_fault_04_partial_messages_merge_and_the_stamp_is_that_of_the_oldest_joint():
    merger = JointMerger(NAMES)
    merger.update(["shoulder", "elbow"], [0.1, 0.2], 10)
    merger.update(["gripper"], [0.3], 12)
    merger.update(["shoulder", "elbow"], [0.11, 0.21], 20)
    snapshot = merger.snapshot()
    assert snapshot is not None
    assert snapshot.stamp_ns == 12
    np.testing.assert_array_equal(snapshot.positions, [0.11, 0.21, 0.3])


def test_fault_04_a_joint_never_seen_is_named_and_there_is_no_snapshot():
    merger = JointMerger(NAMES)
    merger.update(["shoulder", "gripper"], [0.1, 0.3], 10)
    assert merger.snapshot() is None
    assert merger.missing() == ("elbow",)


def test_unknown_joints_are_ignored_whatever_they_hold():
    merger = JointMerger(NAMES)
    assert merger.update(["wheel", *NAMES], [float("nan"), 0.1, 0.2, 0.3], 10) is None
    snapshot = merger.snapshot()
    assert snapshot is not None
    np.testing.assert_array_equal(snapshot.positions, [0.1, 0.2, 0.3])
    assert not merger.concerns(["wheel", "mast"])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_fault_05_a_message_with_a_value_that_is_not_finite_changes_nothing(bad: float):
    merger = JointMerger(NAMES)
    merger.update(NAMES, [0.1, 0.2, 0.3], 10)
    assert merger.update(NAMES, [0.11, bad, 0.31], 20) is DropCause.NON_FINITE
    snapshot = merger.snapshot()
    assert snapshot is not None
    assert snapshot.stamp_ns == 10
    np.testing.assert_array_equal(snapshot.positions, [0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("names", "positions"),
    [(NAMES, [0.1, 0.2]), (NAMES, []), (NAMES[:2], [0.1, 0.2, 0.3]), (["elbow", "elbow"], [0.1, 0.1])],
)
def test_fault_07_lengths_that_differ_and_doubled_names_are_malformed(names: list[str], positions: list[float]):
    merger = JointMerger(NAMES)
    assert merger.update(names, positions, 10) is DropCause.MALFORMED
    assert merger.missing() == NAMES


def test_a_joint_heard_of_later_keeps_its_value_while_the_others_are_taken():
    merger = JointMerger(NAMES)
    merger.update(["elbow"], [0.5], 30)
    assert merger.update(NAMES, [0.1, 0.2, 0.3], 20) is DropCause.OUT_OF_ORDER
    snapshot = merger.snapshot()
    assert snapshot is not None
    assert snapshot.stamp_ns == 20
    np.testing.assert_array_equal(snapshot.positions, [0.1, 0.5, 0.3])


def test_a_snapshot_does_not_change_with_later_messages():
    merger = JointMerger(NAMES)
    merger.update(NAMES, [0.1, 0.2, 0.3], 10)
    before = merger.snapshot()
    merger.update(NAMES, [0.11, 0.21, 0.31], 20)
    assert before is not None
    np.testing.assert_array_equal(before.positions, [0.1, 0.2, 0.3])


def test_fault_25_a_second_source_whose_clock_lags_is_found_although_its_samples_are_out_of_order():
    merger = JointMerger(NAMES)
    for i in range(10):
        merger.update(NAMES, [0.1, 0.2, 0.3], i * 10_000_000)
        merger.update(["elbow"], [0.9], i * 10_000_000 - 5_000_000)
    assert [conflict.joint for conflict in merger.conflicts()] == ["elbow"]


def test_fault_25_a_joint_with_two_sources_is_named_and_its_samples_are_dropped_until_cleared():
    merger = JointMerger(NAMES)
    causes = []
    for i in range(10):
        elbow = 0.2 if i % 2 == 0 else 0.9
        causes.append(merger.update(NAMES, [0.1, elbow, 0.3], i * 10_000_000))
    assert causes[0] is None and causes[-1] is DropCause.CONFLICTING
    (conflict,) = merger.conflicts()
    assert conflict.joint == "elbow" and set(conflict.values) == {0.2, 0.9}
    assert "'elbow'" in str(conflict) and "0.2000" in str(conflict) and "0.9000" in str(conflict)
    snapshot = merger.snapshot()
    assert snapshot is not None and snapshot.stamp_ns < 9 * 10_000_000
    merger.clear()
    assert merger.conflicts() == ()
    assert merger.update(NAMES, [0.1, 0.2, 0.3], 200_000_000) is None
