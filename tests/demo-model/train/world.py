"""world.py - scenes, pictures and captions of world.h and caption.h, for training

Builds a shared library of the project's own C files, so that training, tests and the
judge know the same world. Pictures can also be drawn by PyTorch, on a GPU: `Clips` has
what world_draw.c has, and `check.py` holds it to that.
"""
import ctypes
import math
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
SIDE, FPS, FRAMES, HELD_OUT, CAPTION = 128, 16, 49, 10000, 384
SEED = 1
SOURCES = ["tests/demo-model/world.c", "tests/demo-model/world_draw.c",
           "tests/demo-model/caption.c", "tests/demo-model/train/scenes.c",
           "kernels/base/rng.c"]
ONE, MANY, COLOURS = 2, 12, 14
# Where facts say what (scenes.c), and what the small world for trying things keeps: one
# shape, red, green, blue or white, standing still or going right or left, on black,
# brown or beige.
BACKGROUND, SHAPES, FORM, COLOUR, SIZE, MOTION = range(6)
SMALL = {BACKGROUND: (8, 11, 13), SHAPES: (1,), COLOUR: (0, 3, 4, 7), MOTION: (0, 4, 12)}


def build():
    path = os.path.join(tempfile.mkdtemp(prefix="demo-world-"), "world.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O3", "-std=gnu11", "-I", ROOT, "-o", path]
                   + [os.path.join(ROOT, s) for s in SOURCES] + ["-lm"], check=True)
    return ctypes.CDLL(path)


def address(array):
    return array.ctypes.data_as(ctypes.c_void_p)


class World:
    """Clips and captions by index; indices below HELD_OUT are for judging alone."""

    def __init__(self, threads=None, small=False):
        self.library = build()
        self.threads = threads or os.cpu_count()
        self.pool = ThreadPoolExecutor(self.threads)
        self.small = small
        self.rgb = numpy.ctypeslib.as_array(
            (ctypes.c_uint8 * (3 * COLOURS)).in_dll(self.library, "world_rgb")).reshape(
                COLOURS, 3).copy()

    def spread(self, work, n):
        """Call work(first, behind_last) for parts of n, on all threads."""
        size = max(1, -(-n // (4 * self.threads)))
        list(self.pool.map(lambda a: work(a, min(n, a + size)), range(0, n, size)))

    def facts(self, index, frames):
        """i32 [n,12] and f32 [n,2,frames,3]"""
        index = numpy.ascontiguousarray(index, numpy.uint64)
        facts = numpy.empty((len(index), MANY), numpy.int32)
        places = numpy.empty((len(index), 2, frames, 3), numpy.float32)
        self.spread(lambda a, b: self.library.scenes_facts(
            ctypes.c_uint64(SEED), address(index[a:b]), ctypes.c_int(b - a),
            ctypes.c_int(frames), address(facts[a:b]), address(places[a:b])), len(index))
        return facts, places

    def indices(self, first, n):
        """The next n scenes from `first` on that belong to the world, as u64."""
        if not self.small:
            return numpy.arange(first, first + n, dtype=numpy.uint64)
        found, at = [], first
        while sum(map(len, found)) < n:
            index = numpy.arange(at, at + 4096, dtype=numpy.uint64)
            facts = self.facts(index, 1)[0]
            keep = numpy.all([numpy.isin(facts[:, k], v) for k, v in SMALL.items()], 0)
            found.append(index[keep])
            at += 4096
        return numpy.concatenate(found)[:n]

    def captions(self, index, phrasing):
        index = numpy.ascontiguousarray(index, numpy.uint64)
        phrasing = numpy.ascontiguousarray(phrasing, numpy.uint64)
        out = numpy.zeros((len(index), CAPTION), numpy.uint8)
        self.spread(lambda a, b: self.library.scenes_captions(
            ctypes.c_uint64(SEED), address(index[a:b]), address(phrasing[a:b]),
            ctypes.c_int(b - a), address(out[a:b])), len(index))
        return [row.tobytes().split(b"\0", 1)[0].decode() for row in out]

    def draw(self, index, frames):
        """u8 [n,frames,128,128,3], drawn by world_draw.c"""
        index = numpy.ascontiguousarray(index, numpy.uint64)
        out = numpy.empty((len(index), frames, SIDE, SIDE, 3), numpy.uint8)
        self.spread(lambda a, b: self.library.scenes_draw(
            ctypes.c_uint64(SEED), address(index[a:b]), ctypes.c_int(b - a),
            ctypes.c_int(frames), address(out[a:b])), len(index))
        return out


# ---- pictures by PyTorch -------------------------------------------------------------

def circle(x, y, r):
    return torch.hypot(x, y) - r


def square(x, y, r):
    return torch.maximum(x.abs(), y.abs()) - r * (math.sqrt(math.pi) / 2)


def triangle(x, y, r):
    return torch.maximum(y, x.abs() * (math.sqrt(3) / 2) - y / 2) - r * (1.5551 / 2)


def star(x, y, r):
    sector = 2 * math.pi / 5
    outer, radius, angle = 1.4622 * r, torch.hypot(x, y), torch.atan2(x, -y)
    away = (angle - sector * torch.round(angle / sector)).abs()
    ex, ey = math.sin(math.pi / 5) / 2, math.cos(math.pi / 5) / 2 - 1
    across = radius * away.cos() - outer
    return (across * ex - radius * away.sin() * ey) / math.hypot(ex, ey)


FORMS = (circle, square, triangle, star)


class Clips:
    """Scenes of a world, kept on a device as numbers, and pictures of them."""

    def __init__(self, world, index, frames, device):
        facts, places = world.facts(index, frames)
        facts = torch.from_numpy(facts).to(device).long()
        rgb = torch.from_numpy(world.rgb).to(device).float()
        self.device, self.n = device, len(index)
        self.back, self.there = rgb[facts[:, 0]], facts[:, 1]
        shapes = facts[:, 2:].unflatten(1, (2, 5))
        self.form, self.paint = shapes[..., 0], rgb[shapes[..., 1]]
        self.places = torch.from_numpy(places).to(device)

    def draw(self, pick, first, frames, row, col, side):
        """[n,3,frames,side,side] from -1 to 1 of scenes `pick`: frames from `first` and
        windows from (row, col) on, all i64 [n]."""
        line = torch.arange(side, device=self.device)
        at = first[:, None] + torch.arange(frames, device=self.device)
        y = (row[:, None] + line + 0.5).float()[:, None, :, None]
        x = (col[:, None] + line + 0.5).float()[:, None, None, :]
        out = self.back[pick][:, :, None, None, None].expand(-1, -1, frames, side, side)
        for k in range(2):
            place = self.places[pick[:, None], k, at][..., None, None]
            dx, dy, r = x - place[:, :, 0], y - place[:, :, 1], place[:, :, 2]
            form = self.form[pick, k][:, None, None, None]
            away = circle(dx, dy, r)
            for f in range(1, 4):
                away = torch.where(form == f, FORMS[f](dx, dy, r), away)
            cover = (0.5 - away).clamp(0, 1) * (self.there[pick] > k)[:, None, None, None]
            paint = self.paint[pick, k][:, :, None, None, None]
            out = torch.round(out + cover[:, None] * (paint - out))
        return out / 127.5 - 1

    def whole(self, pick, frames):
        zero = torch.zeros_like(pick)
        return self.draw(pick, zero, frames, zero, zero, SIDE)
