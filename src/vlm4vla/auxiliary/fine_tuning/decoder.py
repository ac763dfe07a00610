"""The diffusion decoder of omni-generation: it turns noise into pixels, conditioned on a VLM's hidden states.

The network is the PixArt transformer of diffusers: patches, cross-attention, and the time step in the norms.
It is trained with rectified flow (Liu et al., arXiv 2209.03003): at noise share s, a map x becomes
(1 - s) x + s e, and the target is the velocity e - x. The scheduler is Stable Diffusion 3's (arXiv
2403.03206). The decoder works on pixels, not on latents: maps of a few dozen pixels need no autoencoder.
"""

from __future__ import annotations

import math

import torch
from diffusers.models import PixArtTransformer2DModel
from diffusers.schedulers import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from vlm4vla.config.auxiliary import DiffusionDecoder

TIMES = 1000  # number of noise shares that training draws from
LEAST_SHARE = 0.6  # lower bound of the noise share in the loss: errors weigh as its inverse square
SHARPNESS = 1.5  # gain of the initial query and key weights of cross-attention


class Decoder(nn.Module):
    """A diffusion transformer over maps, with cross-attention to the hidden states of a prompt.

    `width` is the width of the VLM's hidden states and `tokens` the length of the longest prompt. `picture`
    is the range (first, last + 1) of the image tokens in the prompt.

    At the start each patch of the map already attends to its part of the image: learning this match took
    longer than the whole training. The position embeddings of the image tokens are initialised with the
    codes of a square grid, which the decoder's patches have too, and cross-attention starts by comparing
    the two. All of these weights are trained, so a family with another token order can learn its own match.
    """

    def __init__(self, settings: DiffusionDecoder, width: int, tokens: int, picture: tuple[int, int]):
        super().__init__()
        self.settings = settings
        inner = settings.heads * settings.head_width
        # The scale of the hidden states differs between families.
        self.states = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, inner))
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
        nn.init.zeros_(self.transformer.proj_out.weight)  # the first outputs have no random pattern
        nn.init.zeros_(self.transformer.proj_out.bias)
        self.scheduler = FlowMatchEulerDiscreteScheduler(TIMES, shift=settings.shift)

    def predict_clean(self, noisy: Tensor, times: Tensor, states: Tensor, real: Tensor) -> Tensor:
        """Predict the maps without noise, (B, 3, S, S).

        The inputs are the noisy maps (B, 3, S, S), their `times` (B,) in 0..1000, the hidden states (B, T, d)
        and the mask `real` (B, T), which is false for padding.
        """
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
        """Return the mean squared velocity error of `maps` (B, 3, S, S) in [-1, 1], at random times."""
        numbers = torch.randint(TIMES, (len(maps),))
        times = self.scheduler.timesteps[numbers].to(maps.device)
        noisy = self.scheduler.scale_noise(maps, times, torch.randn_like(maps))
        share = (times / TIMES).clamp(min=LEAST_SHARE).view(-1, 1, 1, 1)
        return ((self.predict_clean(noisy, times, states, real) - maps) / share).square().mean()

    @torch.inference_mode()
    def draw(self, noise: Tensor, states: Tensor, real: Tensor) -> Tensor:
        """Turn `noise` (B, 3, S, S) into maps of that shape in [-1, 1], in `settings.steps` Euler steps."""
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(self.scheduler.config)
        scheduler.set_timesteps(self.settings.steps, device=noise.device)
        maps = noise
        for time in scheduler.timesteps:
            clean = self.predict_clean(maps, time.expand(len(maps)), states, real)
            velocity = (maps - clean) / (time / TIMES)
            maps = scheduler.step(velocity, time, maps, return_dict=False)[0]
        return maps.clamp(-1, 1)


def grid_codes(codes: Tensor, count: int) -> Tensor:
    """Resample the codes (n * n, d) of a square grid to (count, d).

    The result has the codes at the centres of the first `count` cells, in reading order, of the smallest
    square grid with at least `count` cells.
    """
    side, cells = math.isqrt(len(codes)), math.isqrt(count - 1) + 1
    square = codes.T.reshape(1, -1, side, side)
    return nn.functional.interpolate(square, (cells, cells), mode="area")[0].flatten(1).T[:count]
