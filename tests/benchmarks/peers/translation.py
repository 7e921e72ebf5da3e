"""The benchmark's translation models in PyTorch, as a server: one line of request, one line of JSON.

    python3 translation.py --model transformer --task train --variant lean --dropout 0.1 [--fused] [--compile]

A request is a number of steps; the answer {"ms": [...]}. A step is a training step (forward, backward, Adam), or the
translation of one batch with cached keys and values: --task greedy, --task beam. The models are those of
translation_model.cpp: "modules" is built from PyTorch's layers, "lean" by hand: packed projections,
scaled_dot_product_attention; of the recurrent model, everything that needs no step before it is done for all at once.
"""
import argparse
import json
import math
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    """Heads on one packed projection of queries, keys and values, or of the keys and values of a memory."""

    def __init__(self, dim, heads, dropout, cross=False):
        super().__init__()
        self.heads, self.p, self.cross = heads, dropout, cross
        if cross:
            self.q, self.kv = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim)
        else:
            self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def split(self, x, parts):
        b, t, d = x.shape
        return x.view(b, t, parts, self.heads, d // parts // self.heads).permute(2, 0, 3, 1, 4).unbind(0)

    def join(self, y):
        b, h, t, k = y.shape
        return self.out(y.transpose(1, 2).reshape(b, t, h * k))

    def forward(self, x, memory=None, keep=None, causal=False):
        if self.cross:
            (q,), (k, v) = self.split(self.q(x), 1), self.split(self.kv(memory), 2)
        else:
            q, k, v = self.split(self.qkv(x), 3)
        p = self.p if self.training else 0.0
        return self.join(F.scaled_dot_product_attention(q, k, v, attn_mask=keep, dropout_p=p, is_causal=causal))

    def step(self, x, cache, t, keep=None):
        """One position; cache: keys and values [B, H, T, K], of which those before t are there."""
        if self.cross:
            (q,), (k, v) = self.split(self.q(x), 1), cache
        else:
            q, k, v = self.split(self.qkv(x), 3)
            cache[0][:, :, t : t + 1], cache[1][:, :, t : t + 1] = k, v
            k, v = cache[0][:, :, : t + 1], cache[1][:, :, : t + 1]
        return self.join(F.scaled_dot_product_attention(q, k, v, attn_mask=keep))


class Layer(nn.Module):
    """A pre-norm block; with a memory a decoder's."""

    def __init__(self, a, decoder):
        super().__init__()
        self.p = a.dropout
        self.attn, self.norm1 = Attention(a.dim, a.heads, a.dropout), nn.LayerNorm(a.dim)
        if decoder:
            self.cross, self.norm2 = Attention(a.dim, a.heads, a.dropout, cross=True), nn.LayerNorm(a.dim)
        self.up, self.down, self.norm3 = nn.Linear(a.dim, a.ffn), nn.Linear(a.ffn, a.dim), nn.LayerNorm(a.dim)

    def drop(self, x):
        return F.dropout(x, self.p) if self.p > 0 and self.training else x

    def ffn(self, x):
        return x + self.drop(self.down(self.drop(F.relu(self.up(self.norm3(x))))))

    def forward(self, x, memory=None, keep=None):
        if memory is None:
            return self.ffn(x + self.drop(self.attn(self.norm1(x), keep=keep)))
        x = x + self.drop(self.attn(self.norm1(x), causal=True))
        return self.ffn(x + self.drop(self.cross(self.norm2(x), memory, keep=keep)))

    def step(self, x, own, memory, t, keep):
        x = x + self.attn.step(self.norm1(x), own, t)
        return self.ffn(x + self.cross.step(self.norm2(x), memory, t, keep))


class Transformer(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.lean, self.scale, self.p, self.steps = a.variant == "lean", math.sqrt(a.dim), a.dropout, a.target
        self.source = nn.Embedding(a.source_vocabulary, a.dim)
        self.target = self.source if a.shared else nn.Embedding(a.target_vocabulary, a.dim)
        self.head = nn.Linear(a.dim, a.target_vocabulary, bias=False)
        self.head.weight = self.target.weight
        for table in (self.source, self.target):
            nn.init.normal_(table.weight, std=a.dim**-0.5)
        angles = torch.arange(max(a.source, a.target))[:, None] / 1e4 ** (torch.arange(0, a.dim, 2) / a.dim)
        self.register_buffer("positions", torch.stack([angles.sin(), angles.cos()], -1).flatten(1))
        if self.lean:
            self.encoder = nn.ModuleList(Layer(a, False) for _ in range(a.blocks))
            self.decoder = nn.ModuleList(Layer(a, True) for _ in range(a.blocks))
            self.norms = nn.ModuleList([nn.LayerNorm(a.dim), nn.LayerNorm(a.dim)])
        else:
            sizes = dict(d_model=a.dim, nhead=a.heads, dim_feedforward=a.ffn, dropout=a.dropout, batch_first=True)
            self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(**sizes, norm_first=True), a.blocks,
                                                 nn.LayerNorm(a.dim), enable_nested_tensor=False)
            self.decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(**sizes, norm_first=True), a.blocks,
                                                 nn.LayerNorm(a.dim))

    def embed(self, table, tokens, begin=0):
        x = table(tokens) * self.scale + self.positions[begin : begin + tokens.size(1)]
        return F.dropout(x, self.p) if self.p > 0 and self.training else x

    def encode(self, source, padding):
        x = self.embed(self.source, source)
        if not self.lean:
            return self.encoder(x, src_key_padding_mask=padding)
        keep = (~padding)[:, None, None, :]
        for layer in self.encoder:
            x = layer(x, keep=keep)
        return self.norms[0](x)

    def forward(self, source, padding, target):
        memory, x = self.encode(source, padding), self.embed(self.target, target)
        if self.lean:
            keep = (~padding)[:, None, None, :]
            for layer in self.decoder:
                x = layer(x, memory, keep)
            return self.head(self.norms[1](x))
        causal = torch.full((x.size(1), x.size(1)), float("-inf")).triu_(1)
        return self.head(self.decoder(x, memory, tgt_mask=causal, memory_key_padding_mask=padding, tgt_is_causal=True))

    def start(self, source, padding, beam):
        """Everything of the source, `beam` rows for each sentence, and empty caches for what will be written."""
        self.keep = (~padding)[:, None, None, :].repeat_interleave(beam, 0)
        memory = self.encode(source, padding)
        self.memories = [[x.repeat_interleave(beam, 0) for x in layer.cross.split(layer.cross.kv(memory), 2)]
                         for layer in self.decoder]
        b, h, _, k = self.memories[0][0].shape
        self.own = [[torch.empty(b, h, self.steps, k) for _ in range(2)] for _ in self.decoder]

    def step(self, tokens, t):
        x = self.embed(self.target, tokens[:, None], t)
        for layer, own, memory in zip(self.decoder, self.own, self.memories):
            x = layer.step(x, own, memory, t, self.keep)
        return self.head(self.norms[1](x))[:, 0]

    def select(self, rows, t):
        for cache in self.own:
            for x in cache:
                x[:, :, :t] = x[rows, :, :t]


class Recurrent(nn.Module):
    """GRU in both directions; a GRU decoder whose state before asks by additive attention (Bahdanau et al., 2015)."""

    def __init__(self, a):
        super().__init__()
        d, h, self.lean, self.p, self.hidden = a.dim, a.hidden, a.variant == "lean", a.dropout, a.hidden
        self.source, self.target = nn.Embedding(a.source_vocabulary, d), nn.Embedding(a.target_vocabulary, d)
        self.encoder, self.first = nn.GRU(d, h // 2, bidirectional=True, batch_first=True), nn.Linear(h, h)
        self.query, self.key, self.score = nn.Linear(h, h, bias=False), nn.Linear(h, h), nn.Linear(h, 1, bias=False)
        if self.lean:
            self.of_word, self.of_context = nn.Linear(d, 3 * h), nn.Linear(h, 3 * h, bias=False)
            self.of_state = nn.Linear(h, 3 * h)
        else:
            self.cell = nn.GRUCell(d + h, h)
        self.feature, self.head = nn.Linear(d + 2 * h, d), nn.Linear(d, a.target_vocabulary)

    def drop(self, x):
        return F.dropout(x, self.p) if self.p > 0 and self.training else x

    def start(self, source, padding, beam):
        """The sentences have no padding."""
        self.memory, last = self.encoder(self.drop(self.source(source)))
        self.state = torch.tanh(self.first(torch.cat([last[0], last[1]], 1)))
        if beam > 1:
            self.memory, self.state = self.memory.repeat_interleave(beam, 0), self.state.repeat_interleave(beam, 0)
        self.keys = self.key(self.memory)

    def advance(self, x, gates):
        """x and its part of the gates, of one position -> context."""
        scores = self.score(torch.tanh(self.query(self.state)[:, None] + self.keys)).squeeze(-1)
        context = torch.bmm(torch.softmax(scores, 1)[:, None], self.memory).squeeze(1)
        if self.lean:
            own, gates, h = self.of_state(self.state), gates + self.of_context(context), self.hidden
            r, z = torch.sigmoid(gates[:, : 2 * h] + own[:, : 2 * h]).chunk(2, 1)
            n = torch.tanh(gates[:, 2 * h :] + r * own[:, 2 * h :])
            self.state = torch.lerp(n, self.state, z)
        else:
            self.state = self.cell(torch.cat([x, context], 1), self.state)
        return context

    def finish(self, states, contexts, x):
        return self.head(self.drop(torch.tanh(self.feature(torch.cat([states, contexts, x], -1)))))

    def forward(self, source, padding, target):
        self.start(source, padding, 1)
        x = self.drop(self.target(target))
        gates = self.of_word(x) if self.lean else x
        states, contexts = [], []
        for t in range(x.size(1)):
            contexts.append(self.advance(x[:, t], gates[:, t]))
            states.append(self.state)
        return self.finish(torch.stack(states, 1), torch.stack(contexts, 1), x)

    def step(self, tokens, t):
        x = self.target(tokens)
        context = self.advance(x, self.of_word(x))
        return self.finish(self.state, context, x)

    def select(self, rows, t):
        self.state = self.state[rows]


@torch.inference_mode()
def greedy(model, a, source, padding):
    model.start(source, padding, 1)
    tokens, written = torch.full((a.batch,), 2), []
    for t in range(a.target):
        tokens = model.step(tokens, t).argmax(-1)
        written.append(tokens)
    return torch.stack(written, 1)


@torch.inference_mode()
def beam(model, a, source, padding):
    """Beam search without the bookkeeping of finished hypotheses: less work than ours does."""
    model.start(source, padding, a.beam)
    tokens = torch.full((a.batch * a.beam,), 2)
    scores = torch.full((a.batch, a.beam), float("-inf"))
    scores[:, 0] = 0
    first = torch.arange(a.batch)[:, None] * a.beam
    written = torch.empty(a.batch * a.beam, 0, dtype=torch.long)
    for t in range(a.target):
        each = torch.log_softmax(model.step(tokens, t), -1).view(a.batch, a.beam, -1) + scores[:, :, None]
        scores, best = each.flatten(1).topk(a.beam)
        rows = (first + best // each.size(-1)).flatten()
        tokens = (best % each.size(-1)).flatten()
        model.select(rows, t + 1)
        written = torch.cat([written[rows], tokens[:, None]], 1)
    return written


def add_arguments(parser):
    """What every server of this folder's models is told."""
    parser.add_argument("--task", choices=["train", "greedy", "beam"], default="train")
    parser.add_argument("--variant", choices=["modules", "lean"], default="lean")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fused", action="store_true", help="the fused Adam")
    parser.add_argument("--compile", action="store_true", help="torch.compile, on a GPU with CUDA graphs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["float32", "bf16"], default="float32", help="bf16: autocast")


def prepare(a):
    torch.manual_seed(1)
    torch.set_num_threads(a.threads)
    torch.set_default_device(a.device)


def add_sizes(parser, sizes):
    for name, value in sizes.items():
        parser.add_argument("--" + name.replace("_", "-"), type=int, default=value)


def training_step(model, a, inputs, target):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, **(dict(fused=True) if a.fused else {}))
    forward = torch.compile(model, mode=None if a.device == "cpu" else "reduce-overhead") if a.compile else model

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(a.device).type, torch.bfloat16, enabled=a.precision == "bf16"):
            loss = F.cross_entropy(forward(*inputs).flatten(0, -2), target.flatten())
        loss.backward()
        optimizer.step()
        return loss.item() if a.device == "cpu" else loss

    return step


def search_step(model, a, source, padding):
    model.eval()
    search = greedy if a.task == "greedy" else beam
    return lambda: search(model, a, source, padding)


def serve(step, device):
    """On a GPU steps are given to it behind each other, and the time is the mean of all."""
    for line in sys.stdin:
        milliseconds = []
        begin = time.perf_counter()
        for _ in range(int(line)):
            step()
            if device == "cpu":
                milliseconds.append((time.perf_counter() - begin) * 1e3)
                begin = time.perf_counter()
        if device != "cpu":
            torch.cuda.synchronize()
            milliseconds.append((time.perf_counter() - begin) / int(line) * 1e3)
        print(json.dumps({"torch": torch.__version__, "ms": milliseconds}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["transformer", "recurrent"], default="transformer")
    parser.add_argument("--shared", action="store_true", help="one table for both languages")
    add_arguments(parser)
    add_sizes(parser, dict(batch=128, source=16, target=16, dim=128, hidden=256, heads=4, blocks=4, ffn=256, beam=5,
                           source_vocabulary=8000, target_vocabulary=8000))
    a = parser.parse_args()
    prepare(a)
    model = (Transformer if a.model == "transformer" else Recurrent)(a)
    shortest = a.source // 2 if a.model == "transformer" else a.source
    lengths = torch.randint(shortest, a.source + 1, (a.batch,))
    lengths[0] = a.source
    padding = torch.arange(a.source)[None] >= lengths[:, None]
    source = torch.randint(4, a.source_vocabulary, (a.batch, a.source))
    target = torch.randint(4, a.target_vocabulary, (a.batch, a.target + 1))
    if a.task == "train":
        step = training_step(model, a, (source, padding, target[:, :-1]), target[:, 1:])
    else:
        step = search_step(model, a, source, padding)
    serve(step, a.device)


if __name__ == "__main__":
    main()
