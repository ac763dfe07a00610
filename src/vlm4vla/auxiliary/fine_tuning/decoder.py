"""The diffusion decoder of omni-generation: pixels from noise, conditioned on a VLM's hidden states.

A diffusion transformer of diffusers (PixArt's: patches, cross-attention, the time in its norms) with
rectified flow: at noise share s a map x is (1 - s) x + s e, and what is learnt is e - x (Liu et al., arXiv
2209.03003; the scheduler is that of Stable Diffusion 3, arXiv 2403.03206). It works on pixels and not on
latents: a map of some dozens of pixels needs no autoencoder.
"""

from __future__ import annotations

import math

import torch
from diffusers.models import PixArtTransformer2DModel
from diffusers.schedulers import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from vlm4vla.config.auxiliary import DiffusionDecoder

TIMES = 1000  # noise shares that training draws from
LEAST_SHARE = 0.6  # of noise in the loss: below it an error would weigh as the inverse square
SHARPNESS = 1.5  # of cross-attention at the start


class Decoder(nn.Module):
    """`width`: of the VLM's hidden states; `tokens`: the longest prompt; `picture`: which of its tokens, from
    the first to before the last, are the picture's.

    Where a patch finds its part of the picture is given at the start, since finding it out took longer than
    the whole training: the picture's tokens bear the code of their place in a square grid that the decoder's
    patches bear too, and cross-attention begins by comparing the two. A family whose tokens are in another
    order learns its own; all of it is trained.
    """

    def __init__(self, settings: DiffusionDecoder, width: int, tokens: int, picture: tuple[int, int]):
        super().__init__()
        self.settings = settings
        inner = settings.heads * settings.head_width
        self.states = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner))  # families differ in scale
        self.transformer = PixArtTransformer2DModel(
            sample_size=settings.size,
            patch_size=settings.patch,
            num_layers=settings.layers,
            num_attention_heads=settings.heads,
            attention_head_dim=settings.head_width,
            cross_attention_dim=inner,
            in_channels=3,
            out_channels=3,
            use_additional_conditions=False,
        )
        places = 0.02 * torch.randn(tokens, inner)
        places[slice(*picture)] = grid_codes(self.transformer.pos_embed.pos_embed[0], picture[1] - picture[0])
        self.places = nn.Parameter(places)
        for block in self.transformer.transformer_blocks:
            nn.init.orthogonal_(block.attn2.to_q.weight, SHARPNESS)
            block.attn2.to_k.weight.data.copy_(block.attn2.to_q.weight)
        nn.init.zeros_(self.transformer.proj_out.weight)  # what is drawn first is no pattern of chance
        nn.init.zeros_(self.transformer.proj_out.bias)
        self.times = FlowMatchEulerDiscreteScheduler(TIMES, shift=settings.shift)

    def clean(self, noisy: Tensor, times: Tensor, states: Tensor, real: Tensor) -> Tensor:
        """The map without noise, (B, 3, S, S), guessed from noisy maps at `times` (B,) in 0..1000, and from
        states (B, T, d) with their mask `real` (B, T)."""
        place = (real.long().cumsum(1) - 1).clamp(min=0)
        states = self.states(states) + self.places[place]
        return self.transformer(
            noisy,
            encoder_hidden_states=states,
            encoder_attention_mask=real.to(states.dtype),
            timestep=times,
            return_dict=False,
        )[0]

    def loss(self, maps: Tensor, states: Tensor, real: Tensor) -> Tensor:
        """Mean squared error of the velocity of `maps` (B, 3, S, S) in [-1, 1], at random times."""
        numbers = torch.randint(TIMES, (len(maps),))
        times = self.times.timesteps[numbers].to(maps.device)
        noisy = self.times.scale_noise(maps, times, torch.randn_like(maps))
        share = (times / TIMES).clamp(min=LEAST_SHARE).view(-1, 1, 1, 1)
        return ((self.clean(noisy, times, states, real) - maps) / share).square().mean()

    @torch.inference_mode()
    def draw(self, noise: Tensor, states: Tensor, real: Tensor) -> Tensor:
        """Maps (B, 3, S, S) in [-1, 1] from `noise` of that shape, in `settings.steps` Euler steps."""
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(self.times.config)
        scheduler.set_timesteps(self.settings.steps, device=noise.device)
        maps = noise
        for time in scheduler.timesteps:
            guess = self.clean(maps, time.expand(len(maps)), states, real)
            found = (maps - guess) / (time / TIMES)
            maps = scheduler.step(found, time, maps, return_dict=False)[0]
        return maps.clamp(-1, 1)


def grid_codes(codes: Tensor, count: int) -> Tensor:
    """(count, d): the codes (n * n, d) of a square grid at the middles of the first `count` cells, in reading
    order, of the smallest square grid that has so many."""
    side, cells = math.isqrt(len(codes)), math.isqrt(count - 1) + 1
    square = codes.T.reshape(1, -1, side, side)
    return nn.functional.interpolate(square, (cells, cells), mode="area")[0].flatten(1).T[:count]
