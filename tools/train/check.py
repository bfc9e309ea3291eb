#!/usr/bin/env python3
"""Checks of the parts of training that a wrong line would spoil unseen; needs PyTorch and no data.

    check.py
"""
import types

import numpy as np
import torch

import gptq
import gpu
import model
import sparse
import train
from data import HEAVY, ID, MASK, WEIGHT


def plain_choice(s, q, k, p):
    """The blocks of the row at position p, step by step as InfLLM v2 defines them. q [G, d], k [tokens, d]"""
    n1, n2, d = max(0, (p + 1) // 16 - 1), max(0, (p + 1) // 64 - 1), q.shape[1]
    score = torch.zeros(n1)
    for g in q:
        a = torch.stack([k[16 * j:16 * j + 32].mean(0) for j in range(n1)]) @ g / d ** 0.5
        c = torch.stack([k[64 * j:64 * j + 128].mean(0) for j in range(n2)]) @ g / d ** 0.5
        score += (a - c.max()).exp() / (c - c.max()).exp().sum()
    own, local = p // 64, s["window_size"] // 64
    order = []
    for b in range(own + 1):
        forced = b < s["init_blocks"] or b >= own - local
        some = score[max(0, 4 * b - 1):min(4 * b + 4, n1)]
        order.append((-(float("inf") if forced else float(some.max())), b))
    return {b for _, b in sorted(order)[:s["topk"] + local]}


def check_choice():
    s, g = {**model.CONFIG["sparse_config"], "topk": 3, "window_size": 128}, torch.Generator().manual_seed(1)
    for first in (700, 1500, 1535, 1600):
        q, k = torch.randn(2, 4, 70, 32, generator=g), torch.randn(2, first + 70, 32, generator=g)
        got = sparse.choose(s, q, k, first)
        for h in range(2):
            for i in range(70):
                assert set(got[h, i].nonzero()[:, 0].tolist()) == plain_choice(s, q[h, :, i], k[h], first + i), (first, h, i)


def check_attention():
    """Rows see the tokens of their blocks up to themselves and no others."""
    s, g, first = {**model.CONFIG["sparse_config"], "topk": 3, "window_size": 128}, torch.Generator().manual_seed(2), 1000
    q, k, v = (torch.randn(2, 4, 30, 32, generator=g), torch.randn(2, 1030, 32, generator=g),
               torch.randn(2, 1030, 32, generator=g))
    got, chosen = sparse.attend(s, q, k, v, first), sparse.choose(s, q, k, first)
    for h in range(2):
        for i in range(30):
            at = [t for t in range(first + i + 1) if chosen[h, i, t // 64]]
            want = (q[h, :, i] @ k[h, at].t() / 32 ** 0.5).softmax(-1) @ v[h, at]
            assert (got[h, :, i] - want).abs().max() < 1e-5, (h, i)


def check_live():
    """Live blocks carry the gradient that all keys and values would, and so do live keys for how far the choice is from its aim."""
    s, g, first = {**model.CONFIG["sparse_config"], "topk": 3, "window_size": 128}, torch.Generator().manual_seed(5), 1024
    q, k, v = (torch.randn(shape, generator=g) for shape in ((2, 4, 64, 32), (2, 1088, 32), (2, 1088, 32)))
    blocks, places = torch.tensor([3, 4, 16]), [(200, 230), (270, 300)]
    rows, places, given = torch.tensor([[10, 40, -1]]), torch.tensor([places + [(0, 0)]]), torch.isin(torch.arange(17), torch.tensor([3, 4]))
    plain = [t.clone().requires_grad_() for t in (k, v)]
    want = sparse.attend(s, q, *plain, first, given)
    whole = sparse.attend_whole(s, q[None], *(t[None] for t in plain), first, given[None, None, None], False)[0]
    assert (whole - want).abs().max() < 1e-5
    lost = sparse.missed(s, q[None], plain[0][None], first, rows, places)[0]
    live = [t.view(2, -1, 64, 32)[:, blocks].clone().requires_grad_() for t in (k, v)]
    got = sparse.attend(s, q, k, v, first, given, (blocks, *live))
    mine = sparse.missed(s, q[None], k[None], first, rows, places, [(192, live[0][:, :2].flatten(1, 2))])[0]
    assert (got - want).abs().max() < 1e-5 and (lost - mine).abs().max() < 1e-5 and float(lost.min()) > 0
    grads = torch.autograd.grad(want.square().sum(), plain), torch.autograd.grad(got.square().sum(), live)
    for all_of, some in zip(*grads):
        assert (all_of.view(2, -1, 64, 32)[:, blocks] - some).abs().max() < 1e-4 and float(some.abs().max()) > 0
    all_of, = torch.autograd.grad(lost.sum(), plain[0])
    some, = torch.autograd.grad(mine.sum(), live[0])
    inner = slice(208, 304)  # a pooled window that begins before the live keys or ends behind them carries nothing
    assert (all_of[:, inner] - some.flatten(1, 2)[:, 16:112]).abs().max() < 1e-5 and float(some.abs().max()) > 0


def check_before():
    """Rows that see keys before all of them are the last rows of longer ones."""
    g = torch.Generator().manual_seed(6)
    q, k, v = (torch.randn(shape, generator=g) for shape in ((1, 2, 4, 300, 32), (1, 2, 300, 32), (1, 2, 300, 32)))
    assert (model.attend(q[:, :, :, 64:], k, v) - model.attend(q, k, v)[:, :, :, 64:]).abs().max() < 1e-5


def check_masks():
    """Tokens with MASK are read and are no targets, nor is padding; answers count more; the gradient is that of plain PyTorch."""
    c = {**model.CONFIG, "vocab_size": 300, "hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1,
         "intermediate_size": 64, "num_hidden_layers": 2, "dim_model_base": 16}
    flat = torch.zeros(model.count(c))
    w = model.Weights(c, flat)
    w.init(1)
    row = torch.randint(1, 300, (2, 40), generator=torch.Generator().manual_seed(3))
    row[0, 30:] = 0
    row[1, 5:20] += MASK
    row[1, 30:33] += HEAVY
    w = {n: t.clone().requires_grad_() for n, t in w.at.items()}
    loss = model.loss_sum(c, w, row, torch.float32)
    got = torch.autograd.grad(loss, [w["embed"], w["0.qkv"]])
    h = model.hidden(c, w, row[:, :-1] & ID, torch.float32)
    keep = (row[:, 1:] != 0) & (row[:, 1:] < MASK)
    want = torch.nn.functional.cross_entropy((h @ w["embed"].t())[keep], (row[:, 1:] & ID)[keep], reduction="none")
    want = (want * torch.where(row[:, 1:] & HEAVY != 0, WEIGHT, 1)[keep]).sum()
    assert abs(float(loss) - float(want)) < 1e-3 * float(want) and int(keep.sum()) == 29 + 24
    for a, b in zip(got, torch.autograd.grad(want, [w["embed"], w["0.qkv"]])):
        assert (a - b).abs().max() < 1e-3 * b.abs().max()


def check_gpu():
    """The loop for a GPU has the loss, the roundings and the steps of the other one."""
    c = {**model.CONFIG, "vocab_size": 300, "hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1,
         "intermediate_size": 128, "num_hidden_layers": 2, "dim_model_base": 16}
    n, a = model.count(c), types.SimpleNamespace(group=64, scales_every=25, clip=1.0, decay=0.1, lr=1e-3, embed_lr=2e-3)
    flat = torch.zeros(n)
    weights = model.Weights(c, flat)
    weights.init(1)
    row = torch.randint(1, 300, (2, 40), generator=torch.Generator().manual_seed(3))
    row[0, 5:9] += HEAVY
    w = {k: t.clone().requires_grad_() for k, t in weights.at.items()}
    positions = torch.arange(39).expand(2, -1) * 3
    want = model.loss_sum(c, w, row, torch.float32, positions)
    target, weight = model.targets(row)
    hidden = model.hidden
    model.hidden = lambda *args, **more: hidden(*args, compute=torch.float32, **more)
    got = gpu.loss_sum(c, w, row[:, :-1] & ID, target, weight, model.rope_tables(c, positions))
    model.hidden = hidden
    assert abs(float(got) - float(want)) < 1e-4 * float(want)
    rounded = model.Weights(c, gpu.Rounder(a, weights).rounded(flat, 0)).at
    for k, t in weights.at.items():
        same = gptq.rounded(t, gptq.scales_of(t, 64)) if t.dim() > 1 and k != "embed" else t
        assert torch.equal(rounded[k], same), k
    before, g = flat.clone(), torch.randn(n, generator=torch.Generator().manual_seed(4))
    gpu.Rules(a, c, weights, torch.zeros(n), torch.zeros(n)).step(g.clone(), 1e-3, 1)
    g = g * (1 / (g.norm() + 1e-6))
    moved = model.Weights(c, flat - before).at
    for k, t in model.Weights(c, g).at.items():
        old = model.Weights(c, before).at[k]
        if k.endswith(".o") or k.endswith(".down"):  # Muon, as train.work() has it
            want = -old * 1e-3 * 0.1 - train.orthogonal(t.lerp(t * 0.05, 0.95)) * (1e-3 * 0.2 * max(t.shape) ** 0.5)
        elif k in ("embed", "norm"):  # the first step of AdamW has the size of the rate
            want = -old * 2e-3 * (0.1 if k == "embed" else 0) - t / (t.abs() + 1e-8) * 2e-3
        else:
            continue
        assert (moved[k] - want).abs().max() < 2e-2 * want.abs().max(), k


def check_positions():
    """Jumps only forwards, within the window; none with --gaps 0; the same for the same row."""
    for gaps, jumps in ((0.0, 0), (1.0, 40)):
        a, n = types.SimpleNamespace(seed=1, gaps=gaps), 0
        make = lambda step: train.Batches.positions(types.SimpleNamespace(a=a, rank=0), step, 8, 512)
        for step in range(5):
            at = make(step)
            assert at.min() >= 0 and np.diff(at).min() >= 1 and at.max() < model.POSITIONS and (at == make(step)).all()
            n += int((at[:, -1] > 511).sum())
        assert n == jumps, (gaps, n)


def check_shares():
    """Every weight belongs to one process and one rule, once."""
    for processes in (1, 2, 3):
        c = model.CONFIG
        owners, weights = torch.zeros(model.count(c)), model.Weights(c, torch.zeros(model.count(c)))
        for muon, adam in train.shares(c, weights, processes):
            for offset, shape in muon:
                owners[offset:offset + shape[0] * shape[1]] += 1
            for lo, hi, _ in adam:
                owners[lo:hi] += 1
        assert bool((owners == 1).all())


def check_orthogonal():
    for shape in ((64, 256), (256, 256), (512, 256)):
        x = train.orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(4)))
        values = torch.linalg.svdvals(x)
        assert x.shape == shape and values.max() < 1.4 and values.median() > 0.6, (shape, values)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name, check in list(globals().items()):
        if name.startswith("check_"):
            check()
            print(name, "ok", flush=True)
