# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from support.replay_traces import make_trace

from policy_ros.replay.metrics import measure, summarize
from policy_ros.replay.metrics.episode import EpisodeMetrics
from policy_ros.replay.trace import PictureTrace

RED, BLUE = np.array([0.8, 0.2, 0.2]), np.array([0.2, 0.2, 0.8])
STD = np.full(3, 0.1)


def pictures(top, wrist, trained=((RED, STD), (BLUE, STD)), count=4):
    names = ("observation.images.top", "observation.images.wrist")
    return tuple(
        PictureTrace(name, count, mean, *known) for name, mean, known in zip(names, (top, wrist), trained, strict=True)
    )


def summary(*episodes):
    return summarize([measure(replace(make_trace(), pictures=each)) for each in episodes])


def value(found, name):
    return found.values()[name].value


def test_pictures_like_those_of_the_training_are_no_shift():
    found = summary(pictures(RED, BLUE))
    assert value(found, "picture_shift") == 0.0 and value(found, "camera_order_gain") == 0.0
    assert found.suspected_camera_order == ()


def test_the_shift_is_the_distance_of_mean_colours_in_deviations_of_the_worst_camera():
    found = summary(pictures(RED + np.array([0.3, 0.0, 0.0]), BLUE))
    assert value(found, "picture_shift") == pytest.approx(np.sqrt(3.0**2 / 3.0), rel=1e-5)


def test_episodes_are_pooled_by_their_pictures():
    found = summary(pictures(RED + 0.4, BLUE, count=1), pictures(RED, BLUE, count=3))
    assert value(found, "picture_shift") == pytest.approx(1.0, rel=1e-5)
    assert found.values()["picture_shift"].count == 4


def test_exchanged_cameras_are_suspected_by_name():
    found = summary(pictures(BLUE, RED + 0.05))
    (suspected,) = found.suspected_camera_order
    assert suspected.predicted == ("observation.images.top", "observation.images.wrist")
    assert suspected.fits == suspected.predicted[::-1]
    assert value(found, "camera_order_gain") == suspected.gain > 0.8


def test_statistics_that_are_the_same_for_all_cameras_show_no_exchange():
    found = summary(pictures(BLUE, RED, trained=((RED, STD), (RED, STD))))
    assert value(found, "camera_order_gain") == 0.0 and value(found, "picture_shift") > 1.0


def test_without_statistics_there_is_no_value():
    found = summary(pictures(BLUE, RED, trained=((None, None), (None, None))), ())
    assert value(found, "picture_shift") is None and value(found, "camera_order_gain") is None


def test_they_survive_json():
    episode = measure(replace(make_trace(), pictures=pictures(RED, BLUE)))
    assert EpisodeMetrics.from_json(json.loads(json.dumps(episode.as_json()))) == episode
