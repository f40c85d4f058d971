from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data import Images
from train.errors import DataError
from train.splits import balanced, reproduce, split


def images(labels: list[int], digests: list[str], sides: list[str | None] | None = None) -> Images:
    count = len(labels)
    return Images(
        classes=tuple("abc"[: max(labels) + 1]),
        pixels=np.zeros((count, 8, 8, 3), np.uint8),
        labels=np.array(labels, np.int64),
        paths=tuple(f"{i}.png" for i in range(count)),
        digests=tuple(digests),
        sides=tuple(sides or [None] * count),
    )


def different(per_class: int, classes: int = 3) -> Images:
    labels = [label for label in range(classes) for _ in range(per_class)]
    return images(labels, [f"digest{i}" for i in range(len(labels))])


def test_every_class_gives_the_same_share_to_each_side() -> None:
    whole = different(100)
    sides = split(whole, 0.1, 0.2, seed=0)
    for indices, per_class in ((sides.test, 20), (sides.val, 8), (sides.train, 72)):
        assert np.bincount(whole.labels[indices]).tolist() == [per_class] * 3


def test_the_seed_decides_the_split() -> None:
    first, again, other = (split(different(50), 0.1, 0.1, seed) for seed in (1, 1, 2))
    assert np.array_equal(first.test, again.test)
    assert not np.array_equal(first.test, other.test)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30)), min_size=1, max_size=60), st.integers(0, 9))
def test_copies_of_an_image_never_stand_on_two_sides(drawn: list[tuple[int, int]], seed: int) -> None:
    labels, numbers = [0, 1] * 10 + [d[0] for d in drawn], list(range(100, 120)) + [d[1] for d in drawn]
    whole = images(labels, [f"digest{number}" for number in numbers])
    sides = split(whole, 0.2, 0.2, seed)
    content = [{whole.digests[i] for i in side} for side in (sides.train, sides.val, sides.test)]
    assert not content[0] & content[1]
    assert not content[0] & content[2]
    assert not content[1] & content[2]
    everything = np.concatenate([sides.train, sides.val, sides.test, sides.leaked])
    assert sorted(everything) == list(range(len(labels)))


def test_the_sides_of_the_folders_are_kept() -> None:
    whole = images([0, 1] * 3, list("abcdef"), ["train", "train", "val", "val", "test", "test"])
    sides = split(whole, 0.5, 0.5, seed=0)
    assert (sides.train.tolist(), sides.val.tolist(), sides.test.tolist()) == ([0, 1], [2, 3], [4, 5])


def test_a_copy_of_a_test_image_among_the_training_images_is_used_nowhere() -> None:
    whole = images(
        [0, 1, 0, 1, 0, 1, 0], list("abcdefe"), ["train", "train", "val", "val", "test", "test", "train"]
    )
    sides = split(whole, 0.5, 0.5, seed=0)
    assert sides.leaked.tolist() == [6]
    assert sides.record(whole.digests, seed=0)["leaked_copies_left_out"] == 1


def test_a_class_too_small_for_every_side_is_refused() -> None:
    whole = images([0, 0, 0, 0, 1], list("abcde"))
    with pytest.raises(DataError, match="class 'b' has no image left for train"):
        split(whole, 0.2, 0.2, seed=0)


def test_the_record_names_the_content_of_each_side() -> None:
    whole = different(50)
    first, other = (split(whole, 0.1, 0.1, seed).record(whole.digests, seed) for seed in (1, 2))
    assert first["images"] == {"train": 123, "val": 12, "test": 15}
    assert first["content_sha256"] != other["content_sha256"]


def test_a_recorded_split_is_reproduced_or_refused() -> None:
    whole = different(20)
    recipe = {"validation_fraction": 0.1, "test_fraction": 0.2}
    sides = split(whole, 0.1, 0.2, seed=3)
    recorded = {"recipe": recipe, "data": sides.record(whole.digests, 3)}
    again = reproduce(whole, recorded)
    assert [again.train.tolist(), again.val.tolist()] == [sides.train.tolist(), sides.val.tolist()]
    with pytest.raises(DataError, match="its train images are others"):
        reproduce(different(21), recorded)
    with pytest.raises(DataError, match="does not record"):
        reproduce(whole, {"data": recorded["data"]})


def test_as_many_of_each_class_as_were_asked_for_are_trained_on() -> None:
    whole = images([0] * 100 + [1] * 40, [f"digest{i}" for i in range(140)])
    sides = split(whole, 0.1, 0.1, seed=0)
    few = balanced(sides, whole, 20, seed=0)
    assert np.bincount(whole.labels[few.train]).tolist() == [20, 20]
    assert set(few.train) < set(sides.train)
    assert np.array_equal(few.test, sides.test)
    assert np.array_equal(few.train, balanced(sides, whole, 20, seed=0).train)
    assert balanced(sides, whole, None, seed=0) is sides


def test_more_of_a_class_than_there_are_cannot_be_trained_on() -> None:
    whole = images([0] * 100 + [1] * 40, [f"digest{i}" for i in range(140)])
    with pytest.raises(DataError, match="class 'b' has 32 images to train on, not 33"):
        balanced(split(whole, 0.1, 0.1, seed=0), whole, 33, seed=0)


def test_a_balanced_split_can_be_drawn_again_from_what_is_recorded() -> None:
    whole = different(50)
    sides = balanced(split(whole, 0.1, 0.1, seed=3), whole, 7, seed=3)
    recipe = {"validation_fraction": 0.1, "test_fraction": 0.1, "per_class": 7}
    found = reproduce(whole, {"recipe": recipe, "data": sides.record(whole.digests, 3)})
    assert np.array_equal(found.train, sides.train)
