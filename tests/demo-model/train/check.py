#!/usr/bin/env python3
"""check.py - the pictures that PyTorch draws are those of world_draw.c

A pixel may differ by a step or two where a distance is rounded to another side.
"""
import torch

from world import Clips, HELD_OUT, World


def main():
    world = World()
    index = world.indices(HELD_OUT, 48)
    clips = Clips(world, index, 17, "cpu")
    drawn = torch.from_numpy(world.draw(index, 17)).permute(0, 4, 1, 2, 3).float()
    pick = torch.arange(48)
    mine = (clips.whole(pick, 17) + 1) * 127.5
    away = (mine - drawn).abs()
    print(f"largest difference {away.max():.3f}, differing {(away > 0.5).float().mean():.2e}")
    cut = (clips.draw(pick, pick % 5, 9, pick, 2 * pick % 60, 64) + 1) * 127.5
    for i in range(48):
        whole = mine[i, :, i % 5:i % 5 + 9, i:i + 64, 2 * i % 60:2 * i % 60 + 64]
        if not torch.equal(cut[i].round(), whole.round()):
            raise SystemExit("a window is not part of its clip")
    if away.max() > 2.5 or (away > 0.5).float().mean() > 1e-3:
        raise SystemExit("the pictures differ")


if __name__ == "__main__":
    main()
