"""make_samplers - schedules, solver trajectories, step matrices and torch's CPU normals

Usage: make_samplers.py SKYREELS_V2 WAN21 - folders with clones of SkyworkAI/SkyReels-V2
(abed76fe) and Wan-Video/Wan2.1 (9737cba9), whose solver classes are run, not copied.

All solvers run in fp64 on the fp32-rounded sigmas of the published formula. UniPC and
DPM++ come from the original classes; diffusers' UniPCMultistepScheduler and
DPMSolverMultistepScheduler with the same sigmas, and spec_sampler.py, must agree.
"""

import ast
import importlib.util
import json
import math
import os
import random
import sys
from unittest import mock

import torch
from diffusers import (DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler,
                       UniPCMultistepScheduler)

import spec_sampler as spec
from common import generator, path, randn, save

STEPS = [1, 2, 3, 4, 5, 10, 14, 15, 16, 30, 50]
SHIFTS = [1.0, 3.0, 5.0, 8.0, 12.0]
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def load(folder, file):
    s = importlib.util.spec_from_file_location(os.path.basename(file)[:-3],
                                               os.path.join(folder, file))
    module = importlib.util.module_from_spec(s)
    s.loader.exec_module(module)
    return module


def matrix_function(folder):
    """The method alone: its file imports video readers that are not needed."""
    file = os.path.join(folder, "skyreels_v2_infer", "pipelines",
                        "diffusion_forcing_pipeline.py")
    with open(file, encoding="utf-8") as f:
        tree = ast.parse(f.read())
    node = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)
                and n.name == "generate_timestep_matrix")
    scope = {"torch": torch, "math": math}
    exec(compile(ast.Module([node], []), file, "exec"), scope)
    return scope["generate_timestep_matrix"]


class Published:
    """A scheduler class of a library as step(v, x), on given sigmas in fp64."""

    def __init__(self, scheduler, times, sigmas):
        self.s, self.times = scheduler, times
        self.s.sigmas = torch.tensor(sigmas, dtype=torch.float64)
        self.s.timesteps = torch.tensor(times)
        self.s.set_begin_index(0)
        self.k = 0

    def step(self, v, x):
        with mock.patch.object(torch, "float32", torch.float64):
            out = self.s.step(v, self.times[self.k], x, return_dict=False)[0]
        self.k += 1
        return out


def trajectory(solver, sigmas, x, velocity):
    out = [x]
    for k in range(len(sigmas) - 1):
        out.append(solver.step(velocity(k, out[-1], sigmas[k]), out[-1]))
    return torch.stack(out)


def solvers(kind, n, shift, classes):
    """(times, sigmas, reference solver, solvers that must agree), fresh each."""
    if kind == "unipc":
        times, sigmas = spec.unipc_schedule(n, shift)
        ref = classes["unipc"](num_train_timesteps=1000, shift=1)
        other = UniPCMultistepScheduler(prediction_type="flow_prediction",
                                        solver_order=2, use_flow_sigmas=True,
                                        flow_shift=shift)
        own = spec.UniPC(sigmas)
    else:
        times, sigmas = spec.dpm_schedule(n, shift)
        ref = classes["dpmpp"](num_train_timesteps=1000, shift=1)
        other = DPMSolverMultistepScheduler(prediction_type="flow_prediction",
                                            use_flow_sigmas=True, flow_shift=shift)
        own = spec.DpmPP(sigmas)
    if kind == "unipc":
        ref.set_timesteps(n, device="cpu", shift=shift)
        assert ref.timesteps.tolist() == times, (n, shift)
        assert ref.sigmas.double().tolist() == sigmas, (n, shift)
    else:
        grid = classes["dpm_sigmas"](n, shift)
        ref.set_timesteps(sigmas=grid, device="cpu", shift=1)
        assert ref.timesteps.tolist() == times, (n, shift)
        assert ref.sigmas.double().tolist() == sigmas, (n, shift)
    other.set_timesteps(n)
    return (times, sigmas, Published(ref, times, sigmas),
            [Published(other, times, sigmas), own])


def make_solver(kind, classes, v):
    """Every n and shift, on given velocities and on the field v = 0.5 x + sigma."""
    out, worst = {"v": v}, 0.0
    x0 = randn(generator(501), 3)
    fields = {"x": (x0, lambda k, x, s: v[k]),
              "toy": (torch.ones(1), lambda k, x, s: 0.5 * x + s)}
    for n in STEPS:
        for shift in SHIFTS:
            name = f"n{n}_s{shift:g}"
            for field, (x, velocity) in fields.items():
                times, sigmas, ref, others = solvers(kind, n, shift, classes)
                # the classes want a batch axis and a channel axis
                path_ = trajectory(ref, sigmas, x.reshape(-1, 1, 1),
                                   lambda k, y, s: velocity(k, y.flatten(), s)
                                   .reshape(-1, 1, 1)).flatten(1)
                for o in others:
                    p = trajectory(o, sigmas, x.reshape(-1, 1, 1),
                                   lambda k, y, s: velocity(k, y.flatten(), s)
                                   .reshape(-1, 1, 1)).flatten(1)
                    worst = max(worst, float((p - path_).abs().max()
                                             / path_.abs().max()))
                out[f"{name}.{field}"] = path_
            out[f"{name}.timesteps"] = torch.tensor(times)
            out[f"{name}.sigmas"] = torch.tensor(sigmas)
    save(out, "samplers", kind + ".safetensors")
    print(kind, "largest difference between classes and formulas:", worst)
    assert worst < 1e-11


def make_euler(v):
    """Euler steps on the UniPC grid, and diffusers' own Euler schedule."""
    out = {"v": v}
    x0 = randn(generator(501), 3)
    for n in STEPS:
        for shift in SHIFTS:
            name = f"n{n}_s{shift:g}"
            _, sigmas = spec.unipc_schedule(n, shift)
            out[name + ".x"] = trajectory(spec.Euler(sigmas), sigmas, x0,
                                          lambda k, x, s: v[k])
            theirs = FlowMatchEulerDiscreteScheduler(shift=shift)
            theirs.set_timesteps(n)
            out[name + ".diffusers_sigmas"] = theirs.sigmas.double()
            out[name + ".diffusers_timesteps"] = theirs.timesteps.double()
    save(out, "samplers", "euler.safetensors")


def setting(rng, i):
    """Mostly small, a few of real size; every fourth with a sliding window."""
    while True:
        big = i % 50 == 0
        block = rng.choice([1, 1, 2, 3, 5])
        blocks = rng.randint(1, 5)
        n = rng.randint(20, 34) if big else rng.randint(1, 9)
        frames = blocks * block + rng.randint(0, block - 1)
        lag = rng.choice([0, rng.randint(1, n + 2)])
        window = frames
        if i % 4 == 3 and blocks > 1:
            window = rng.randint(1, blocks - 1) * block
            if lag * (window // block) < n:
                continue
        ready = rng.choice([0, rng.randint(0, blocks * block - 1)])
        return dict(n=n, shift=rng.choice(SHIFTS), frames=frames, window=window,
                    lag=lag, ready=ready, block=block)


def make_matrices(original):
    rng, total = random.Random(5), 0
    with open(path("samplers", "matrices.jsonl"), "w", encoding="utf-8") as f:
        for i in range(500):
            c = setting(rng, i)
            times, _ = spec.unipc_schedule(c["n"], c["shift"])
            matrix, index, mask, windows = original(
                None, c["frames"], torch.tensor(times), c["window"], c["lag"],
                c["ready"], c["block"])
            value = [999] + times + [0]
            b, rows = c["block"], []
            for j in range(len(index)):
                counters, flags = index[j, ::b].tolist(), mask[j, ::b].tolist()
                assert index[j].tolist() == [x for x in counters for _ in range(b)]
                assert mask[j].tolist() == [x for x in flags for _ in range(b)]
                assert matrix[j].tolist() == [value[x] for x in index[j].tolist()]
                rows.append((counters, flags))
            own = spec.forcing_rows(c["frames"], c["n"], c["lag"], c["ready"], b)
            assert own == rows, c
            w = [(s * b, e * b) for s, e in
                 spec.forcing_windows(own, c["frames"], c["window"], b)]
            assert w == windows, c
            c["timesteps"] = times
            c["rows"] = ["".join(DIGITS[x] + ".x"[u] for x, u in zip(*r)) for r in rows]
            if c["window"] < c["frames"]:
                c["windows"] = [list(x) for x in windows]
            total += len(rows)
            f.write(json.dumps(c, separators=(",", ":")) + "\n")
    print("500 matrices,", total, "rows")


def make_normals():
    """torch.randn on the CPU: single draws, and three draws from one generator."""
    out = {}
    for seed in (0, 42, 123456789, 2 ** 32 + 7):
        for n in (1, 2, 5, 15, 16, 17, 24, 31, 32, 48, 100, 720):
            out[f"seed{seed}.n{n}"] = torch.randn(n, generator=generator(seed),
                                                  dtype=torch.float32)
        g = generator(seed)
        for j, n in enumerate((32, 20, 48)):
            out[f"seed{seed}.draw{j}"] = torch.randn(n, generator=g,
                                                     dtype=torch.float32)
    assert abs(float(out["seed42.n16"][0]) - 1.9269153) < 1e-6
    save(out, "samplers", "torch_cpu_normals.safetensors")


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: make_samplers.py SKYREELS_V2_CLONE WAN21_CLONE")
    sky, wan = sys.argv[1:]
    unipc = load(sky, "skyreels_v2_infer/scheduler/fm_solvers_unipc.py")
    dpm = load(wan, "wan/utils/fm_solvers.py")
    make_normals()
    make_matrices(matrix_function(sky))
    torch.set_default_dtype(torch.float64)
    classes = {"unipc": unipc.FlowUniPCMultistepScheduler,
               "dpmpp": dpm.FlowDPMSolverMultistepScheduler,
               "dpm_sigmas": dpm.get_sampling_sigmas}
    v = randn(generator(500), max(STEPS), 3)
    make_solver("unipc", classes, v)
    make_solver("dpmpp", classes, v)
    make_euler(v)


if __name__ == "__main__":
    main()
