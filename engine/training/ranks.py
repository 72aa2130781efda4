"""The processes of one training run, one a GPU, that learn from other rows and take the same steps."""
import os

import torch
import torch.distributed as dist


class Ranks:
    """RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT in the environment, as torch.distributed reads them; a
    process without them is alone. Rank n uses GPU n of those it sees."""

    def __init__(self):
        self.rank, self.size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.first = self.rank == 0
        if self.size > 1:
            torch.cuda.set_device(self.rank)
            dist.init_process_group("nccl")

    def of_first(self, value):
        """The first rank's number, on every rank."""
        told = torch.tensor(value, dtype=torch.float64, device="cuda")
        dist.broadcast(told, 0)
        return told.item()

    def sum(self, *tensors):
        """Adds up over the ranks, in place: one message of them all."""
        if self.size == 1:
            return
        flat = torch.cat([t.flatten().float() for t in tensors])
        dist.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors])):
            tensor.copy_(part.view_as(tensor))

    def close(self):
        if self.size > 1:
            dist.destroy_process_group()
