"""Parameters -> a Mitsuba scene. The one module, with `rendering`, that knows Mitsuba."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from train.bottles import camera as view
from train.bottles import geometry, hands, surroundings, textures, things
from train.bottles.geometry import Surface, moved
from train.bottles.parameters import Bottle, Cap, Colour, PaperLabel, Scene, Thing
from train.bottles.placing import mouth_z_cm
from train.bottles.textures import Picture

SAMPLER = "multijitter"  # Kensler 2013; stratified, so less noise than as many independent paths
MAX_DEPTH = 12  # of a path: two walls, the drink, and back
_GLASS, _DRINK, _AIR = 1.52, 1.34, 1.0

Material = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A surface and what it is made of."""

    surface: Surface
    material: Material


def build(mitsuba: Any, scene: Scene, samples: int) -> Any:
    """The scene with its camera and its light, ready to render."""
    described: dict[str, Any] = {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": MAX_DEPTH, "rr_depth": 5},
        "sensor": _sensor(mitsuba, scene, samples),
        "light": _light(mitsuba, scene),
    }
    for number, part in enumerate(_parts(mitsuba, scene)):
        described[f"part{number}"] = _mesh(mitsuba, f"part{number}", part)
    return mitsuba.load_dict(described)


def _sensor(mitsuba: Any, scene: Scene, samples: int) -> Material:
    camera = scene.camera
    pose = view.pose(camera, mouth_z_cm(scene.bottle))
    return {
        "type": "perspective",
        "fov": camera.fov_degrees,
        "fov_axis": "x",
        "near_clip": 0.5,
        "far_clip": 2000.0,
        "to_world": mitsuba.ScalarTransform4f(pose.matrix()),
        "film": {
            "type": "hdrfilm",
            "width": camera.width_px,
            "height": camera.height_px,
            "rfilter": {"type": "tent"},
            "pixel_format": "rgb",
        },
        "sampler": {"type": SAMPLER, "sample_count": samples},
    }


def _light(mitsuba: Any, scene: Scene) -> Material:
    upright = mitsuba.ScalarTransform4f().rotate([1, 0, 0], 90)
    painted = surroundings.environment(scene.light)
    return {"type": "envmap", "bitmap": mitsuba.Bitmap(painted), "to_world": upright}


def _mesh(mitsuba: Any, name: str, part: Part) -> Any:
    properties = mitsuba.Properties()
    properties["mesh_bsdf"] = mitsuba.load_dict(part.material)
    surface = part.surface
    mesh = mitsuba.Mesh(
        name,
        len(surface.vertices),
        len(surface.faces),
        has_vertex_normals=True,
        has_vertex_texcoords=True,
        props=properties,
    )
    values = mitsuba.traverse(mesh)
    values["vertex_positions"] = np.ravel(surface.vertices).astype(np.float32)
    values["vertex_normals"] = np.ravel(surface.normals).astype(np.float32)
    values["vertex_texcoords"] = np.ravel(surface.uvs).astype(np.float32)
    values["faces"] = np.ravel(surface.faces).astype(np.uint32)
    values.update()
    return mesh


def _parts(mitsuba: Any, scene: Scene) -> Iterator[Part]:
    yield from _backdrop(mitsuba, scene)
    if scene.bottle:
        yield from _bottle(mitsuba, scene.bottle, scene.cap, (0.0, 0.0))
    if scene.hand:
        held = scene.bottle or hands.NOTHING
        for surface in hands.skin(scene.hand, held):
            yield Part(surface, _principled(scene.hand.skin, roughness=0.45, specular=0.4))
        yield Part(hands.sleeve(scene.hand, held), _matt(scene.hand.sleeve))
    for neighbour in scene.neighbours:
        yield from _bottle(mitsuba, neighbour.bottle, scene.cap, (neighbour.x_cm, neighbour.y_cm))
    for thing in scene.things:
        yield from _thing(thing)


def _backdrop(mitsuba: Any, scene: Scene) -> Iterator[Part]:
    backdrop = scene.backdrop
    if backdrop.wall:
        far = 20 + backdrop.wall_distance_cm
        painted = textures.paint(backdrop.wall, backdrop.seed, blur=backdrop.blur)
        yield Part(
            _sheet((-1.6 * far, far, -1.2 * far), (3.2 * far, 0, 0), (0, 0, 3.2 * far)),
            _painted(mitsuba, painted),
        )
    if backdrop.table:
        painted = textures.paint(backdrop.table, backdrop.seed + 1, blur=backdrop.blur / 2)
        yield Part(_sheet((-45, -60, 0), (90, 0, 0), (0, 90, 0)), _painted(mitsuba, painted))


def _sheet(corner: Any, across: Any, along: Any) -> Surface:
    start, right, up = (np.array(vector, float) for vector in (corner, across, along))
    points = np.array([[start, start + right], [start + up, start + up + right]])
    normal = np.cross(right, up) / np.linalg.norm(np.cross(right, up))
    uvs = np.array([[(0.0, 0.0), (1.0, 0.0)], [(0.0, 1.0), (1.0, 1.0)]])
    return geometry.grid(points, uvs, np.broadcast_to(normal, points.shape))


def _bottle(mitsuba: Any, bottle: Bottle, cap: Cap | None, at: tuple[float, float]) -> Iterator[Part]:
    place = (*at, 0.0)
    for part in (*_vessel(bottle), *_papers(mitsuba, bottle)):
        yield Part(moved(part.surface, place), part.material)
    if cap:
        disc, skirt = geometry.crown()
        yield Part(moved(disc, (*at, bottle.height_cm)), _capped(mitsuba, cap, printed=True))
        yield Part(moved(skirt, (*at, bottle.height_cm)), _capped(mitsuba, cap, printed=False))


def _vessel(bottle: Bottle) -> Iterator[Part]:
    """The glass, and inside it the drink, the foam and the air, each against what it touches."""
    yield Part(geometry.glass(bottle), _dielectric(_GLASS, _AIR, bottle.tint, bottle.frost))
    top = float(geometry.inner_profile(bottle)[-1, 1])
    level = geometry.level_cm(bottle) if bottle.fill else 0.0
    head = min(level + bottle.foam_cm, bottle.height_cm - 1.7) if bottle.fill else 0.0
    if bottle.fill:
        yield Part(geometry.inside(bottle, 0.0, level), _dielectric(_DRINK, _GLASS, bottle.drink))
        radius = geometry.inner_radius(bottle, level)
        foamy = bottle.foam_cm > 0 and head > level
        surface = geometry.revolved(np.array([(radius, level), (0.0, level)]))
        yield Part(surface, _dielectric(_DRINK, _AIR, (1.0, 1.0, 1.0)))
        if foamy:
            thin = radius - 0.03, geometry.inner_radius(bottle, head) - 0.03
            foam = np.array([(thin[0], level + 0.02), (thin[1], head), (0.0, head)])
            yield Part(geometry.revolved(foam), _matt((0.86, 0.82, 0.7)))
    yield Part(geometry.inside(bottle, level, top), _dielectric(_AIR, _GLASS, (1.0, 1.0, 1.0)))


def _papers(mitsuba: Any, bottle: Bottle) -> Iterator[Part]:
    for paper in (bottle.label, bottle.collar):
        if paper:
            yield Part(_wrapped(bottle, paper), _painted(mitsuba, textures.paper(paper.texture_seed)))


def _wrapped(bottle: Bottle, paper: PaperLabel) -> Surface:
    heights = np.linspace(paper.bottom_cm, paper.top_cm, 8)
    radii = [geometry.outer_radius(bottle, z) + 0.03 for z in heights]
    middle = paper.turn_degrees - 90
    arc = (middle - paper.width_degrees / 2, middle + paper.width_degrees / 2)
    return geometry.revolved(np.column_stack([radii, heights]), 40, arc)


def _thing(thing: Thing) -> Iterator[Part]:
    for surface in things.surfaces(thing.kind, thing.size_cm, thing.turn_degrees):
        place = (thing.x_cm, thing.y_cm, thing.z_cm)
        yield Part(moved(surface, place), _made_of(thing))


def _made_of(thing: Thing) -> Material:
    closed = ("ball", "lemon", "can", "tumbler", "goblet", "mug", "cone", "pawn", "ring", "apple")
    if thing.material == "glass" and thing.kind in closed:
        pale = tuple(0.6 + 0.4 * part for part in thing.colour)
        return _dielectric(_GLASS, _AIR, pale)  # type: ignore[arg-type]
    if thing.material == "metal":
        return _principled(thing.colour, metallic=1.0, roughness=0.25)
    if thing.material == "glossy":
        return _principled(thing.colour, roughness=0.2)
    return _matt(thing.colour)


def _capped(mitsuba: Any, cap: Cap, printed: bool) -> Material:
    material = _principled(cap.colour, roughness=cap.roughness, metallic=cap.metallic)
    if printed and cap.print_seed is not None:
        picture = textures.emblem(cap.print_seed, cap.colour)
        material["bsdf"]["base_color"] = _bitmap(mitsuba, picture)
    return material


def _principled(colour: Colour, roughness: float, metallic: float = 0.0, specular: float = 0.5) -> Material:
    return {
        "type": "twosided",
        "bsdf": {
            "type": "principled",
            "base_color": _rgb(colour),
            "roughness": roughness,
            "metallic": metallic,
            "specular": specular,
        },
    }


def _matt(colour: Colour) -> Material:
    return {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": _rgb(colour)}}


def _painted(mitsuba: Any, picture: Picture) -> Material:
    return {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": _bitmap(mitsuba, picture)}}


def _bitmap(mitsuba: Any, picture: Picture) -> Material:
    bitmap = mitsuba.Bitmap(np.ascontiguousarray(picture[::-1]))
    return {"type": "bitmap", "bitmap": bitmap, "raw": True, "wrap_mode": "clamp"}


def _dielectric(inside: float, outside: float, tint: Colour, frost: float = 0.0) -> Material:
    material: Material = {
        "type": "dielectric",
        "int_ior": inside,
        "ext_ior": outside,
        "specular_transmittance": _rgb(tint),
    }
    return {**material, "type": "roughdielectric", "alpha": frost} if frost else material


def _rgb(colour: Colour) -> Material:
    return {"type": "rgb", "value": list(colour)}
