"""Each process has the rows that torch's fully_shard gives it."""

import torch

from vlm4vla.training.distributed.parameter_rows import row_range


def test_row_ranges_are_torch_chunks():
    for rows in range(1, 20):
        for world_size in range(1, 9):
            chunks = list(torch.arange(rows).chunk(world_size))
            for rank in range(world_size):
                expected = chunks[rank].tolist() if rank < len(chunks) else []
                assert list(range(*row_range(rows, rank, world_size))) == expected
