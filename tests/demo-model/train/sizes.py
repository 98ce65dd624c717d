"""sizes.py - what is trained: the model that is shipped, and a small one to try the path

Budgets are GPU seconds (seconds times GPUs); on a CPU they are seconds. `small` makes
the world small too (world.py).
"""
SIZES = {
    "whole": dict(
        small=False,
        budget=dict(vae=480, latents=100, dit=860),
        vae_base=24, vae_rate=1e-3, vae_scenes=32768,
        # side, frames, clips of a GPU's batch
        vae_kinds=[(64, 9, 16), (64, 17, 8), (64, 9, 16), (128, 5, 8), (64, 9, 16),
                   (32, 49, 12)],
        text=dict(d=192, ffn=512, heads=3, layers=3),
        dit=dict(d=256, ffn=1024, layers=8), dit_rate=1e-3,
        # tokens of a step on all GPUs, latent frames and their shares
        tokens=102400, lengths=(5, 9, 13), shares=(0.6, 0.2, 0.2),
        short_frames=17, long_frames=49, clips_most=200000),
    "tiny": dict(
        small=True,
        budget=dict(vae=900, latents=120, dit=3000),
        vae_base=8, vae_rate=2e-3, vae_scenes=2048,
        vae_kinds=[(32, 9, 8), (32, 17, 4), (32, 9, 8), (64, 5, 4)],
        text=dict(d=128, ffn=256, heads=2, layers=2),
        dit=dict(d=256, ffn=512, layers=3), dit_rate=2e-3,
        tokens=192 * 16, lengths=(3,), shares=(1.0,),
        short_frames=9, long_frames=17, clips_most=1500),
}
