# SPDX-License-Identifier: Apache-2.0
"""What a report keeps of a replay: the telling parts, bounded, whatever the order of bags."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.replay_traces import DT_S, SECOND_NS, make_trace, make_traces

from policy_ros.data import Observation
from policy_ros.replay.report import ReportCollector, ReportMaterial, merge
from policy_ros.replay.report.horizon import HorizonSums, added
from policy_ros.replay.report.pictures import encode
from policy_ros.replay.report.selection import REASONS, drawn
from policy_ros.replay.report.stretch import CHUNK_VALUES, LONGEST_S, TICK_VALUES, Stretch, stretches
from policy_ros.replay.trace import EpisodeTrace


def observation(trace: EpisodeTrace, sequence: int, side: int = 24) -> Observation:
    """Two cameras; the brightness of the first is the number of the chunk."""
    stamp_ns = trace.chunks[sequence].begin_ns - 15_000_000
    return Observation(
        {
            "observation.images.top": np.full((3, side, side + 8), sequence, np.uint8),
            "observation.images.wrist": np.zeros((2, 3, side, side), np.uint8),
            "observation.state": np.zeros(3, np.float32),
        },
        {"camera/top": stamp_ns, "joint_states": stamp_ns},
        stamp_ns,
    )


def collected(traces: Iterable[EpisodeTrace]) -> ReportMaterial:
    collector = ReportCollector()
    for trace in traces:
        for chunk in trace.chunks:
            collector.chunk(chunk, observation(trace, chunk.sequence))
        collector.episode(trace)
    return collector.material()


def with_error(trace: EpisodeTrace, sequence: int, error: float) -> EpisodeTrace:
    """One chunk off by more."""
    chunks = list(trace.chunks)
    chunks[sequence] = replace(chunks[sequence], actions=chunks[sequence].actions + np.float32(error))
    return replace(trace, chunks=tuple(chunks))


def kept(material: ReportMaterial, reason: str) -> list[int]:
    """Numbers of the episodes."""
    return [stretch.episode for stretch in material.picks.get(reason, ())]


def names(material: ReportMaterial) -> dict[str, list[tuple[str, int, float]]]:
    return {reason: [each.key for each in found] for reason, found in material.picks.items()}


def test_the_episodes_furthest_off_are_kept_worst_first():
    errors = [0.01, 0.2, 0.03, 0.3, 0.02, 0.1, 0.15]
    material = collected(make_trace(index=i, error=error) for i, error in enumerate(errors))
    assert kept(material, "furthest from the recording") == [3, 1, 6, 5]
    assert kept(material, "closest to the recording") == [0]
    assert material.episodes == len(errors)


def test_the_typical_episode_is_neither_the_best_nor_the_worst():
    errors = [0.01 * (1 + i) for i in range(7)]
    material = collected(make_trace(index=i, error=error) for i, error in enumerate(errors))
    (typical,) = [stretch for stretch, why in drawn(material.picks) if "typical" in why]
    assert typical.episode == 3


def test_episodes_with_holds_seams_and_a_gate_at_work_are_kept():
    traces = [
        make_trace(index=0),
        make_trace(index=1, hold=(100, 150), hold_cause="JUMP"),
        make_trace(index=2, seam=0.4),
        make_trace(index=3, clamped=[(50, 1), (51, 1)]),
        make_trace(index=4, hold=(100, 250)),
    ]
    material = collected(traces)
    assert kept(material, "longest on hold") == [4, 1]
    assert kept(material, "largest jump at a seam") == [2]
    assert kept(material, "most often clamped by the gate") == [3]
    (held,) = [each for each in material.picks["longest on hold"] if each.episode == 1]
    assert held.holds == ((pytest.approx(2.0), pytest.approx(3.0), "JUMP", "planted"),)
    assert held.held_s == pytest.approx(1.0)


def test_every_drawn_episode_is_drawn_once_with_all_its_reasons():
    material = collected([make_trace(error=0.1, hold=(100, 150))])
    ((stretch, why),) = drawn(material.picks)
    assert stretch.episode == 0
    assert why[:2] == ["furthest from the recording", "longest on hold"]
    assert {"typical", "closest to the recording"} <= set(why)


def test_the_worst_moment_has_the_pictures_that_its_chunk_was_computed_from():
    trace = with_error(make_trace(error=[0.01, 0.0, 0.02]), 17, 0.5)
    ((stretch, _),) = drawn(collected([trace]).picks)
    moment = stretch.worst
    assert moment is not None
    assert moment.sequence == 17
    assert moment.at_s == pytest.approx((trace.chunks[17].begin_ns - trace.episode.start_ns) / SECOND_NS)
    assert moment.error == pytest.approx(0.51, abs=1e-4)
    assert (moment.joint, moment.joint_error) == ("joint_3", pytest.approx(0.52, abs=1e-4))
    top, wrist = moment.pictures
    assert (top.camera, top.media_type, top.width, top.height) == ("top", "image/png", 32, 24)
    assert top.age_s == pytest.approx(0.015)
    assert wrist.age_s is None
    decoded = cv2.imdecode(np.frombuffer(top.data, np.uint8), cv2.IMREAD_COLOR)
    assert (decoded == 17).all()


def test_a_picture_keeps_its_colours_and_a_large_one_is_shrunk():
    image = np.zeros((3, 960, 1280), np.uint8)
    image[0] = 200  # red
    picture = encode("top", image, None)
    assert (picture.media_type, picture.width, picture.height) == ("image/jpeg", 640, 480)
    blue, green, red = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)[240, 320]
    assert red > 190
    assert max(blue, green) < 10


def test_an_observation_without_pictures_is_no_obstacle():
    trace = make_trace(error=0.1)
    collector = ReportCollector()
    bare = Observation({"observation.state": np.zeros(3, np.float32)}, {}, 0)
    for chunk in trace.chunks:
        collector.chunk(chunk, bare)
    collector.episode(trace)
    ((stretch, _),) = drawn(collector.material().picks)
    assert stretch.worst is not None
    assert stretch.worst.pictures == ()


def test_a_recording_without_commands_is_drawn_without_a_worst_moment():
    material = collected([make_trace(has_commands=False, hold=(100, 150))])
    ((stretch, why),) = drawn(material.picks)
    assert stretch.worst is None
    assert "furthest from the recording" not in why
    assert material.horizon is not None
    assert np.isnan(material.horizon.mean()).all()


def test_without_episodes_nothing_is_kept():
    assert collected([]) == ReportMaterial()
    assert merge([]) == ReportMaterial()


def test_merging_gives_what_one_collector_would_have_kept_in_any_order():
    traces = [
        *make_traces(5, bag="a", error=0.1, hold=(100, 120), noise=0.01),
        *make_traces(4, bag="b", error=0.05, seam=0.1, noise=0.02),
        *make_traces(6, bag="c", clamped=[(9, 0)], noise=0.05),
    ]
    whole = collected(traces)
    parts = [collected(traces[:5]), collected(traces[5:9]), collected(traces[9:])]
    for order in (parts, parts[::-1], [merge(parts[1:]), parts[0]]):
        together = merge(iter(order))
        assert names(together) == names(whole)
        assert together.episodes == whole.episodes == 15
        assert together.horizon is not None
        assert whole.horizon is not None
        np.testing.assert_allclose(together.horizon.mean(), whole.horizon.mean(), rtol=1e-12)
        np.testing.assert_allclose(together.horizon.half_width(), whole.horizon.half_width(), rtol=1e-6)


def test_what_is_kept_survives_pickling():
    material = collected(make_traces(2, error=0.1))
    again = pickle.loads(pickle.dumps(material))
    assert names(again) == names(material)
    np.testing.assert_array_equal(again.horizon.error, material.horizon.error)


def test_a_hundred_episodes_take_no_more_memory_than_the_few_that_are_kept():
    def size(count: int) -> int:
        return len(pickle.dumps(collected(make_traces(count, ticks=150, noise=0.01, seam=0.01))))

    assert size(100) < sum(reason.keep for reason in REASONS) * size(1)


def test_a_long_episode_is_cut_into_stretches_that_leave_nothing_out():
    trace = make_trace(ticks=7000)  # 140 s
    cut = list(stretches(trace, {}))
    assert len(cut) == 3
    times = np.concatenate([each.times_s for each in cut])
    np.testing.assert_allclose(times, np.arange(7000) * DT_S, atol=1e-4)
    assert all(each.end_s - each.begin_s <= LONGEST_S for each in cut)
    assert sum(each.chunks for each in cut) == len(trace.chunks)
    assert all(each.chunks_drawn == each.chunks for each in cut)


def test_many_joints_are_drawn_around_the_worst_moment_in_bounded_memory():
    joints, worst = 40, 260
    trace = with_error(make_trace(ticks=3000, joints=joints), worst, 1.0)
    (cut,) = stretches(trace, {})
    assert cut.commands.size + cut.recorded.size + cut.measured.size <= TICK_VALUES
    assert cut.worst is not None
    assert cut.worst.sequence == worst
    assert cut.begin_s < cut.worst.at_s < cut.end_s
    assert cut.covers_s == pytest.approx(2999 * DT_S)


def test_chunks_of_every_step_are_thinned_evenly():
    trace = make_trace(ticks=600, joints=6, horizon=50, execution_horizon=1)
    (cut,) = stretches(trace, {})
    assert cut.chunk_rows.size <= CHUNK_VALUES + 50 * 6
    assert 1 < cut.chunks_drawn < cut.chunks == len(trace.chunks)


def test_rows_of_chunks_lie_on_the_executed_commands_that_they_became():
    """Row i of a chunk is for begin + (i + 1) dt, a command of a tick for one period later."""
    trace = make_trace(ticks=60, error=0.3, execution_horizon=20, horizon=20)
    (cut,) = stretches(trace, {})
    rows = {round(float(time), 3): row for time, row in zip(cut.chunk_times_s, cut.chunk_rows, strict=True)}
    for time, command in zip(cut.times_s + cut.dt_s, cut.commands, strict=True):
        np.testing.assert_allclose(rows[round(float(time), 3)], command, atol=1e-6)


def test_seams_are_where_one_chunk_follows_another():
    trace = make_trace(ticks=100, hold=(45, 60), seam=0.25)
    (cut,) = stretches(trace, {})
    assert cut.seams.tolist() == [10, 20, 30, 40, 70, 80, 90]  # none into or out of the hold
    assert cut.seam_jump == pytest.approx(0.25, abs=0.02)


def test_a_stretch_does_not_keep_its_episode_alive():
    (cut, *_) = stretches(make_trace(ticks=7000), {})
    assert isinstance(cut, Stretch)
    assert all(getattr(cut, name).base is None for name in ("times_s", "commands", "recorded", "measured", "clamped"))


def test_an_episode_without_ticks_has_nothing_to_draw():
    trace = make_trace(ticks=50, ready_tick=50)
    assert list(stretches(trace, {})) == []
    assert collected([trace]).episodes == 1


def test_the_error_by_row_is_that_of_the_episodes_chunks():
    trace = make_trace(ticks=101, error=[0.1, 0.2, 0.3], horizon=5, execution_horizon=5)
    sums = HorizonSums.of_episode(trace.joint_names, trace.chunks)
    assert sums is not None
    np.testing.assert_allclose(sums.mean(), np.tile([0.1, 0.2, 0.3, 0.2], (5, 1)), atol=1e-6)
    assert np.isnan(sums.half_width()).all()  # one episode says nothing about others


def test_the_interval_by_row_is_that_of_episode_means_where_episodes_are_equally_long():
    errors = np.array([0.1, 0.4, 0.2, 0.5])
    traces = [make_trace(index=i, ticks=101, horizon=5, execution_horizon=5, error=e) for i, e in enumerate(errors)]
    sums = added(one for each in traces if (one := HorizonSums.of_episode(each.joint_names, each.chunks)))
    assert sums is not None
    standard_error = errors.std(ddof=1) / 2.0
    np.testing.assert_allclose(sums.half_width(), 1.959964 * standard_error, rtol=1e-4)


def test_sums_of_other_joints_do_not_mix():
    one, other = (make_trace(joints=joints) for joints in (2, 3))
    sums = [HorizonSums.of_episode(each.joint_names, each.chunks) for each in (one, other)]
    with pytest.raises(ValueError, match="joint_1, joint_2, got 20 rows of joint_1, joint_2, joint_3"):
        added(each for each in sums if each is not None)


def test_every_reason_has_a_name_of_its_own():
    assert len({reason.name for reason in REASONS}) == len(REASONS)
