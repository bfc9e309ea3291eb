"""Questions about long documents under InfLLM v2's choice of blocks, at the cost of short rows.

A document of 1K to 32K tokens is run once without gradients, in windows at their own positions that see the document's first block
beside themselves, and its keys and values are kept for some steps. A step puts facts into two of its windows and runs these with gradients, as training text of their own too, and then the
end of the document: questions and answers, whose rows choose their blocks among those of the whole document by the pooled keys (kernel,
stride, first and local blocks and the budget as in sparse_config) and attend to these alone. The choice itself has no gradient, so the
blocks of the facts asked for take the place of the last ones chosen: beside the likeliest others they must win. Some of the other
windows hold facts of the same form about other keys. Of the shortest documents the end sees everything, as the engine does.
"""
import math
import os

import numpy as np
import torch
import torch.nn.functional as F

import mix
import model
import tokenizer
from data import HEAVY, ID, MASK

WINDOW = 1024
LONGEST = 32              # windows of a document
DENSE = 2                 # windows up to which its end sees everything
END = 256                 # tokens of the end: questions and what stands before them
ENOUGH = 1.4              # a share of a quarter (exp -1.4) makes a block one of the first
STRETCH = 32              # rows whose chosen blocks are gathered together


def choose(s, q, k, first, given=()):
    """q [kv, G, T, d], rows at positions first .. first + T - 1; k [kv, first + T, d] -> bool [kv, T, blocks]; the blocks given are
    among those chosen"""
    kv, _, length, d = q.shape
    scale, size, stride, block = 1 / math.sqrt(d), s["kernel_size"], s["kernel_stride"], s["block_size"]
    local = s["window_size"] // block
    pooled = lambda n: F.avg_pool1d(k.float().transpose(1, 2), n * size, n * stride).to(q.dtype)  # [kv, d, windows]
    p = torch.arange(first, first + length, device=q.device)
    fine, coarse = pooled(1), pooled(4)
    seen = lambda n, windows: torch.arange(windows, device=q.device) < ((p + 1) // (n * stride) - 1)[:, None]
    a = torch.matmul(q, fine[:, None]).float() * scale
    c = (torch.matmul(q, coarse[:, None]).float() * scale).masked_fill(~seen(4, coarse.shape[2]), -math.inf)
    top = c.amax(-1, keepdim=True)
    a = (a - top).clamp_max(80).exp() / (c - top).exp().sum(-1, keepdim=True)
    score = (a * seen(1, fine.shape[2])).sum(1)
    n, blocks = block // stride, (first + length + block - 1) // block
    score = F.max_pool1d(F.pad(score, (1, n * blocks + 1)), n + 1, n)[..., :blocks].clone()
    b, own = torch.arange(blocks, device=q.device), (p // block)[:, None]
    forced = (b < s["init_blocks"]) | ((b >= own - local) & (b <= own))
    for n in given:
        forced = forced | (b == n)
    score = score.masked_fill(forced, math.inf).masked_fill(b > own, -math.inf)
    chosen = torch.zeros_like(score, dtype=torch.bool)
    best = score.sort(dim=2, descending=True, stable=True)[1]  # of equal ones the lower, as in the engine
    chosen.scatter_(2, best[..., :s["topk"] + local], True)
    return chosen & (b <= own)


def attend(s, q, k, v, first, given=(), live=None):
    """Attention of the rows to their chosen blocks alone; shapes as in choose(), v as k -> [kv, G, T, d]. live: (blocks, their keys,
    their values), [n] and [kv, n, block, d], the same as in k and v, to carry the gradient where these have none."""
    kv, group, length, d = q.shape
    with torch.no_grad():
        chosen = choose(s, q, k, first, given)
    block, out, blocks = s["block_size"], [], chosen.shape[2]
    pad = blocks * block - k.shape[1]
    k, v = (F.pad(t, (0, 0, 0, pad)).view(kv, blocks, block, d) for t in (k, v))
    place = torch.full((blocks,), -1, device=q.device)  # of a block among the live ones
    if live:
        place[live[0]] = torch.arange(len(live[0]), device=q.device)
    p, q = torch.arange(first, first + length, device=q.device), q * (1 / math.sqrt(d))
    for i in range(0, length, STRETCH):
        end, part = min(length, i + STRETCH), []
        for h in range(kv):
            used = chosen[h, i:end].any(0).nonzero()[:, 0]
            here = place[used]
            used, here = torch.cat([used[here < 0], used[here >= 0]]), here[here >= 0]
            still = used[:len(used) - len(here)]
            keys, values = (torch.cat([t[h][still], live[n][h][here]]) if live else t[h][still] for n, t in ((1, k), (2, v)))
            at = (used[:, None] * block + torch.arange(block, device=q.device)).reshape(-1)
            seen = chosen[h, i:end][:, used].repeat_interleave(block, 1) & (at <= p[i:end, None])
            mask = torch.zeros(seen.shape, dtype=q.dtype, device=q.device).masked_fill_(~seen, -1e4)
            scores = torch.matmul(q[h, :, i:end].reshape(-1, d), keys.reshape(-1, d).t()).view(group, end - i, -1) + mask
            part.append(torch.matmul(scores.softmax(-1), values.reshape(-1, d)))
        out.append(torch.stack(part))
    return torch.cat(out, 2)


def missed(s, q, k, first, rows, places, live=()):
    """How little of what the pooled keys promise to these rows lies on the windows that overlap their places [(from, to)]: -log of
    the share, less what suffices to be chosen -> [kv]. This has a gradient, where the choice has none; live: [(from, keys)] as they
    stand in k, to carry it where k has none."""
    size, stride, end = s["kernel_size"], s["kernel_stride"], first - s["window_size"]
    n = (end - size) // stride + 1
    pool = lambda t: F.avg_pool1d(t.float().transpose(1, 2), size, stride)
    fine = pool(k[:, :end])[..., :n]
    for at, keys in live:
        mine = pool(keys)[..., :max(0, n - at // stride)]
        fine = fine.index_copy(2, torch.arange(at // stride, at // stride + mine.shape[2], device=q.device), mine)
    fine = fine.to(q.dtype)
    share = (torch.matmul(q[:, :, rows], fine[:, None]).float() * (1 / math.sqrt(q.shape[-1]))).softmax(-1).mean(1)
    at = torch.arange(n, device=q.device) * stride
    lo, hi = (torch.tensor(x, device=q.device)[:, None] for x in zip(*places))
    there = (at < hi) & (at + size > lo)
    lost = F.relu(-(share * there).sum(-1).clamp_min(1e-6).log() - ENOUGH)
    return (lost * there.any(-1)).mean(-1)


class Documents:
    """The long documents of a process; they depend on seed, rank and step."""

    def __init__(self, a, rank):
        self.a, self.rank, self.made, self.tasks = a, rank, None, None

    def begin(self, c, w, number):
        """The document of this number: its text, and keys and values by layer."""
        a = self.a
        if self.tasks is None:
            load = lambda n: np.load(os.path.join(a.run, n + ".npy"), mmap_mode="r")
            self.tasks = mix.Tasks(tokenizer.load(os.path.join(a.run, "vocab")), load("train"), load("chinese"), np.random)
        rng = self.tasks.rng = np.random.RandomState((a.seed * 7919 + number * 64 + self.rank) % (1 << 32))
        self.made, self.chat = number, rng.rand() < 0.6
        self.n = int(rng.randint(LONGEST * 5 // 8, LONGEST + 1) if rng.rand() < 0.5 else math.exp(rng.uniform(0, math.log(LONGEST))))
        self.noun, self.form = self.tasks.noun(), mix.FACTS[rng.randint(len(mix.FACTS))]
        head = self.tasks.head(self.chat)
        ids = []
        for i in range(self.n):
            facts = self.facts(1 + rng.randint(3)) if rng.rand() < 0.3 else []
            ids.append((head if i == 0 else []) + self.tasks.hide([f[3] for f in facts], WINDOW - (len(head) if i == 0 else 0)))
        self.head, self.ids = head, torch.tensor(ids) & ID
        layers, block = c["num_hidden_layers"], c["sparse_config"]["block_size"]
        kept = [([], []) for _ in range(layers)]
        self.first = [None] * layers  # keys and values of the first block

        def attention(n, q, k, v):
            kept[n][0].append(k), kept[n][1].append(v)
            if self.first[n] is None:
                self.first[n] = tuple(t[:, :, :block].clone() for t in (k, v))
                return model.attend(q, k, v)
            return self.attend_after_first(n, q, k, v)

        device = w["embed"].device
        with torch.no_grad():
            for i in [0] + list(range(1, self.n, 4)):
                at = torch.arange(i, min(self.n, i + 4 if i else 1))[:, None] * WINDOW + torch.arange(WINDOW)
                model.hidden(c, w, self.ids[i:i + len(at)].to(device), w["embed"].dtype, positions=at.to(device), attention=attention)
        self.kept = [tuple(torch.cat(t).transpose(0, 1).contiguous() for t in pair) for pair in kept]  # [kv, windows, WINDOW, d]

    def attend_after_first(self, n, q, k, v):
        """Attention of layer n within windows behind the first one, which see the document's first block as well."""
        k, v = (torch.cat([f.expand(len(t), *f.shape[1:]), t], 2) for f, t in zip(self.first[n], (k, v)))
        return model.attend(q, k, v)

    def facts(self, count):
        out = []
        for _ in range(count):
            k, v = self.tasks.key(), self.tasks.value()
            out.append((self.noun, k, v, mix.Text(self.tasks.sp).fact(" " + self.form, self.noun, k, v, MASK, MASK).ids))
        return out

    def loss_sum(self, c, w, step):
        """-> the sum of the losses of the end of the document, what its targets count, both of the two windows as text, and how far
        the groups of heads that find them best are from choosing the facts"""
        if self.made != step // self.a.refresh:
            self.begin(c, w, step // self.a.refresh)
        rng = self.tasks.rng = np.random.RandomState((self.a.seed * 104729 + step * 64 + self.rank) % (1 << 32))
        block = c["sparse_config"]["block_size"]
        slots, facts, windows, given, places = sorted(rng.permutation(self.n)[:2]), [], [], set(), []
        for i in slots:
            some, head = self.facts(3), self.head if i == 0 else []
            facts += some
            window = head + self.tasks.hide([f[3] for f in some], WINDOW - len(head))
            for f in some:
                at = i * WINDOW + next(j for j in range(len(window)) if window[j:j + len(f[3])] == f[3])
                places.append((at, at + len(f[3])))
                given.update(j // block for j in (at, at + len(f[3]) - 1))
            windows.append(window)
        order = rng.permutation(len(facts))
        tail = self.tasks.questions(facts, self.chat, order=order)
        while sum(map(len, tail)) > END - 24:
            tail.pop()
        end = self.tasks.hay(END + 1 - sum(map(len, tail)))
        asks, asked = [], []  # the rows that answer, and where what they answer with stands
        for i, ids in zip(order, tail):
            mine = [len(end) + j - 1 for j, t in enumerate(ids) if t & HEAVY]
            asks, asked, end = asks + mine, asked + [places[i]] * len(mine), end + ids
        device, compute = w["embed"].device, w["embed"].dtype
        windows, row = (torch.tensor(np.array(x, np.int64)).to(device) for x in (windows, [end]))
        at = torch.tensor(slots)[:, None] * WINDOW + torch.arange(WINDOW)
        live = []

        def keep(n, q, k, v):
            live.append((k, v))
            m = int(slots[0] == 0)  # the first window has the first block in itself
            parts = [model.attend(q[:m], k[:m], v[:m])] if m else []
            return torch.cat(parts + ([self.attend_after_first(n, q[m:], k[m:], v[m:])] if m < len(q) else []))

        h = model.hidden(c, w, windows & ID, compute, positions=at.to(device), attention=keep)[:, :-1]
        target, weight = (t.reshape(-1) for t in model.targets(windows))
        text = model.Loss.apply(h.reshape(-1, h.shape[-1]), w["embed"], target, weight), float(weight.sum())
        where, lost = torch.tensor(slots, device=device), []

        per, first = WINDOW // block, self.n * WINDOW
        new = torch.cat([torch.arange(per) + i * per for i in slots] + [torch.arange((END + block - 1) // block) + self.n * per])

        def attention(n, q, k, v):
            both = [(new.transpose(0, 1), own[0]) for new, own in zip(live[n], (k, v))]  # of the windows, of the end
            if self.n <= DENSE:
                return model.attend(q, *(torch.cat([old.index_copy(1, where, t.to(old.dtype)).flatten(1, 2), own], 1)[None]
                                         for old, (t, own) in zip(self.kept[n], both)))
            with torch.no_grad():
                whole = [torch.cat([old.index_copy(1, where, t.to(old.dtype)).flatten(1, 2), own], 1)
                         for old, (t, own) in zip(self.kept[n], both)]
            lost.append(missed(c["sparse_config"], q[0], whole[0], first, asks, asked,
                               [(i * WINDOW, both[0][0][:, j]) for j, i in enumerate(slots)]))
            blocks = [F.pad(torch.cat([t.flatten(1, 2), own], 1), (0, 0, 0, -END % block)).unflatten(1, (-1, block)) for t, own in both]
            return attend(c["sparse_config"], q[0], *whole, first, given, (new.to(q.device), *blocks))[None]

        h = model.hidden(c, w, row[:, :-1] & ID, compute, attention=attention,
                         positions=torch.arange(END, device=device) + self.n * WINDOW)
        target, weight = (t.reshape(-1) for t in model.targets(row))
        lost = torch.cat(lost).sort()[0][:2].mean() if lost else 0  # two groups of heads that look suffice
        return model.Loss.apply(h.reshape(-1, h.shape[-1]), w["embed"], target, weight), max(1, float(weight.sum())), text, lost
