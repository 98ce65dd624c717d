"""sizes.py - what is trained: the model that is shipped, and a small one to try the path

Budgets are GPU seconds (seconds times GPUs); on a CPU they are seconds. `small` makes
the world small too (world.py).
"""
SIZES = {
    "whole": dict(
        small=False,
        budget=dict(vae=520, latents=140, dit=800),
        vae_base=24, vae_rate=1e-3, vae_scenes=32768,
        # side, frames, clips of a step on all GPUs
        vae_kinds=[(64, 9, 32), (64, 17, 16), (64, 9, 32), (128, 5, 16), (64, 9, 32),
                   (32, 49, 24)],
        text=dict(d=192, ffn=512, heads=3, layers=3),
        dit=dict(d=256, ffn=1024, layers=8), dit_rate=1e-3,
        # tokens of a step on all GPUs, latent frames and their shares
        tokens=102400, lengths=(5, 9, 13), shares=(0.65, 0.2, 0.15),
        # frames and clips of a round of encoding, and clips at most
        short=(17, 64), long=(49, 6), clips_most=200000),
    "tiny": dict(
        small=True,
        budget=dict(vae=900, latents=120, dit=2700),
        vae_base=8, vae_rate=1e-3, vae_scenes=2048,
        vae_kinds=[(32, 9, 8), (32, 17, 4), (32, 9, 8), (64, 5, 2)],
        text=dict(d=64, ffn=128, heads=2, layers=2),
        dit=dict(d=128, ffn=512, layers=3), dit_rate=2e-3,
        tokens=192 * 24, lengths=(3,), shares=(1.0,),
        short=(9, 4), long=(17, 2), clips_most=1500),
}
