#!/usr/bin/env python3
"""Train a draft head of EAGLE's kind for a model, and write it under the published names.

    head.py TARGET ROWS.npy[,ROWS.npy...] VALID.npy OUT [--minutes M | --steps N] ...
    head.py TARGET ROWS.npy VALID.npy OUT --write HEAD      HEAD: the directory noctule's --draft takes

TARGET is a checkpoint directory as gptq.py writes them; it stays as it is. The head (arXiv:2401.15077,
2406.16858, in MiniCPM4's form) is one layer that reads the target's hidden state at a position and the
embedding of the token after it, and guesses the token after that one with the target's output matrix.
It learns the target's own distribution on ROWS, by as many steps in a row as it will be asked to guess:
from the second on it reads its own outputs in place of the target's, and its own keys and values among
those of the text, as when drafting (HASS, arXiv:2408.15766; EAGLE-3, arXiv:2503.01840).

From --round-from on, matrices are rounded to INT4 before each step and the gradient goes to the numbers
they were rounded from, so what is written is what was trained. One process, one thread, or a GPU. Logs to
OUT/head-log.csv, saves OUT/head.pt every few minutes and goes on from it when started again. Batches are
a function of seed and step.
"""
import argparse
import csv
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

import checkpoint
import gptq
import model
from data import ID

MATRICES = ("fc", "qkv", "o", "gate_up", "down")
NORMS = {"norm_embedding": "input_norm1", "norm_hidden": "input_norm2",
         "norm_in": "model.layers.0.input_layernorm", "norm_post": "model.layers.0.post_attention_layernorm"}


def shapes(c):
    """[(name, shape)] in the order of the flat vector; one layer as the target's."""
    width, ff = c["hidden_size"], c["intermediate_size"]
    kv = width // c["num_attention_heads"] * c["num_key_value_heads"]
    return [("fc", (width, 2 * width)), ("qkv", (width + 2 * kv, width)), ("o", (width, width)),
            ("gate_up", (2 * ff, width)), ("down", (width, ff))] + [(name, (width,)) for name in NORMS]


def views(c, flat):
    out, offset = {}, 0
    for name, shape in shapes(c):
        n = math.prod(shape)
        out[name] = flat[offset:offset + n].view(shape)
        offset += n
    return out


class SoftLoss(torch.autograd.Function):
    """Sum of -sum p log q over hidden [n, width] through a frozen output matrix; p [n, vocabulary], keep [n].
    The gradient is made on the way. -> that, and how many of the rows kept have their largest q where p has it."""

    @staticmethod
    def forward(ctx, hidden, embed, p, keep, rows=1024):
        total, agree, gh = 0.0, 0.0, torch.empty_like(hidden)
        for i in range(0, len(hidden), rows):
            h, t, k = hidden[i:i + rows], p[i:i + rows].float(), keep[i:i + rows]
            q = (h @ embed.t()).float()
            agree += float(((q.argmax(1) == t.argmax(1)).float() * k).sum())
            q.sub_(q.amax(1, keepdim=True))
            scores = q.clone()
            q.exp_()
            norm = q.sum(1, keepdim=True)
            total += (((norm.log() - scores) * t).sum(1) * k).sum()
            q.div_(norm).sub_(t).mul_(k[:, None])
            gh[i:i + rows] = q.to(hidden.dtype) @ embed
        ctx.save_for_backward(gh)
        return torch.as_tensor(total), torch.tensor(agree)

    @staticmethod
    def backward(ctx, g, _):
        return ctx.saved_tensors[0] * g, None, None, None


def later(x, n, axis):
    """Row i gets row i - n; the first n stay what they were (nothing is learned from them)."""
    return torch.cat([x.narrow(axis, 0, n), x.narrow(axis, 0, x.shape[axis] - n)], axis) if n else x


def attend(q, keys, values, stretch=128):
    """q [batch, kv, G, T, d] of step s; keys, values: s of [batch, kv, T, d]. Row i sees keys[0] up to i - s + 1,
    and its own path: keys[t] at i - s + 1 + t."""
    if len(keys) == 1:
        return model.attend(q, keys[0], values[0], stretch)
    b, kv, group, length, d = q.shape
    back = len(keys) - 1
    q, out = q * (1 / math.sqrt(d)), []
    own_k = [later(keys[t], back - t, 2) for t in range(1, back + 1)]
    own_v = [later(values[t], back - t, 2) for t in range(1, back + 1)]
    for i in range(0, length, stretch):
        end = min(length, i + stretch)
        rows = q[:, :, :, i:end]
        s = torch.matmul(rows.reshape(b * kv, group * (end - i), d), keys[0][:, :, :end].reshape(b * kv, end, d)
                         .transpose(1, 2)).view(b * kv, group, end - i, end)
        mask = torch.full((end - i, end), -1e4, dtype=q.dtype, device=q.device).triu_(i + 1 - back)
        own = [(rows * k[:, :, None, i:end]).sum(-1, keepdim=True).view(b * kv, group, end - i, 1) for k in own_k]
        s = torch.cat([s + mask] + own, 3).softmax(-1)
        a = torch.matmul(s[..., :end].reshape(b * kv, -1, end), values[0][:, :, :end].reshape(b * kv, end, d))
        a = a.view(b, kv, group, end - i, d)
        for t, v in enumerate(own_v):
            a = a + s[..., end + t].view(b, kv, group, end - i, 1) * v[:, :, None, i:end]
        out.append(a)
    return torch.cat(out, 3)


def run(c, w, target, rows, n_steps, compute=model.FAST):
    """rows [batch, T + 1] -> for each step the sum of the losses, of agreements and the number of places"""
    ids, width, eps = rows[:, :-1], c["hidden_size"], c["rms_norm_eps"]
    heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
    d, depth = width // heads, c["scale_depth"] / math.sqrt(c["num_hidden_layers"])
    divisor, embed = width / c["dim_model_base"], target["embed"]
    with torch.no_grad():
        hidden = model.hidden(c, target, ids, compute)
        p = (hidden[:, 1:].reshape(-1, width) @ embed.t()).float()
        p = p.sub_(p.amax(1, keepdim=True)).exp_()
        p = p.div_(p.sum(1, keepdim=True)).to(compute)
        e = F.embedding(ids[:, 1:], embed).float() * c["scale_emb"]
        h = hidden[:, :-1].float() * divisor
        keep = ((ids[:, 1:] != 0) & (rows[:, 2:] != 0)).float()
    b, length = e.shape[:2]
    cos, sin = (t[:, None].to(rows.device, compute) for t in model.rope_tables(c, length))
    keys, values, out = [], [], []
    for step in range(n_steps):
        x = torch.cat([model.Norm.apply(e, w["norm_embedding"], eps, compute),
                       model.Norm.apply(h, w["norm_hidden"], eps, compute)], -1)
        x = F.linear(x, w["fc"]).float()
        y = model.Norm.apply(x, w["norm_in"], eps, compute)
        qkv = F.linear(y, w["qkv"]).view(b, length, heads + 2 * kv, d)
        qk = model.rotate(qkv[:, :, :heads + kv], cos, sin)
        q = qk[:, :, :heads].permute(0, 2, 1, 3).reshape(b, kv, heads // kv, length, d)
        keys.append(qk[:, :, heads:].permute(0, 2, 1, 3))
        values.append(qkv[:, :, heads + kv:].permute(0, 2, 1, 3))
        a = attend(q, keys, values).view(b, heads, length, d).transpose(1, 2).reshape(b, length, width)
        x = torch.add(x, F.linear(a, w["o"]), alpha=depth)
        y = model.Norm.apply(x, w["norm_post"], eps, compute)
        gate, up = F.linear(y, w["gate_up"]).chunk(2, -1)
        x = torch.add(x, F.linear(F.silu(gate) * up, w["down"]), alpha=depth)
        k = keep.clone()
        k[:, :step] = 0
        loss, agree = SoftLoss.apply((x / divisor).to(compute).reshape(-1, width), embed, p, k.reshape(-1))
        out.append((loss, float(agree), float(k.sum())))
        h = later(x, 1, 1)
    return out


# ---------------------------------------------------------------- beginning

def begin(c, weights, target, rows, seed):
    """The layer begins as nearly nothing, and fc as the linear map that foretells the target's next hidden state best (least
    squares, over a few rows): a head that guesses from the first step on."""
    g = torch.Generator().manual_seed(seed)
    for name, w in weights.items():
        if w.dim() == 1:
            w.fill_(1)
        else:
            w.copy_(torch.randn(w.shape, generator=g) * ((0.1 if name in ("o", "down") else 0.8) / math.sqrt(w.shape[1])))
    width, eps, device = c["hidden_size"], c["rms_norm_eps"], rows.device
    xx, xy, one = (torch.zeros(2 * width, 2 * width, device=device), torch.zeros(2 * width, width, device=device),
                   torch.ones(width, device=device))
    with torch.no_grad():
        for i in range(0, len(rows), 4):
            ids = rows[i:i + 4]
            h = model.hidden(c, target, ids).float() * (width / c["dim_model_base"])
            e = F.embedding(ids[:, 1:], target["embed"]).float() * c["scale_emb"]
            x = torch.cat([model.Norm.apply(e, one, eps, torch.float32),
                           model.Norm.apply(h[:, :-1], one, eps, torch.float32)], -1)
            keep = (ids[:, 1:] != 0).reshape(-1)
            x, y = x.reshape(-1, 2 * width)[keep], h[:, 1:].reshape(-1, width)[keep]
            xx += x.t() @ x
            xy += x.t() @ y
        xx += 1e-3 * xx.diagonal().mean() * torch.eye(2 * width, device=device)
        weights["fc"].copy_(torch.linalg.solve(xx, xy).t())


# ---------------------------------------------------------------- writing

def write(out, c, weights, group):
    """The names of GPTQ heads: fc and the two input norms bare, the layer under model."""
    os.makedirs(out, exist_ok=True)
    width, ff = c["hidden_size"], c["intermediate_size"]
    kv = width // c["num_attention_heads"] * c["num_key_value_heads"]
    stem, tensors, scales = "model.layers.0.", {}, {n: gptq.scales_of(weights[n], group) for n in MATRICES}
    parts = {"fc": [("fc", slice(None))], "o": [(stem + "self_attn.o_proj", slice(None))],
             "qkv": [(stem + "self_attn.q_proj", slice(0, width)),
                     (stem + "self_attn.k_proj", slice(width, width + kv)),
                     (stem + "self_attn.v_proj", slice(width + kv, width + 2 * kv))],
             "gate_up": [(stem + "mlp.gate_proj", slice(0, ff)), (stem + "mlp.up_proj", slice(ff, 2 * ff))],
             "down": [(stem + "mlp.down_proj", slice(None))]}
    for name in MATRICES:
        codes = (gptq.codes_of(weights[name], scales[name])[0] + 8).cpu().numpy().astype(np.uint8)
        for stem_of, rows in parts[name]:
            t = checkpoint.gptq_tensors(codes[rows], scales[name].cpu().numpy()[rows], group)
            tensors.update({"%s.%s" % (stem_of, k): a for k, a in t.items()})
    for name, published in NORMS.items():
        tensors[published + ".weight"] = weights[name].cpu().numpy().astype(np.float16)
    checkpoint.write_safetensors(os.path.join(out, "model.safetensors"), tensors)
    keys = ("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_attention_heads",
            "num_key_value_heads", "hidden_act", "rms_norm_eps", "scale_emb", "scale_depth", "dim_model_base")
    config = {"architectures": ["EagleMiniCPMForCausalLM"], **{k: c[k] for k in keys}, "num_hidden_layers": 1,
              "torch_dtype": "float16",
              "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": group, "sym": True,
                                      "desc_act": False, "checkpoint_format": "gptq"}}
    with open(os.path.join(out, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config, f, indent=2)
        f.write("\n")


# ---------------------------------------------------------------- training

def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("target")
    ap.add_argument("rows")
    ap.add_argument("valid")
    ap.add_argument("out")
    ap.add_argument("--minutes", type=float)
    ap.add_argument("--steps", type=int, default=1500)
    ap.add_argument("--batch", type=int, default=4, help="half rows of 512 tokens a step")
    ap.add_argument("--ahead", type=int, default=3, help="guesses in a row")
    ap.add_argument("--fade", type=float, default=0.8, help="weight of a guess relative to the one before")
    ap.add_argument("--lr", type=float, default=2.5e-3, help="of the matrices")
    ap.add_argument("--norm-lr", type=float, default=5e-3)
    ap.add_argument("--warmup", type=int, default=50)
    ap.add_argument("--begin-rows", type=int, default=64, help="half rows that fc begins with the least squares of")
    ap.add_argument("--decay", type=float, default=0.05)
    ap.add_argument("--clip", type=float, default=1.0)
    ap.add_argument("--group", type=int, default=64)
    ap.add_argument("--round-from", type=float, default=0.6, help="part of the run after which matrices are rounded")
    ap.add_argument("--scales-every", type=int, default=25)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--log-every", type=int, default=20)
    ap.add_argument("--valid-every", type=int, default=200)
    ap.add_argument("--valid-rows", type=int, default=16, help="half rows, spread over the file")
    ap.add_argument("--save-minutes", type=float, default=2)
    ap.add_argument("--write", metavar="HEAD")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return ap.parse_args()


def batch_at(a, rows, step):
    """Half rows of each of the files in turn, in an order shuffled anew for every pass."""
    out = []
    for k in range(step * a.batch, (step + 1) * a.batch):
        k, source = divmod(k, len(rows))
        n = 2 * len(rows[source])
        number, k = divmod(k, n)
        if batch_at.number.get(source) != number:
            batch_at.number[source] = number
            batch_at.order[source] = np.random.RandomState(a.seed + number).permutation(n)
        k = batch_at.order[source][k]
        out.append(rows[source][k // 2][512 * (k % 2):512 * (k % 2) + 513])
    return torch.from_numpy(np.array(out, np.int64) & ID)


batch_at.number, batch_at.order = {}, {}


def copy(half, weights, scales):
    with torch.no_grad():
        for name, w in weights.items():
            half[name].copy_(gptq.rounded(w, scales[name]) if name in scales else w)
            half[name].grad = None


def main():
    a = arguments()
    torch.set_num_threads(1)
    os.makedirs(a.out, exist_ok=True)
    c, target = checkpoint.read(a.target)
    target = {k: t.to(a.device, model.FAST) if t.dim() > 1 else t.to(a.device) for k, t in target.items()}
    n, path = sum(math.prod(s) for _, s in shapes(c)), os.path.join(a.out, "head.pt")
    flat, m, v = (torch.zeros(n, device=a.device) for _ in range(3))
    step, tokens, spent = 0, 0, 0.0
    weights = views(c, flat)
    if os.path.exists(path):
        state = torch.load(path)
        flat.copy_(state["flat"]), m.copy_(state["m"]), v.copy_(state["v"])
        step, tokens, spent = state["step"], state["tokens"], state["seconds"]
    else:
        rows = np.load(a.rows.split(",")[0], mmap_mode="r")
        rows = rows[np.linspace(0, len(rows) - 1, a.begin_rows).astype(int)][:, :513].astype(np.int64) & ID
        begin(c, weights, target, torch.from_numpy(rows).to(a.device), a.seed)
    if a.write:
        return write(a.write, c, weights, a.group)
    source, valid = [np.load(n, mmap_mode="r") for n in a.rows.split(",")], np.load(a.valid, mmap_mode="r")
    chosen = torch.from_numpy(valid[np.linspace(0, len(valid) - 1, a.valid_rows).astype(int)][:, :513].astype(np.int64)).to(a.device)
    lr_of, decay = torch.empty(n, device=a.device), torch.empty(n, device=a.device)
    for name, w in views(c, lr_of).items():
        w.fill_(1 if w.dim() > 1 else a.norm_lr / a.lr)
    for w in views(c, decay).values():
        w.fill_(a.decay if w.dim() > 1 else 0)
    half = {k: w.to(model.FAST).requires_grad_() if w.dim() > 1 else w.clone().requires_grad_()
            for k, w in weights.items()}
    began, saved, logged, counted = time.time() - spent, time.time(), time.time(), tokens
    log = open(os.path.join(a.out, "head-log.csv"), "a", newline="")
    writer, losses, scales = csv.writer(log), [], {}
    if not log.tell():
        writer.writerow(["step", "tokens", "seconds", "lr", "loss"] + ["valid_loss_%d" % (i + 1) for i in range(a.ahead)] +
                        ["valid_agree_%d" % (i + 1) for i in range(a.ahead)] + ["tokens_per_second"])
    print("%d parameters, from step %d" % (n, step), flush=True)

    def save():
        torch.save({"flat": flat, "m": m, "v": v, "step": step, "tokens": tokens, "seconds": time.time() - began},
                   path + ".new")
        os.replace(path + ".new", path)

    while True:
        done = (time.time() - began) / (60 * a.minutes) if a.minutes else step / a.steps
        last = done >= 1
        if done >= a.round_from and (not scales or step % a.scales_every == 0 or last):
            scales = {n: gptq.scales_of(weights[n], a.group) for n in MATRICES}
        copy(half, weights, scales)
        shown = [""] * (2 * a.ahead)
        if step % a.valid_every == 0 or last:
            sums = np.zeros((a.ahead, 3))
            with torch.no_grad():
                for i in range(0, len(chosen), 4):
                    sums += np.array([(float(x), y, z) for x, y, z in run(c, half, target, chosen[i:i + 4], a.ahead)])
            shown = ["%.4f" % x for x in np.concatenate([sums[:, 0] / sums[:, 2], sums[:, 1] / sums[:, 2]])]
        lr = a.lr * min(1, (step + 1) / a.warmup) * max(0, 1 - done)
        if last or shown[0] or step % a.log_every == 0:
            now = time.time()
            writer.writerow([step, tokens, int(now - began), "%.6f" % lr, "%.4f" % np.mean(losses) if losses else ""] +
                            shown + [int((tokens - counted) / max(now - logged, 1e-3))])
            log.flush()
            losses, logged, counted = [], now, tokens
        if last:
            save()
            return
        parts = run(c, half, target, batch_at(a, source, step).to(a.device), a.ahead)
        weight = [a.fade ** i for i in range(a.ahead)]
        loss = sum(x / z * y for (x, _, z), y in zip(parts, weight)) / sum(weight)
        loss.backward()
        g = torch.cat([half[name].grad.float().reshape(-1) for name, _ in shapes(c)])
        step += 1
        tokens += int(parts[0][2])
        losses.append(float(loss))
        norm = float(g.norm())
        if math.isfinite(norm):
            g.mul_(min(1, a.clip / (norm + 1e-6)))
            m.lerp_(g, 0.1)
            v.mul_(0.95).addcmul_(g, g, value=0.05)
            update = (v / (1 - 0.95 ** step)).sqrt_().add_(1e-8).reciprocal_().mul_(m).div_(1 - 0.9 ** step)
            flat.sub_(flat * decay * lr_of * lr).sub_(update * lr_of * lr)
        if time.time() - saved > 60 * a.save_minutes:
            save()
            saved = time.time()


if __name__ == "__main__":
    main()
