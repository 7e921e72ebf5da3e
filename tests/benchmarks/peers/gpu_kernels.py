"""Kernels of PyTorch on a GPU, as a server: a line of JSON that names one, one line of JSON with its time.

    python3 gpu_kernels.py [--device cuda]

A request is {"op": "softmax", "dtype": "bfloat16", "shape": [rows, width]}; of attention [B, T, H, K], with "causal" and
"backend": "chosen" (as PyTorch chooses) or "cudnn". The answer is {"torch": version, "s": seconds of a call}, the median of
five samples of many calls behind each other; "s" is null where there is no such kernel. Operands are as in cuda.cpp.
"""
import argparse
import contextlib
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def rows(op, dtype, shape):
    """Of [rows, width], along the last axis."""
    x, dy, gain = torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype), torch.randn(shape[1], dtype=dtype)
    targets = torch.zeros(shape[0], dtype=torch.long)
    if op == "softmax":
        return lambda: torch.softmax(x, -1)
    if op == "softmax_backward":
        y = torch.softmax(x, -1)
        return lambda: torch.ops.aten._softmax_backward_data(dy, y, -1, dtype)
    if op == "layer norm":
        return lambda: F.layer_norm(x, gain.shape, gain, gain)
    if op == "dropout + add + layer norm":
        return lambda: F.layer_norm(x + F.dropout(dy, 0.1), gain.shape, gain, gain)
    if op == "layer norm backward":
        _, mean, scale = torch.native_layer_norm(x, gain.shape, gain, gain, 1e-5)
        return lambda: torch.ops.aten.native_layer_norm_backward(dy, x, list(gain.shape), mean, scale, gain, gain,
                                                                 [True, True, True])
    if op == "cross-entropy":
        return lambda: F.cross_entropy(x, targets, reduction="none")
    if op == "cross-entropy backward":
        x.requires_grad_()
        loss = F.cross_entropy(x, targets, reduction="sum")
        return lambda: torch.autograd.grad(loss, x, retain_graph=True)
    if op == "sum of columns":
        return lambda: x.sum(0)
    if op == "sum of rows":
        return lambda: x.sum(1, keepdim=True)
    if op == "add a row":
        return lambda: x + gain
    return None


def elements(op, dtype, shape):
    x = torch.randn(shape, dtype=dtype)
    y = torch.empty_like(x)
    if op == "copy":
        return lambda: y.copy_(x)
    if op == "gelu":
        return lambda: F.gelu(x)
    if op == "dropout":
        return lambda: F.dropout(x, 0.1)
    if op == "transposed copy":
        return lambda: y.copy_(x.t())
    if op == "Adam":
        x.grad = torch.randn(shape, dtype=dtype)
        return torch.optim.Adam([x], lr=1e-3, fused=True).step
    return None


def product(op, dtype, shape):
    a, b = torch.randn(shape, dtype=dtype), torch.randn(shape, dtype=dtype)
    c = torch.empty_like(a)
    return lambda: torch.matmul(a, b.t() if op.endswith("transposed") else b, out=c)


def attention(op, dtype, shape, causal, backend):
    def heads():
        return torch.randn(shape, dtype=dtype).transpose(1, 2).requires_grad_()

    q, k, v, dy = heads(), heads(), heads(), heads().detach()

    def forward():
        with contextlib.nullcontext() if backend == "chosen" else sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=0.1)

    if op == "attention backward":
        y = forward()
        return lambda: torch.autograd.grad(y, (q, k, v), dy, retain_graph=True)

    def alone():
        with torch.no_grad():
            return forward()

    return alone


def work_of(request):
    op, dtype, shape = request["op"], getattr(torch, request["dtype"]), request["shape"]
    if op.startswith("attention"):
        return attention(op, dtype, shape, request["causal"], request["backend"])
    if op.startswith("product"):
        return product(op, dtype, shape)
    return elements(op, dtype, shape) or rows(op, dtype, shape)


def seconds(work, wait):
    work()
    wait()
    calls = 1
    while True:
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        wait()
        if time.perf_counter() - begin > 0.05:
            break
        calls *= 2
    samples = []
    for _ in range(5):
        begin = time.perf_counter()
        for _ in range(calls):
            work()
        wait()
        samples.append((time.perf_counter() - begin) / calls)
    return statistics.median(samples)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    a = parser.parse_args()
    torch.set_default_device(a.device)
    wait = torch.cuda.synchronize if a.device.startswith("cuda") else lambda: None
    for line in sys.stdin:
        try:
            work = work_of(json.loads(line))
            found = seconds(work, wait) if work else None
        except RuntimeError:  # no kernel for it, or no memory
            found = None
        print(json.dumps({"torch": torch.__version__, "s": found}), flush=True)


if __name__ == "__main__":
    main()
