"""Rows of processes are those that torch's fully_shard gives them."""

import torch

from vlm4vla.training.distributed.parameter_rows import share


def test_shares_are_torch_chunks():
    for rows in range(1, 20):
        for world in range(1, 9):
            chunks = list(torch.arange(rows).chunk(world))
            for rank in range(world):
                expected = chunks[rank].tolist() if rank < len(chunks) else []
                assert list(range(*share(rows, rank, world))) == expected
