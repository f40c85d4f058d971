"""Scenes are drawn from seeds, without Mitsuba, and their labels are true by construction."""

from __future__ import annotations

import json
from dataclasses import asdict, fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.bottles import camera as view
from train.bottles import placing
from train.bottles.distributions import SHIFTED, USUAL, Range
from train.bottles.parameters import LABELS, Scene
from train.bottles.sampling import SETS, Set, scene

sets = st.sampled_from(sorted(SETS))
seeds = st.integers(0, 1000)
indices = st.integers(0, 100_000)
QUICK = settings(max_examples=60, deadline=None)


def mouth(drawn: Scene) -> np.ndarray:
    """Where the rim of the mouth, and of a cap on it, is in the frame."""
    assert drawn.bottle
    pose = view.pose(drawn.camera, drawn.bottle.height_cm)
    return pose.project(view.mouth_points(drawn.bottle.height_cm))


@QUICK
@given(which=sets, seed=seeds, index=indices)
def test_a_scene_is_a_function_of_set_seed_and_index_and_goes_into_a_manifest(
    which: Set, seed: int, index: int
) -> None:
    drawn = scene(which, seed, index)
    assert drawn == scene(which, seed, index)
    assert json.loads(json.dumps(asdict(drawn)))["label"] == drawn.label


@QUICK
@given(which=sets, seed=seeds, index=indices)
def test_the_mouth_is_in_the_frame_and_large_enough_where_the_label_tells_open_from_closed(
    which: Set, seed: int, index: int
) -> None:
    drawn = scene(which, seed, index)
    if drawn.label == "unknown":
        return
    seen = mouth(drawn)
    assert (seen > 0.04).all()
    assert (seen < 0.96).all()
    assert np.ptp(seen[:, 0]) > 0.1 or np.ptp(seen[:, 1]) > 0.1
    assert (drawn.cap is not None) == (drawn.label == "closed")


@QUICK
@given(seed=seeds, index=indices)
def test_a_mouth_that_is_out_of_the_frame_is_wholly_out_of_it(seed: int, index: int) -> None:
    drawn = scene("mouth-out", seed, index)
    assert drawn.label == "unknown"
    assert (np.abs(mouth(drawn) - 0.5) > 0.5).any(axis=1).all()
    assert not drawn.neighbours  # whose mouths might be seen


@QUICK
@given(which=sets, seed=seeds, index=indices)
def test_a_hand_leaves_the_mouth_free_unless_it_is_the_reason_not_to_know(
    which: Set, seed: int, index: int
) -> None:
    drawn = scene(which, seed, index)
    if drawn.hand and drawn.bottle and drawn.label != "unknown":
        highest = drawn.hand.height_cm + 8 * drawn.hand.finger_radius_cm
        assert highest < drawn.bottle.height_cm - 3


@QUICK
@given(seed=seeds, index=indices)
def test_there_is_no_bottle_where_none_is_promised(seed: int, index: int) -> None:
    drawn = scene("bottle-free", seed, index)
    assert drawn.bottle is None
    assert drawn.cap is None
    assert not drawn.neighbours
    assert drawn.label == "unknown"


@QUICK
@given(which=sets, seed=seeds)
def test_the_first_scenes_of_a_set_are_the_same_however_many_follow_and_other_sets_have_others(
    which: Set, seed: int
) -> None:
    other: Set = "train" if which != "train" else "held-out"
    assert scene(which, seed, 0).seed != scene(other, seed, 0).seed
    assert scene(which, seed, 0).light != scene(other, seed, 0).light


def test_the_labels_take_turns() -> None:
    labels = [scene("train", 0, index).label for index in range(9)]
    assert labels == [*LABELS] * 3


@pytest.mark.parametrize("field", ["walls", "tables", "lights", "things", "drinks", "glasses"])
def test_the_shifted_set_shares_no_choice_with_what_is_trained_on(field: str) -> None:
    assert not set(getattr(USUAL, field)) & set(getattr(SHIFTED, field))


def test_a_shifted_bottle_differs_from_every_usual_one_in_a_range_of_its_shape() -> None:
    ranges = [field.name for field in fields(USUAL.shapes[0]) if field.name != "name"]
    for shifted in SHIFTED.shapes:
        for usual in USUAL.shapes:
            assert any(apart(getattr(shifted, name), getattr(usual, name)) for name in ranges)


def test_no_hue_of_a_shifted_cap_is_one_of_a_usual_cap() -> None:
    assert not SHIFTED.bare_caps
    assert all(apart(one, other) for one in SHIFTED.cap_hues for other in USUAL.cap_hues)


def apart(one: Range, other: Range) -> bool:
    return one[1] < other[0] or other[1] < one[0]


def test_unknown_has_every_reason() -> None:
    reasons = {scene("train", 0, index).reason for index in range(2, 300, 3)}
    assert reasons == {"no bottle", "mouth out of frame", "mouth covered", "collage"}
    assert placing.mouth_z_cm(None) > 0
