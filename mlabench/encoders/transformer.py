"""The pre-norm transformer of the masked autoencoders, and its fixed position embeddings."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Width of a block's hidden layer, as a multiple of the block's width.
MLP_RATIO = 4


class Block(nn.Module):
    """Self-attention, then a multi-layer perceptron, each on normed tokens and added to them (Dosovitskiy et al. 2021).

    ``epsilon`` is added to the variance by the norms; ``gelu`` is ``"none"`` (exact) or ``"tanh"`` (approximated).
    """

    def __init__(self, width: int, heads: int, epsilon: float, gelu: str) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, epsilon)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, epsilon)
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.gelu = nn.GELU(gelu)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """New ``tokens [n, T, d]``; those where ``present [n, T]`` is false are attended to by none."""
        tokens = tokens + self._attend(self.norm1(tokens), present)
        hidden: Tensor = self.fc2(self.gelu(self.fc1(self.norm2(tokens))))
        return tokens + hidden

    def _attend(self, tokens: Tensor, present: Tensor | None) -> Tensor:
        # [n, T, 3 d] -> 3 x [n, heads, T, d / heads]
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if present is None else present[:, None, None, :]
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        result: Tensor = self.proj(attended.transpose(1, 2).flatten(2))
        return result


def initialise(network: nn.Module) -> None:
    """Draws all linear layers as the masked autoencoders do: Xavier-uniform weights, biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)


def sequence_positions(length: int, width: int) -> Tensor:
    """Sine-cosine embeddings of positions 0 to ``length - 1`` (Vaswani et al. 2017). ``[length, width]``

    The sines of all frequencies ``10000 ** (-2 i / width)`` come first, then their cosines.
    """
    return _embed(torch.arange(length, dtype=torch.float64), width).float()


def grid_positions(rows: int, columns: int, width: int) -> Tensor:
    """Sine-cosine embeddings of the cells of a grid, row by row. ``[rows * columns, width]``

    The first half of an embedding is of the column, the second of the row.
    """
    row, column = torch.meshgrid(
        torch.arange(rows, dtype=torch.float64), torch.arange(columns, dtype=torch.float64), indexing="ij"
    )
    halves = [_embed(column.flatten(), width // 2), _embed(row.flatten(), width // 2)]
    return torch.cat(halves, dim=1).float()


def _embed(positions: Tensor, width: int) -> Tensor:
    frequencies = 10000 ** (-torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angles = torch.outer(positions, frequencies)
    return torch.cat([angles.sin(), angles.cos()], dim=1)
