"""Geometry, light and film, without Mitsuba."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from train.bottles import camera as view
from train.bottles import geometry, hands, surroundings, textures, things
from train.bottles.distributions import SHIFTED, USUAL
from train.bottles.geometry import Surface
from train.bottles.parameters import Bottle, Camera
from train.bottles.photograph import develop
from train.bottles.sampling import scene

BOTH = (USUAL, SHIFTED)


def bottles(count: int) -> list[Bottle]:
    drawn = [scene(which, 0, index).bottle for which in ("train", "shifted") for index in range(count)]
    return [bottle for bottle in drawn if bottle]


def assert_sound(surface: Surface) -> None:
    """Finite, unit normals, and triangles that face the way of their normals."""
    assert np.isfinite(surface.vertices).all()
    assert np.linalg.norm(surface.normals, axis=1) == pytest.approx(np.ones(len(surface.normals)), abs=1e-6)
    a, b, c = (surface.vertices[surface.faces[:, i]] for i in range(3))
    facing = np.cross(b - a, c - a)
    areas = np.linalg.norm(facing, axis=1)
    agreement = (facing * surface.normals[surface.faces].mean(axis=1)).sum(axis=1)
    assert (agreement[areas > 1e-6] > 0).mean() > 0.98  # but for a few at sharp edges


def test_every_part_of_a_bottle_is_sound() -> None:
    for bottle in bottles(6):
        for surface in (geometry.glass(bottle), geometry.inside(bottle, 0.0, 10.0), *geometry.crown()):
            assert_sound(surface)


def test_the_inside_is_within_the_outside_and_leaves_a_bore_at_the_mouth() -> None:
    for bottle in bottles(12):
        for height in np.linspace(2, bottle.height_cm - 0.5, 40):
            inner = geometry.inner_radius(bottle, height)
            assert geometry.BORE_CM - 1e-9 <= inner < geometry.outer_radius(bottle, height)


def test_a_cap_has_21_flutes() -> None:
    _, skirt = geometry.crown()
    lowest = skirt.vertices[skirt.vertices[:, 2] < skirt.vertices[:, 2].min() + 1e-6][:-1]
    spectrum = np.abs(np.fft.rfft(np.hypot(lowest[:, 0], lowest[:, 1])))
    assert spectrum[1:].argmax() + 1 == geometry.FLUTES


@pytest.mark.parametrize("kind", sorted({kind for each in BOTH for kind in each.things}))
def test_every_thing_is_sound_and_of_about_its_size(kind: str) -> None:
    made = things.surfaces(kind, 3.2 if kind == "cap" else 10.0, 30.0)
    for surface in made:
        assert_sound(surface)
    reach = np.ptp(np.concatenate([surface.vertices for surface in made]), axis=0).max()
    assert reach == pytest.approx(3.3 if kind == "cap" else 10.0, rel=0.35)


def test_a_hand_is_outside_the_glass() -> None:
    drawn = next(s for s in (scene("train", 0, i) for i in range(50)) if s.hand and s.label == "open")
    assert drawn.hand
    assert drawn.bottle
    for surface in hands.skin(drawn.hand, drawn.bottle):
        radii = np.hypot(surface.vertices[:, 0], surface.vertices[:, 1])
        glass = [geometry.outer_radius(drawn.bottle, z) for z in surface.vertices[:, 2]]
        assert (radii - glass).min() > -0.5  # a finger yields a little


def test_a_camera_sees_the_mouth_where_it_was_told_to() -> None:
    camera = Camera(112, 149, 35.0, 20.0, 12.0, 0.3, 0.25, 0.2)
    pose = view.pose(camera, 23.0)
    assert pose.project(np.array([[0.0, 0.0, 23.0]])) == pytest.approx(np.array([[0.3, 0.25]]), abs=1e-9)
    right = np.array([[-1, 0, 0], [1, 0, 0]]) * geometry.MOUTH_RADIUS_CM + [0, 0, 23.0]
    apart = np.diff(pose.project(right), axis=0)[0] * [1, 149 / 112]
    assert np.linalg.norm(apart) == pytest.approx(0.2, rel=0.1)
    assert np.linalg.det(pose.matrix()) == pytest.approx(1)
    assert pose.axes.T @ pose.axes == pytest.approx(np.eye(3), abs=1e-9)


@pytest.mark.parametrize("kind", sorted({kind for each in BOTH for kind in (*each.walls, *each.tables)}))
def test_a_texture_is_a_function_of_its_seed(kind: str) -> None:
    painted = textures.paint(kind, 1, size=48, blur=1.0)
    assert painted.shape == (48, 48, 3)
    assert painted.dtype == np.float32
    assert np.array_equal(painted, textures.paint(kind, 1, size=48, blur=1.0))
    assert not np.array_equal(painted, textures.paint(kind, 2, size=48, blur=1.0))
    assert 0 <= painted.min() <= painted.max() <= 1


@pytest.mark.parametrize("kind", [*USUAL.lights, *SHIFTED.lights])
def test_an_environment_gives_light_everywhere(kind: str) -> None:
    light = replace(scene("train", 0, 0).light, kind=kind)
    painted = surroundings.environment(light)
    assert painted.shape == (surroundings.HEIGHT, surroundings.WIDTH, 3)
    assert painted.min() >= 0
    assert painted.mean() > 0.1


def test_a_photograph_is_metered_so_that_the_strength_of_the_light_does_not_matter() -> None:
    light = textures.leaves(np.random.default_rng(0), 64, 48)
    photo = replace(scene("train", 0, 0).photo, noise=0.0)
    dim, bright = (develop(light * factor, photo, (0,)) for factor in (0.5, 8.0))
    assert dim == bright
    with Image.open(io.BytesIO(dim)) as image:
        assert (image.format, image.size) == ("JPEG", (48, 64))


def test_the_noise_of_a_photograph_belongs_to_its_seed() -> None:
    light = textures.leaves(np.random.default_rng(0), 64, 48)
    photo = replace(scene("train", 0, 0).photo, noise=0.02)
    assert develop(light, photo, (0,)) == develop(light, photo, (0,)) != develop(light, photo, (1,))


def test_a_pixel_without_a_value_does_not_blind_the_meter() -> None:
    photo = scene("train", 0, 0).photo
    light = np.full((16, 16, 3), 0.3, np.float32)
    light[3, 4] = np.nan
    with Image.open(io.BytesIO(develop(light, photo, (0,)))) as image:
        assert np.asarray(image)[8:].mean() > 20


def test_a_pixel_that_is_no_light_at_all_is_black_or_white_and_harms_no_other() -> None:
    light = np.full((16, 16, 3), 0.2, np.float32)
    photo = scene("train", 0, 0).photo
    broken, mended = light.copy(), light.copy()
    broken[3, 3], broken[5, 5], broken[7, 7] = np.nan, -3.0, np.inf
    mended[3, 3], mended[5, 5], mended[7, 7] = 0.0, 0.0, 1e6
    assert develop(broken, photo, (0,)) == develop(mended, photo, (0,))
