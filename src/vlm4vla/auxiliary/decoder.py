"""The diffusion decoder of omni-generation: pixels from noise, conditioned on a VLM's hidden states.

A diffusion transformer of diffusers (PixArt's: patches, cross-attention, the time in its norms) with rectified
flow: at noise share s a map x is (1 - s) x + s e, and what is learnt is e - x (Liu et al., arXiv 2209.03003;
the scheduler is that of Stable Diffusion 3, arXiv 2403.03206). It works on pixels and not on latents: a map of
some dozens of pixels needs no autoencoder.
"""

from __future__ import annotations

import torch
from diffusers.models import PixArtTransformer2DModel
from diffusers.schedulers import FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from vlm4vla.config import DiffusionDecoder

TIMES = 1000  # noise shares that training draws from


class Decoder(nn.Module):
    """`width`: of the VLM's hidden states; `tokens`: the longest prompt."""

    def __init__(self, settings: DiffusionDecoder, width: int, tokens: int):
        super().__init__()
        self.settings = settings
        self.norm = nn.LayerNorm(width)  # families differ in the size of their states
        self.places = nn.Parameter(0.02 * torch.randn(tokens, width))  # of a token in its prompt
        self.transformer = PixArtTransformer2DModel(
            sample_size=settings.size,
            patch_size=settings.patch,
            num_layers=settings.layers,
            num_attention_heads=settings.heads,
            attention_head_dim=settings.head_width,
            cross_attention_dim=settings.heads * settings.head_width,
            caption_channels=width,
            in_channels=3,
            out_channels=3,
            use_additional_conditions=False,
        )
        nn.init.zeros_(self.transformer.proj_out.weight)  # what is drawn first is no pattern of chance
        nn.init.zeros_(self.transformer.proj_out.bias)
        self.times = FlowMatchEulerDiscreteScheduler(TIMES, shift=settings.shift)

    def velocity(self, noisy: Tensor, times: Tensor, states: Tensor, real: Tensor) -> Tensor:
        """(B, 3, S, S) from noisy maps at `times` (B,), states (B, T, d) and their mask `real` (B, T)."""
        place = (real.long().cumsum(1) - 1).clamp(min=0)
        states = self.norm(states) + self.places[place]
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
        noise = torch.randn_like(maps)
        found = self.velocity(self.times.scale_noise(maps, times, noise), times, states, real)
        return nn.functional.mse_loss(found, noise - maps)

    @torch.inference_mode()
    def draw(self, noise: Tensor, states: Tensor, real: Tensor) -> Tensor:
        """Maps (B, 3, S, S) in [-1, 1] from `noise` of that shape, in `settings.steps` Euler steps."""
        scheduler = FlowMatchEulerDiscreteScheduler.from_config(self.times.config)
        scheduler.set_timesteps(self.settings.steps, device=noise.device)
        maps = noise
        for time in scheduler.timesteps:
            found = self.velocity(maps, time.expand(len(maps)), states, real)
            maps = scheduler.step(found, time, maps, return_dict=False)[0]
        return maps.clamp(-1, 1)
