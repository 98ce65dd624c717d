"""spec_sampler - schedules, solvers and the diffusion forcing matrix from the formulas

Scalars are Python floats, states are fp64 tensors. make_samplers.py requires agreement
with the published classes; make_e2e.py samples with these.
"""

import math

import numpy as np

INF = math.inf


def shifted(u, shift):
    return shift * u / (1 + (shift - 1) * u)


def schedule(n, shift, top):
    """(timesteps, sigmas): integers, and fp32 values with a final 0.

    The grid is rounded as numpy.linspace rounds it, k * (-top / n) + top: with
    top * (1 - k / n) some products that are whole numbers truncate to another timestep.
    """
    s = [shifted(k * (-top / n) + top, shift) for k in range(n)]
    return [int(1000 * x) for x in s], [float(np.float32(x)) for x in s] + [0.0]


def unipc_schedule(n, shift):
    return schedule(n, shift, float(np.float32(0.999)))


def dpm_schedule(n, shift):
    return schedule(n, shift, 1.0)


def lam(s):
    return INF if s == 0 else -INF if s == 1 else math.log(1 - s) - math.log(s)


class UniPC:
    """Order 2, bh2, data prediction, predictor and corrector."""

    def __init__(self, sigmas):
        self.s, self.k, self.p = sigmas, 0, 0
        self.m0 = self.m1 = self.x_last = None

    def correct(self, m):
        s, t = self.s[self.k - 1], self.s[self.k]
        h = lam(t) - lam(s)
        e = math.expm1(-h)
        x = t / s * self.x_last - (1 - t) * e * self.m0
        if self.p == 1:
            return x - (1 - t) * e * 0.5 * (m - self.m0)
        r = (lam(self.s[self.k - 2]) - lam(s)) / h
        b1 = (e / -h - 1) / e
        b2 = ((e / -h - 1) / -h - 0.5) * 2 / e
        rho1 = (b1 - b2) / (1 - r)
        d = (self.m1 - self.m0) / r
        return x - (1 - t) * e * (rho1 * d + (b1 - rho1) * (m - self.m0))

    def step(self, v, x):
        n = len(self.s) - 1
        m = x - self.s[self.k] * v
        if self.k > 0:
            x = self.correct(m)
        self.m1, self.m0, self.x_last = self.m0, m, x
        self.p = min(2, n - self.k, self.k + 1)
        s, t = self.s[self.k], self.s[self.k + 1]
        self.k += 1
        if t == 0:
            return m
        h = lam(t) - lam(s)
        e = math.expm1(-h)
        out = t / s * x - (1 - t) * e * m
        if self.p == 2:
            r = (lam(self.s[self.k - 2]) - lam(s)) / h
            out = out - (1 - t) * e * 0.5 * (self.m1 - m) / r
        return out


class DpmPP:
    """Order 2, midpoint, multistep."""

    def __init__(self, sigmas):
        self.s, self.k, self.m_prev = sigmas, 0, None

    def step(self, v, x):
        k, n = self.k, len(self.s) - 1
        s, t = self.s[k], self.s[k + 1]
        m = x - s * v
        m_prev, self.m_prev = self.m_prev, m
        self.k += 1
        if k == n - 1:
            return m
        h = lam(t) - lam(s)
        e = math.expm1(-h)
        out = t / s * x - (1 - t) * e * m
        if k == 0:
            return out
        r = (lam(s) - lam(self.s[k - 1])) / h
        return out - 0.5 * (1 - t) * e * (m - m_prev) / r


class Euler:
    def __init__(self, sigmas):
        self.s, self.k = sigmas, 0

    def step(self, v, x):
        self.k += 1
        return x + (self.s[self.k] - self.s[self.k - 1]) * v


def forcing_rows(n_frames, n, lag, ready, block):
    """[(counters, flags)] per row, one entry per block of frames."""
    blocks = n_frames // block
    old = [n + 1 if b < ready // block else 0 for b in range(blocks)]
    rows = []
    while not all(c >= n for c in old):
        new = []
        for b in range(blocks):
            free = b == 0 or old[b - 1] >= n
            new.append(old[b] + 1 if free else new[b - 1] - lag)
        new = [min(max(c, 0), n + 1) for c in new]
        rows.append((new, [a != b and a != n + 1 for a, b in zip(new, old)]))
        old = new
    return rows


def forcing_windows(rows, n_frames, window, block):
    """[first, end) in blocks for every row."""
    blocks, size = n_frames // block, window // block
    end, out = size, []
    for _, flags in rows:
        if end < blocks and flags[end]:
            end += 1
        out.append((max(end - size, 0), end))
    return out
