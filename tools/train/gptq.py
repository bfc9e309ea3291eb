#!/usr/bin/env python3
"""Quantise a trained model to INT4 and write it as a checkpoint directory.

    gptq.py STATE.pt VOCAB ROWS.npy[,ROWS.npy...] OUT [--group 64] [--rows 64] [--skip 4] [--float | --nearest]

GPTQ (arXiv:2210.17323): the columns of a matrix are rounded one by one, and what a rounding does to
the output on real inputs is made up for in the columns not yet rounded. Symmetric, scales chosen
first (per group of inputs, to the least squared error weighted by the size of the inputs), columns
in order of the size of their inputs. Matrices are taken in the order they are computed in, each with
the inputs it gets from the already rounded ones. The inputs come from rows of the training text; those of the first --skip
positions, which are far larger and say little about the rest, are left out (P-GPTQ of MiniCPM4, arXiv:2506.07900).
--float writes the weights as F16 instead, --nearest rounds every weight by itself.
"""
import argparse

import numpy as np
import torch

import checkpoint
import model
from data import ID

DAMP = 0.01


def choose_scales(w, size, group):
    """w [out, in], size [in] -> float16 [out, in / group]"""
    g, size = w.reshape(len(w), -1, group), size.reshape(1, -1, group)
    widest, best, least = np.abs(g).max(-1) / 7, None, np.inf
    for shrink in np.linspace(0.5, 1.1, 61):
        s = np.maximum(widest * shrink, 1e-6).astype(np.float16)
        d = s.astype(np.float64)[..., None]
        error = (size * (np.clip(np.rint(g / d), -8, 7) * d - g) ** 2).sum(-1)
        best = s if best is None else np.where(error < least, s, best)
        least = np.minimum(error, least)
    return best


def scales_of(w, group, ternary=False):
    """w [out, in], a tensor -> the scales of least squared error [out, in / group]; for three values the mean size (BitNet's)"""
    if ternary:
        return w.detach().abs().view(len(w), -1, group).mean(-1).clamp_min(1e-6)
    g = w.detach().reshape(len(w), -1, group)  # as choose_scales does, where the weights are
    widest, best, least = g.abs().amax(-1) / 7, None, None
    for shrink in np.linspace(0.5, 1.1, 61):
        s = (widest * float(shrink)).clamp_min(1e-6).half().float()
        d = s[..., None]
        error = ((g / d).round_().clamp_(-8, 7).mul_(d) - g).square_().sum(-1)
        best = s if best is None else torch.where(error < least, s, best)
        least = error if least is None else torch.minimum(error, least)
    return best


def codes_of(w, scales, lowest=-8, highest=7):
    """w [out, in], scales [out, in / group] -> codes around 0, and the scales spread to [out, in]"""
    s = scales.repeat_interleave(w.shape[1] // scales.shape[1], 1)
    return (w / s).round_().clamp_(lowest, highest), s


def rounded(w, scales, ternary=False):
    codes, s = codes_of(w, scales, -1, 1) if ternary else codes_of(w, scales)
    return codes.mul_(s)


def quantize(w, h, group):
    """w [out, in], h [in, in] -> codes [out, in] around 8, scales [out, in / group]"""
    w, n = w.astype(np.float64), w.shape[1]
    scales = choose_scales(w, np.diag(h), group)
    order = np.argsort(-np.diag(h))
    h = h[np.ix_(order, order)] + DAMP * np.mean(np.diag(h)) * np.eye(n)
    upper = np.linalg.cholesky(np.linalg.inv(h)).T
    left, codes = w[:, order], np.zeros(w.shape, np.uint8)
    for i, k in enumerate(order):
        s = scales[:, k // group].astype(np.float64)
        q = np.clip(np.rint(left[:, i] / s), -8, 7)
        codes[:, k] = q + 8
        left[:, i:] -= np.outer((left[:, i] - q * s) / upper[i, i], upper[i, i:])
    return codes, scales


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("state")
    ap.add_argument("vocab")
    ap.add_argument("rows")
    ap.add_argument("out")
    ap.add_argument("--group", type=int, default=64)
    ap.add_argument("--rows", dest="count", type=int, default=64, help="of 1,025 tokens, to calibrate with")
    ap.add_argument("--skip", type=int, default=4)
    ap.add_argument("--nearest", action="store_true")
    ap.add_argument("--float", action="store_true")
    a = ap.parse_args()
    torch.set_num_threads(1)
    state = torch.load(a.state)
    c = state["config"]
    weights = dict(model.Weights(c, state["flat"].clone()).at)
    if a.float:
        return checkpoint.write(a.out, c, weights, a.vocab)
    rows, files = [], a.rows.split(",")
    for path in files:
        source = np.load(path, mmap_mode="r")
        rows.append(source[np.linspace(0, len(source) - 1, a.count // len(files)).astype(int)].astype(np.int64) & ID)
    rows, quantized = torch.from_numpy(np.concatenate(rows)), {}
    used = rows[:, :-1] != 0
    used[:, :a.skip] = False
    names = {id(w): name for name, w in weights.items()}

    def linear(x, w):
        """Rounds the matrix to suit the inputs it has just got, and goes on with the result."""
        name, seen = names[id(w)], x[used]
        h, w = (seen.t() @ seen).double().numpy() / len(seen), w.numpy()
        codes, scales = quantized[name] = quantize(w, np.eye(len(h)) if a.nearest else h, a.group)
        new = (codes.astype(np.float32) - 8) * np.repeat(scales.astype(np.float32), a.group, axis=1)
        moved = new - w
        print("%-12s output changed by %.2f %%" % (name, 100 * np.sqrt(
            np.sum(moved @ h * moved) / np.sum(w @ h * w))), flush=True)
        return torch.nn.functional.linear(x, torch.from_numpy(new))

    with torch.no_grad():
        model.hidden(c, weights, rows[:, :-1], torch.float32, linear)
    checkpoint.write(a.out, c, weights, a.vocab, quantized, a.group)


if __name__ == "__main__":
    main()
