"""A training step of the benchmark's sentiment model in PyTorch, as a server: one line of request, one line of JSON.

    python3 train_step.py --variant lean --dropout 0.1 [--fused] [--compile] --threads 2

A request is a number of steps; the answer {"ms": [...]}. The model is that of sentiment_model.cpp:
"modules" is built from nn.TransformerEncoder, "lean" by hand: packed projections, scaled_dot_product_attention.
"""
import argparse
import math

import torch
import torch.nn.functional as F
from torch import nn

import translation


class Block(nn.Module):
    """A post-norm encoder block on one packed projection."""

    def __init__(self, dim, heads, ffn, dropout):
        super().__init__()
        self.heads, self.p = heads, dropout
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.up, self.down = nn.Linear(dim, ffn), nn.Linear(ffn, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def drop(self, x):
        return F.dropout(x, self.p) if self.p > 0 else x

    def forward(self, x, keep):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=keep, dropout_p=self.p)
        x = self.norm1(x + self.drop(self.out(y.transpose(1, 2).reshape(b, t, d))))
        return self.norm2(x + self.drop(self.down(self.drop(F.relu(self.up(x))))))


class Sentiment(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.lean, self.scale, self.p = a.variant == "lean", math.sqrt(a.dim), a.dropout
        self.embed = nn.Embedding(a.vocabulary, a.dim)
        self.positions = nn.Parameter(torch.randn(a.length, a.dim) * 0.02)
        self.head = nn.Linear(a.dim, 2)
        if self.lean:
            self.blocks = nn.ModuleList(Block(a.dim, a.heads, a.ffn, a.dropout) for _ in range(a.blocks))
        else:
            layer = nn.TransformerEncoderLayer(a.dim, a.heads, a.ffn, a.dropout, batch_first=True)
            self.blocks = nn.TransformerEncoder(layer, a.blocks, enable_nested_tensor=False)

    def forward(self, tokens, padding):
        x = self.embed(tokens) * self.scale + self.positions
        if self.p > 0:
            x = F.dropout(x, self.p)
        if self.lean:
            keep = (~padding)[:, None, None, :]
            for block in self.blocks:
                x = block(x, keep)
        else:
            x = self.blocks(x, src_key_padding_mask=padding)
        real = (~padding).unsqueeze(-1).to(x.dtype)
        return self.head((x * real).sum(1) / real.sum(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    translation.add_arguments(parser)
    translation.add_sizes(parser, dict(batch=64, length=32, dim=128, heads=4, blocks=2, ffn=256, vocabulary=16000))
    a = parser.parse_args()
    translation.prepare(a)
    model = Sentiment(a).train()
    lengths = torch.randint(a.length // 4, a.length + 1, (a.batch,))
    lengths[0] = a.length
    padding = torch.arange(a.length)[None] >= lengths[:, None]
    tokens = torch.randint(1, a.vocabulary, (a.batch, a.length))
    labels = torch.randint(0, 2, (a.batch,))
    translation.serve(translation.training_step(model, a, (tokens, padding), labels), a.device)


if __name__ == "__main__":
    main()
