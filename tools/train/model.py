"""The MiniCPM4 decoder in PyTorch, for training on CPUs; it runs on a GPU as well.

Weights live in one flat float32 vector; `Weights` names its parts. Matrix products run in bfloat16
with float32 accumulation where the machine has such products, the residual stream and the norms in float32.
compute=torch.float32 does everything in float32.
"""
import math
import re

import torch
import torch.nn.functional as F

from data import HEAVY, ID, MASK, WEIGHT


def fast_type():
    """bfloat16, or float32 where bfloat16 would be made of other instructions, many times slower"""
    if torch.cuda.is_available():
        return torch.bfloat16
    with open("/proc/cpuinfo") as f:
        return torch.bfloat16 if re.search(r"avx512_bf16|\bbf16\b", f.read()) else torch.float32


FAST = fast_type()
ORIGINAL_POSITIONS, POSITIONS = 512, 32768  # the first: the distances that rows without gaps are full of


def stretch_factors(half, theta, original, positions, slow=1, fast=32):
    """LongRoPE's list by YaRN's rule (arXiv:2309.00071): frequencies that turn more than `fast` times in `original` positions
    stay, those that turn less than `slow` times are stretched by positions / original, those between by parts."""
    out = []
    for i in range(half):
        turns = original / (2 * math.pi * theta ** (i / half))
        ramp = min(1, max(0, math.log(fast / turns) / math.log(fast / slow)))
        out.append(round(1 / (1 - (1 - original / positions) * ramp), 4))
    return out


FACTORS = stretch_factors(16, 10000.0, ORIGINAL_POSITIONS, POSITIONS)  # of heads 32 wide
CONFIG = {
    "architectures": ["MiniCPMForCausalLM"], "model_type": "minicpm", "vocab_size": 5120,
    "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 5,
    "num_attention_heads": 8, "num_key_value_heads": 2, "hidden_act": "silu",
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": True,
    "scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 64,
    "max_position_embeddings": POSITIONS, "bos_token_id": 1, "eos_token_id": [2, 5118],
    "rope_scaling": {"rope_type": "longrope", "short_factor": FACTORS, "long_factor": FACTORS,
                     "original_max_position_embeddings": POSITIONS},
    "sparse_config": {"kernel_size": 32, "kernel_stride": 16, "init_blocks": 1, "block_size": 64, "window_size": 512,
                      "topk": 16, "use_nope": False, "dense_len": 2048},
}
SIZES = {  # parameters -> what is different
    "4m": {},
    "6m": {"intermediate_size": 1024},
    "8m": {"intermediate_size": 1024, "num_hidden_layers": 7},
}


def shapes(c):
    """[(name, shape)] in the order of the flat vector; q, k, v and gate, up are one matrix each."""
    width, ff = c["hidden_size"], c["intermediate_size"]
    kv = width // c["num_attention_heads"] * c["num_key_value_heads"]
    out = [("embed", (c["vocab_size"], width))]
    for n in range(c["num_hidden_layers"]):
        out += [("%d.qkv" % n, (width + 2 * kv, width)), ("%d.o" % n, (width, width)),
                ("%d.gate_up" % n, (2 * ff, width)), ("%d.down" % n, (width, ff))]
    for n in range(c["num_hidden_layers"]):
        out += [("%d.norm_in" % n, (width,)), ("%d.norm_post" % n, (width,))]
    return out + [("norm", (width,))]


def count(c):
    return sum(math.prod(s) for _, s in shapes(c))


class Weights:
    """Views into a flat vector by name. kinds: slices of the vector for embedding, matrices, norms."""

    def __init__(self, c, flat):
        self.flat, self.at, offset = flat, {}, 0
        for name, shape in shapes(c):
            n = math.prod(shape)
            self.at[name] = flat[offset:offset + n].view(shape)
            offset += n
        first_norm = offset - c["hidden_size"] * (2 * c["num_hidden_layers"] + 1)
        self.kinds = {"embed": (0, self.at["embed"].numel()), "matrix": (self.at["embed"].numel(), first_norm),
                      "norm": (first_norm, offset)}

    def init(self, seed):
        g = torch.Generator().manual_seed(seed)
        for name, w in self.at.items():
            if w.dim() == 1:
                w.fill_(1)
            else:  # the embedding is multiplied by scale_emb on its way in, the logits divided
                w.normal_(0, 0.1 if name == "embed" else 0.8 / math.sqrt(w.shape[1]), generator=g)


class Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, eps, dtype):
        r = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
        y = x * r
        ctx.save_for_backward(y, r, weight)
        return (y * weight).to(dtype)

    @staticmethod
    def backward(ctx, g):
        y, r, weight = ctx.saved_tensors
        g = g.float()
        gw = g * weight
        gx = (gw - y * (gw * y).mean(-1, keepdim=True)) * r
        return gx, (g * y).sum(tuple(range(g.dim() - 1))), None, None


def norm(x, weight, eps, dtype):
    if x.is_cuda:  # torch.compile makes one kernel of this
        return (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight).to(dtype)
    return Norm.apply(x, weight, eps, dtype)


class Loss(torch.autograd.Function):
    """Sum of -log p(target) times weight over hidden [n, width] with tied output matrix; target and weight [n].
    Works in stretches of rows, and makes the gradients on the way."""

    @staticmethod
    def forward(ctx, hidden, embed, target, weight):
        rows = 1024
        total, gh, ge = 0.0, torch.empty_like(hidden), torch.zeros(embed.shape, device=hidden.device)
        for i in range(0, len(hidden), rows):
            h, t, keep = hidden[i:i + rows], target[i:i + rows], weight[i:i + rows]
            p = (h @ embed.t()).float()
            p.sub_(p.amax(1, keepdim=True)).exp_()  # much faster here than softmax
            p.div_(p.sum(1, keepdim=True))
            total -= (p.gather(1, t[:, None])[:, 0].clamp_min(1e-30).log() * keep).sum()
            if ctx.needs_input_grad[0]:
                p.scatter_add_(1, t[:, None], torch.full((len(t), 1), -1.0, device=p.device))
                p = p.mul_(keep[:, None]).to(hidden.dtype)
                gh[i:i + rows] = p @ embed
                ge += (p.t() @ h).float()
        ctx.save_for_backward(gh, ge.to(embed.dtype))
        return total

    @staticmethod
    def backward(ctx, g):
        gh, ge = ctx.saved_tensors
        return gh * g, ge * g, None, None


def rope_tables(c, positions):
    """positions: how many from 0, or a tensor [..., T] -> cos, sin [..., T, d]"""
    d = c["hidden_size"] // c["num_attention_heads"]
    inv = 1.0 / c["rope_theta"] ** (torch.arange(0, d, 2, dtype=torch.float32) / d)
    if c.get("rope_scaling"):
        inv = inv / torch.tensor(c["rope_scaling"]["long_factor"])
    if isinstance(positions, int):
        positions = torch.arange(positions)
    angle = positions.float()[..., None] * inv.to(positions.device)
    return torch.cat([angle.cos(), angle.cos()], -1), torch.cat([-angle.sin(), angle.sin()], -1)


def rotate(x, cos, sin):
    """x [batch, T, heads, d]; pairs are (i, i + d/2)"""
    half = x.shape[-1] // 2
    return x * cos + torch.cat([x[..., half:], x[..., :half]], -1) * sin


def attend(q, k, v, stretch=128):
    """Causal attention. q [batch, kv, G, T, d]; k, v [batch, kv, before + T, d]: every row sees the `before` first ones. A stretch of
    queries sees only the keys up to its own end, so the upper triangle is mostly never computed."""
    b, kv, group, length, d = q.shape
    before = k.shape[2] - length
    if q.is_cuda and not before:
        k, v = (t[:, :, None].expand(q.shape).reshape(b, kv * group, length, d) for t in (k, v))
        return F.scaled_dot_product_attention(q.reshape(k.shape), k, v, is_causal=True).view(b, kv, group, length, d)
    q, out = q * (1 / math.sqrt(d)), []
    for i in range(0, length, stretch):
        end = min(length, i + stretch)
        n, seen = end - i, before + end
        s = torch.matmul(q[:, :, :, i:end].reshape(b * kv, group * n, d),
                         k[:, :, :seen].reshape(b * kv, seen, d).transpose(1, 2))
        mask = torch.full((n, seen), -1e4, dtype=q.dtype, device=q.device).triu_(before + i + 1)
        s = (s.view(b * kv, group, n, seen) + mask).softmax(-1).view(b * kv, -1, seen)
        out.append(torch.matmul(s, v[:, :, :seen].reshape(b * kv, seen, d)).view(b, kv, group, n, d))
    return torch.cat(out, 3)


def hidden(c, w, ids, compute=FAST, linear=F.linear, positions=None, attention=None, tables=None):
    """ids [batch, T] -> what the output matrix is applied to, [batch, T, width]. `w` maps names to
    tensors; `linear(x, weight)` may be replaced by one that watches its inputs; positions [T] or [batch, T], from 0 if
    None; attention(layer, q, k, v) takes the place of attend(); tables: what rope_tables() says of the positions, if that is known."""
    b, length = ids.shape
    heads, kv, width = c["num_attention_heads"], c["num_key_value_heads"], c["hidden_size"]
    d, eps, depth = width // heads, c["rms_norm_eps"], c["scale_depth"] / math.sqrt(c["num_hidden_layers"])
    if positions is None:
        positions = torch.arange(length, device=ids.device)
    cos, sin = (t.unsqueeze(-2).to(compute) for t in tables or rope_tables(c, positions))
    x = F.embedding(ids, w["embed"].float()) * c["scale_emb"]  # of a frequent token many small gradients are summed
    for n in range(c["num_hidden_layers"]):
        h = norm(x, w["%d.norm_in" % n], eps, compute)
        qkv = linear(h, w["%d.qkv" % n]).view(b, length, heads + 2 * kv, d)
        qk = rotate(qkv[:, :, :heads + kv], cos, sin)
        q = qk[:, :, :heads].permute(0, 2, 1, 3).reshape(b, kv, heads // kv, length, d)
        k, v = (t.permute(0, 2, 1, 3) for t in (qk[:, :, heads:], qkv[:, :, heads + kv:]))
        a = attention(n, q, k, v) if attention else attend(q, k, v)
        a = a.reshape(b, heads, length, d).transpose(1, 2).reshape(b, length, width)
        x = torch.add(x, linear(a, w["%d.o" % n]), alpha=depth)
        h = norm(x, w["%d.norm_post" % n], eps, compute)
        gate, up = linear(h, w["%d.gate_up" % n]).chunk(2, -1)
        x = torch.add(x, linear(F.silu(gate) * up, w["%d.down" % n]), alpha=depth)
    return norm(x, w["norm"], eps, compute) / (width / c["dim_model_base"])


def targets(rows):
    """rows [batch, T + 1] with their marks -> the targets 1..T and what each counts, 0 where it is none"""
    t = rows[:, 1:]
    keep = ((t & ID != 0) & (t & MASK == 0)).float()
    return t & ID, keep * torch.where(t & HEAVY != 0, WEIGHT, 1)


def loss_sum(c, w, rows, compute=FAST, positions=None, only=None):
    """rows [batch, T + 1] -> the sum of the negative log-likelihood of its targets, in nats times what each counts;
    only: weights [batch, T] in place of these"""
    h = hidden(c, w, rows[:, :-1] & ID, compute, positions=positions)
    target, weight = targets(rows)
    return Loss.apply(h.reshape(-1, h.shape[-1]), w["embed"], target.reshape(-1),
                      (weight if only is None else only).reshape(-1))
