"""The benchmark's captioning models in PyTorch, as a server: one line of request, one line of JSON.

    python3 captioning.py --encoder conv --decoder recurrent --variant lean --channels-last [--fused] [--compile]

A request is a number of steps; the answer {"ms": [...]}. A step is a training step (forward, backward, Adam), or
writing captions about one batch of pictures with cached keys and values: --task greedy, --task beam. The models are
those of captioning_model.cpp: "modules" is built from PyTorch's layers, "lean" by hand, as in translation.py.
"""
import argparse
import math

import torch
import torch.nn.functional as F
from torch import nn

import translation


class Block(translation.Layer):
    """A pre-norm block with GELU."""

    def ffn(self, x):
        return x + self.drop(self.down(self.drop(F.gelu(self.up(self.norm3(x))))))


def packed(a, **changes):
    return argparse.Namespace(**{**vars(a), **changes})


def halving(channels_in, channels_out):
    return [nn.Conv2d(channels_in, channels_out, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True)]


class Residual(nn.Module):
    def __init__(self, channels_in, out):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels_in, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.norm2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.shortcut = nn.Identity()
        if channels_in != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels_in, out, 1, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x), inplace=True)


class ConvEncoder(nn.Module):
    def __init__(self, a):
        super().__init__()
        layers, channels, side = halving(3, a.stem), a.stem, a.image_size // 2
        for stage in range(a.stages):
            layers.append(nn.MaxPool2d(2))
            side //= 2
            for _ in range(a.stage_blocks):
                layers.append(Residual(channels, a.channels << stage))
                channels = a.channels << stage
        self.layers, self.p, self.dim, self.regions = nn.Sequential(*layers), a.encoder_dropout, channels, side * side

    def forward(self, pictures):
        x = self.layers(pictures).flatten(2).transpose(1, 2)
        return F.dropout(x, self.p) if self.p > 0 and self.training else x


class PatchEncoder(nn.Module):
    def __init__(self, a):
        super().__init__()
        side = a.image_size // a.patch
        self.patch, self.p, self.dim, self.regions = a.patch, a.encoder_dropout, a.dim, side * side
        self.lean, self.linear = a.variant == "lean", a.patch_stem == "linear"
        if not self.linear:
            widths = [3] + [a.dim >> i for i in reversed(range(int(math.log2(a.patch))))]
            layers = [layer for pair in zip(widths, widths[1:]) for layer in halving(*pair)]
            self.stem = nn.Sequential(*layers, nn.Conv2d(a.dim, a.dim, 1))
        elif self.lean:
            self.stem = nn.Linear(3 * a.patch**2, a.dim)
        else:
            self.stem = nn.Conv2d(3, a.dim, a.patch, a.patch)
        self.positions = nn.Parameter(torch.randn(self.regions, a.dim) * 0.02)
        if self.lean:
            blocks = packed(a, dropout=a.encoder_dropout)
            self.blocks = nn.Sequential(*(Block(blocks, False) for _ in range(a.encoder_blocks)), nn.LayerNorm(a.dim))
        else:
            layer = nn.TransformerEncoderLayer(a.dim, a.heads, a.ffn, a.encoder_dropout, F.gelu, batch_first=True,
                                               norm_first=True)
            self.blocks = nn.TransformerEncoder(layer, a.encoder_blocks, nn.LayerNorm(a.dim),
                                                enable_nested_tensor=False)

    def forward(self, pictures):
        if self.lean and self.linear:
            b, _, height, _ = pictures.shape
            n, p = height // self.patch, self.patch
            x = self.stem(pictures.reshape(b, 3, n, p, n, p).permute(0, 2, 4, 1, 3, 5).reshape(b, n * n, -1))
        else:
            x = self.stem(pictures).flatten(2).transpose(1, 2)
        x = x + self.positions
        return self.blocks(F.dropout(x, self.p) if self.p > 0 and self.training else x)


class TransformerDecoder(nn.Module):
    def __init__(self, a, encoder):
        super().__init__()
        self.lean, self.scale, self.p, self.steps = a.variant == "lean", math.sqrt(a.dim), a.dropout, a.target
        self.table, self.head = nn.Embedding(a.vocabulary, a.dim), nn.Linear(a.dim, a.vocabulary, bias=False)
        nn.init.normal_(self.table.weight, std=a.dim**-0.5)
        angles = torch.arange(a.target)[:, None] / 1e4 ** (torch.arange(0, a.dim, 2) / a.dim)
        self.register_buffer("positions", torch.stack([angles.sin(), angles.cos()], -1).flatten(1))
        if encoder.dim != a.dim:
            raise SystemExit("regions as wide as the decoder expected")
        if self.lean:
            self.blocks, self.norm = nn.ModuleList(Block(a, True) for _ in range(a.decoder_blocks)), nn.LayerNorm(a.dim)
        else:
            layer = nn.TransformerDecoderLayer(a.dim, a.heads, a.ffn, a.dropout, F.gelu, batch_first=True,
                                               norm_first=True)
            self.blocks = nn.TransformerDecoder(layer, a.decoder_blocks, nn.LayerNorm(a.dim))

    def embed(self, tokens, begin=0):
        x = self.table(tokens) * self.scale + self.positions[begin : begin + tokens.size(1)]
        return F.dropout(x, self.p) if self.p > 0 and self.training else x

    def forward(self, memory, padding, tokens):
        x = self.embed(tokens)
        if self.lean:
            for block in self.blocks:
                x = block(x, memory)
            return self.head(self.norm(x))
        causal = torch.full((x.size(1), x.size(1)), float("-inf")).triu_(1)
        return self.head(self.blocks(x, memory, tgt_mask=causal, tgt_is_causal=True))

    def start(self, memory, padding, beam):
        """`beam` rows for each picture, and empty caches for what will be written."""
        self.memories = [[x.repeat_interleave(beam, 0) for x in block.cross.split(block.cross.kv(memory), 2)]
                         for block in self.blocks]
        b, h, _, k = self.memories[0][0].shape
        self.own = [[torch.empty(b, h, self.steps, k) for _ in range(2)] for _ in self.blocks]

    def step(self, tokens, t):
        x = self.embed(tokens[:, None], t)
        for block, own, memory in zip(self.blocks, self.own, self.memories):
            x = block.step(x, own, memory, t, None)
        return self.head(self.norm(x))[:, 0]

    def select(self, rows, t):
        for cache in self.own:
            for x in cache:
                x[:, :, :t] = x[rows, :, :t]


class RecurrentDecoder(translation.Recurrent):
    """An LSTM whose state before asks by additive attention, with a gate (Xu et al., 2015)."""

    def __init__(self, a, encoder):
        nn.Module.__init__(self)
        d, h, m = a.dim, a.hidden, encoder.dim
        self.lean, self.p = a.variant == "lean", a.dropout
        self.target, self.first = nn.Embedding(a.vocabulary, d), nn.Linear(m, 2 * h)
        self.query, self.key = nn.Linear(h, a.attention_hidden, bias=False), nn.Linear(m, a.attention_hidden)
        self.score, self.gate = nn.Linear(a.attention_hidden, 1, bias=False), nn.Linear(h, 1)
        if self.lean:
            self.of_word, self.of_context = nn.Linear(d, 4 * h), nn.Linear(m, 4 * h, bias=False)
            self.of_state = nn.Linear(h, 4 * h)
        else:
            self.cell = nn.LSTMCell(d + m, h)
        self.feature, self.head = nn.Linear(d + h + m, d), nn.Linear(d, a.vocabulary)

    def start(self, memory, padding, beam):
        self.state, self.carried = torch.tanh(self.first(memory.mean(1))).chunk(2, 1)
        self.memory = memory
        if beam > 1:
            self.memory, self.state, self.carried = (x.repeat_interleave(beam, 0)
                                                     for x in (memory, self.state, self.carried))
        self.keys = self.key(self.memory)

    def advance(self, x, gates):
        scores = self.score(torch.tanh(self.query(self.state)[:, None] + self.keys)).squeeze(-1)
        context = torch.bmm(torch.softmax(scores, 1)[:, None], self.memory).squeeze(1)
        context = context * torch.sigmoid(self.gate(self.state))
        if self.lean:
            i, f, g, o = (gates + self.of_context(context) + self.of_state(self.state)).chunk(4, 1)
            self.carried = torch.sigmoid(f) * self.carried + torch.sigmoid(i) * torch.tanh(g)
            self.state = torch.sigmoid(o) * torch.tanh(self.carried)
        else:
            self.state, self.carried = self.cell(torch.cat([x, context], 1), (self.state, self.carried))
        return context

    def select(self, rows, t):
        self.state, self.carried = self.state[rows], self.carried[rows]


class Captioner(nn.Module):
    """What translation.py searches with: the source is pictures."""

    def __init__(self, a):
        super().__init__()
        self.encoder = (ConvEncoder if a.encoder == "conv" else PatchEncoder)(a)
        self.decoder = (RecurrentDecoder if a.decoder == "recurrent" else TransformerDecoder)(a, self.encoder)

    def forward(self, pictures, tokens):
        return self.decoder(self.encoder(pictures), None, tokens)

    def start(self, pictures, padding, beam):
        self.decoder.start(self.encoder(pictures), padding, beam)

    def step(self, tokens, t):
        return self.decoder.step(tokens, t)

    def select(self, rows, t):
        self.decoder.select(rows, t)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", choices=["conv", "patch"], default="conv")
    parser.add_argument("--decoder", choices=["recurrent", "transformer"], default="recurrent")
    parser.add_argument("--patch-stem", choices=["linear", "convolutions"], default="linear")
    parser.add_argument("--encoder-dropout", type=float, default=0.0)
    parser.add_argument("--channels-last", action="store_true")
    translation.add_arguments(parser)
    sizes = dict(batch=64, target=12, vocabulary=2550, image_size=128, stem=32, channels=64, stages=3, stage_blocks=1,
                 patch=16, encoder_blocks=4, dim=256, heads=4, ffn=1024, decoder_blocks=3, attention_hidden=256,
                 hidden=512, beam=5)
    translation.add_sizes(parser, sizes)
    a = parser.parse_args()
    translation.prepare(a)
    model = Captioner(a)
    pictures = torch.randn(a.batch, 3, a.image_size, a.image_size)
    if a.channels_last:
        model, pictures = (x.to(memory_format=torch.channels_last) for x in (model, pictures))
    target = torch.randint(4, a.vocabulary, (a.batch, a.target + 1))
    if a.task == "train":
        step = translation.training_step(model, a, (pictures, target[:, :-1]), target[:, 1:])
    else:
        step = translation.search_step(model, a, pictures, None)
    translation.serve(step, a.device)


if __name__ == "__main__":
    main()
