#!/usr/bin/env python3
"""PyTorch's scaled_dot_product_attention, forward and backward, float32: answers a line of JSON per line of request.

    {"B": 8, "H": 8, "T": 512, "K": 64, "causal": false, "reps": 3} -> {"torch": "2.9", "forward": ms, "backward": ms}

Times are medians over `reps` calls after one more. The operands are contiguous [B, H, T, K], PyTorch's best case.
"""
import argparse
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F


def measure(B, H, T, K, causal, reps):
    q, k, v, dy = (torch.randn(B, H, T, K) for _ in range(4))
    for x in (q, k, v):
        x.requires_grad_()
    forward, backward = [], []
    for _ in range(reps + 1):
        q.grad = k.grad = v.grad = None
        begin = time.perf_counter()
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        middle = time.perf_counter()
        y.backward(dy)
        end = time.perf_counter()
        forward.append((middle - begin) * 1e3)
        backward.append((end - middle) * 1e3)
    return statistics.median(forward[1:]), statistics.median(backward[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(1)
    for line in sys.stdin:
        forward, backward = measure(**json.loads(line))
        print(json.dumps({"torch": torch.__version__, "forward": forward, "backward": backward}), flush=True)


if __name__ == "__main__":
    main()
