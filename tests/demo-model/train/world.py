"""world.py - scenes, pictures and captions of world.h and caption.h, for training

Builds a shared library of the project's own C files, so that training, tests and the
judge know the same world.
"""
import ctypes
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, "..", "..", ".."))
SIDE, FPS, FRAMES, HELD_OUT = 128, 16, 49, 10000
SEED = 1
SOURCES = ["tests/demo-model/world.c", "tests/demo-model/world_draw.c",
           "tests/demo-model/caption.c", "kernels/base/rng.c"]


def build():
    path = os.path.join(tempfile.mkdtemp(prefix="demo-world-"), "world.so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O3", "-std=gnu11", "-I", ROOT, "-o", path]
                   + [os.path.join(ROOT, s) for s in SOURCES] + ["-lm"], check=True)
    return ctypes.CDLL(path)


class World:
    """Clips and captions by index; indices below HELD_OUT are for judging alone."""

    def __init__(self, threads=None):
        self.library = build()
        self.pool = ThreadPoolExecutor(threads or os.cpu_count())

    def scene(self, index):
        room = ctypes.create_string_buffer(256)
        self.library.world_scene(ctypes.c_uint64(SEED), ctypes.c_uint64(index), room)
        return room

    def caption(self, index, phrasing):
        out = ctypes.create_string_buffer(384)
        self.library.caption_write(self.scene(index), ctypes.c_uint64(phrasing), out)
        return out.value.decode()

    def draw_into(self, index, clip):
        self.library.world_draw(self.scene(index), ctypes.c_int(clip.shape[0]),
                                clip.ctypes.data_as(ctypes.c_void_p))

    def clips(self, indices, frames):
        """u8 [n,frames,128,128,3]"""
        out = numpy.empty((len(indices), frames, SIDE, SIDE, 3), numpy.uint8)
        list(self.pool.map(self.draw_into, indices, out))
        return out
