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
import types

import numpy as np
import torch
import torch.nn.functional as F

import mix
import model
import tokenizer
from data import HEAVY, ID, MASK, load

WINDOW = 1024
LONGEST = 32              # windows of a document
BLOCK = model.CONFIG["sparse_config"]["block_size"]
DENSE = 2                 # windows up to which its end sees everything
END = 256                 # tokens of the end: questions and what stands before them
ENOUGH = 1.4              # a share of a quarter (exp -1.4) makes a block one of the first
STRETCH = 32              # rows whose chosen blocks are gathered together


def choose(s, q, k, first, given=None):
    """q [..., G, T, d], rows at positions first .. first + T - 1; k [..., first + T, d] -> bool [..., T, blocks]; the blocks given, a
    bool [..., 1, blocks], are among those chosen"""
    length, d = q.shape[-2:]
    scale, size, stride, block = 1 / math.sqrt(d), s["kernel_size"], s["kernel_stride"], s["block_size"]
    local = s["window_size"] // block
    pooled = lambda n: F.avg_pool1d(k.float().flatten(0, -3).transpose(1, 2), n * size, n * stride).to(q.dtype).unflatten(
        0, k.shape[:-2]).unsqueeze(-3)  # [..., 1, d, windows]
    p = torch.arange(first, first + length, device=q.device)
    fine, coarse = pooled(1), pooled(4)
    seen = lambda n, windows: torch.arange(windows, device=q.device) < ((p + 1) // (n * stride) - 1)[:, None]
    a = torch.matmul(q, fine).float() * scale
    c = (torch.matmul(q, coarse).float() * scale).masked_fill(~seen(4, coarse.shape[-1]), -math.inf)
    top = c.amax(-1, keepdim=True)
    a = (a - top).clamp_max(80).exp() / (c - top).exp().sum(-1, keepdim=True)
    score = (a * seen(1, fine.shape[-1])).sum(-3)
    n, blocks = block // stride, (first + length + block - 1) // block
    score = F.max_pool1d(F.pad(score.flatten(0, -3), (1, n * blocks + 1)), n + 1, n)[..., :blocks].reshape(*score.shape[:-1], blocks)
    b, own = torch.arange(blocks, device=q.device), (p // block)[:, None]
    forced = (b < s["init_blocks"]) | ((b >= own - local) & (b <= own))
    if given is not None:
        forced = forced | given
    score = score.masked_fill(forced, math.inf).masked_fill(b > own, -math.inf)
    best = score.sort(dim=-1, descending=True, stable=True)[1]  # of equal ones the lower, as in the engine
    chosen = torch.zeros_like(score, dtype=torch.bool).scatter_(-1, best[..., :s["topk"] + local], True)
    return chosen & (b <= own)


def attend(s, q, k, v, first, given=None, live=None):
    """Attention of the rows to their chosen blocks alone; q [kv, G, T, d]; k, v [kv, first + T, d] -> as q. live: (blocks, their keys,
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


def attend_whole(s, q, k, v, first, given, everything):
    """The same for many documents [documents, kv, ...] on a machine to which products with all keys are cheap; or attention to everything."""
    length, n = q.shape[-2], k.shape[-2]
    seen = torch.arange(n, device=q.device) <= torch.arange(first, first + length, device=q.device)[:, None]
    if not everything:
        with torch.no_grad():
            seen = seen & choose(s, q, k, first, given).repeat_interleave(s["block_size"], -1)[..., :n]
    mask = torch.zeros(seen.shape, dtype=q.dtype, device=q.device).masked_fill_(~seen, -1e4)
    q = q * (1 / math.sqrt(q.shape[-1]))
    scores = torch.matmul(q.flatten(2, 3), k.transpose(-1, -2)).unflatten(2, q.shape[2:4]) + mask.unsqueeze(-3)
    return torch.matmul(scores.softmax(-1).flatten(2, 3), v).view(q.shape)


def missed(s, q, k, first, rows, places, live=()):
    """How little of what the pooled keys promise to these rows lies on the windows that overlap their places: -log of
    the share, less what suffices to be chosen. This has a gradient, where the choice has none.
    q [documents, kv, G, T, d], k [documents, kv, tokens, d]; rows [documents, n], -1 where there is none; places [documents, n, 2], from and
    to -> [documents, kv]. live: of one document [(from, keys [kv, n, d])] as they stand in k, to carry the gradient where k has none."""
    size, stride, end = s["kernel_size"], s["kernel_stride"], first - s["window_size"]
    n = (end - size) // stride + 1
    pool = lambda t: F.avg_pool1d(t.float().flatten(0, -3).transpose(1, 2), size, stride).unflatten(0, t.shape[:-2])
    fine = pool(k[..., :end, :])[..., :n]
    for at, keys in live:
        mine = pool(keys)[..., :max(0, n - at // stride)]
        fine = fine.index_copy(3, torch.arange(at // stride, at // stride + mine.shape[-1], device=q.device), mine[None])
    fine = fine.to(q.dtype).unsqueeze(2)
    of = rows.clamp_min(0)[:, None, None, :, None].expand(*q.shape[:3], -1, q.shape[4])
    share = (torch.matmul(q.gather(3, of), fine).float() * (1 / math.sqrt(q.shape[-1]))).softmax(-1).mean(2)
    at = torch.arange(n, device=q.device) * stride
    there = (at < places[..., 1:]) & (at + size > places[..., :1]) & (rows >= 0)[..., None]
    there = there[:, None]  # [documents, 1, rows, windows]
    lost = F.relu(-(share * there).sum(-1).clamp_min(1e-6).log() - ENOUGH) * there.any(-1)
    return lost.sum(-1) / (rows >= 0).sum(-1).clamp_min(1)[:, None]


MOST_ASKED = 96  # rows of a document's end that answer


class Writer:
    """What long documents say, and what is asked about them. It follows from the seed, the document's number, which of a step's
    documents it is, and the step."""

    def __init__(self, a):
        vocab = tokenizer.load(os.path.join(a.run, "vocab"))
        self.a, self.tasks = a, mix.Tasks(vocab, load(a.run, "train"), load(a.run, "chinese"), np.random)

    def head(self, number, nth):
        """How a document begins, and of what its facts are made. All of a step are equally long."""
        seed = self.a.seed * 7919 + number * 64
        rng = np.random.RandomState((seed + 63) % (1 << 32))
        d = types.SimpleNamespace(number=number, nth=nth)
        d.n = int(rng.randint(LONGEST * 5 // 8, LONGEST + 1) if rng.rand() < 0.5 else math.exp(rng.uniform(0, math.log(LONGEST))))
        rng = self.tasks.rng = np.random.RandomState((seed + nth) % (1 << 32))
        d.chat, d.noun, d.form = rng.rand() < 0.6, self.tasks.noun(), mix.FACTS[rng.randint(len(mix.FACTS))]
        d.head = self.tasks.head(d.chat)
        return d

    def document(self, number, nth):
        """-> [windows, WINDOW]"""
        d, ids = self.head(number, nth), []
        for i in range(d.n):
            facts = self.facts(d, 1 + self.tasks.rng.randint(3)) if self.tasks.rng.rand() < 0.3 else []
            head = d.head if i == 0 else []
            ids.append(head + self.tasks.hide([f[3] for f in facts], WINDOW - len(head)))
        return np.array(ids, np.int64) & ID

    def facts(self, d, count):
        out = []
        for _ in range(count):
            k, v = self.tasks.key(), self.tasks.value()
            out.append((d.noun, k, v, mix.Text(self.tasks.sp).fact(" " + d.form, d.noun, k, v, MASK, MASK).ids))
        return out

    def question(self, number, nth, step):
        """-> windows [2, WINDOW] and slots [2], where they take their places; row [END + 1]; asks [MOST_ASKED], the rows that answer, and
        places [MOST_ASKED, 2] of what they answer with; given, bool [blocks]"""
        d = self.head(number, nth)
        rng = self.tasks.rng = np.random.RandomState((self.a.seed * 104729 + step * 64 + nth) % (1 << 32))
        slots = sorted(rng.permutation(d.n)[:2]) if d.n > 1 else [0]
        facts, windows, given, places = [], [], set(), []
        for i in slots:
            some, head = self.facts(d, 3), d.head if i == 0 else []
            facts += some
            window = head + self.tasks.hide([f[3] for f in some], WINDOW - len(head))
            for f in some:
                at = i * WINDOW + next(j for j in range(len(window)) if window[j:j + len(f[3])] == f[3])
                places.append((at, at + len(f[3])))
                given.update(j // BLOCK for j in (at, at + len(f[3]) - 1))
            windows.append(window)
        order = rng.permutation(len(facts))
        tail = self.tasks.questions(facts, d.chat, order=order)
        while sum(map(len, tail)) > END - 24:
            tail.pop()
        end = self.tasks.hay(END + 1 - sum(map(len, tail)))
        asks, asked = [], []
        for i, ids in zip(order, tail):
            mine = [len(end) + j - 1 for j, t in enumerate(ids) if t & HEAVY]
            asks, asked, end = asks + mine, asked + [places[i]] * len(mine), end + ids
        pad = MOST_ASKED - len(asks)
        return {"windows": np.array(windows, np.int64), "slots": np.array(slots), "row": np.array(end, np.int64),
                "asks": np.array(asks + [-1] * pad), "places": np.array(asked + [(0, 0)] * pad),
                "given": np.isin(np.arange((d.n * WINDOW + END + BLOCK - 1) // BLOCK), list(given))}


class Documents:
    """The long documents of a process, one at a time."""

    def __init__(self, a, writer, nth):
        self.a, self.writer, self.nth, self.made = a, writer, nth, None

    def begin(self, c, w, number):
        """The document of this number: keys and values by layer."""
        self.made, self.n = number, self.writer.head(number, self.nth).n
        ids, layers = torch.from_numpy(self.writer.document(number, self.nth)), c["num_hidden_layers"]
        kept = [([], []) for _ in range(layers)]
        self.first = [None] * layers  # keys and values of the first block

        def attention(n, q, k, v):
            kept[n][0].append(k), kept[n][1].append(v)
            if self.first[n] is None:
                self.first[n] = tuple(t[:, :, :BLOCK].clone() for t in (k, v))
                return model.attend(q, k, v)
            return self.attend_after_first(n, q, k, v)

        with torch.no_grad():
            for i in [0] + list(range(1, self.n, 4)):
                at = torch.arange(i, min(self.n, i + 4 if i else 1))[:, None] * WINDOW + torch.arange(WINDOW)
                model.hidden(c, w, ids[i:i + len(at)], w["embed"].dtype, positions=at, attention=attention)
        self.kept = [tuple(torch.cat(t).transpose(0, 1).contiguous() for t in pair) for pair in kept]  # [kv, windows, WINDOW, d]

    def attend_after_first(self, n, q, k, v):
        """Attention of layer n within windows behind the first one, which see the document's first block as well."""
        k, v = (torch.cat([f.expand(len(t), *f.shape[1:]), t], 2) for f, t in zip(self.first[n], (k, v)))
        return model.attend(q, k, v)

    def loss_sum(self, c, w, step):
        """-> the sum of the losses of the end of the document, what its targets count, both of the two windows as text, and how far
        the groups of heads that find them best are from choosing the facts"""
        number = step // self.a.refresh
        if self.made != number:
            self.begin(c, w, number)
        asked = {k: torch.from_numpy(x) for k, x in self.writer.question(number, self.nth, step).items()}
        slots, windows, row, compute = asked["slots"], asked["windows"], asked["row"][None], w["embed"].dtype
        live = []

        def keep(n, q, k, v):
            live.append((k, v))
            m = int(slots[0] == 0)  # the first window has the first block in itself
            parts = [model.attend(q[:m], k[:m], v[:m])] if m else []
            return torch.cat(parts + ([self.attend_after_first(n, q[m:], k[m:], v[m:])] if m < len(q) else []))

        h = model.hidden(c, w, windows & ID, compute, positions=slots[:, None] * WINDOW + torch.arange(WINDOW), attention=keep)[:, :-1]
        target, weight = (t.reshape(-1) for t in model.targets(windows))
        text = model.Loss.apply(h.reshape(-1, h.shape[-1]), w["embed"], target, weight), float(weight.sum())
        lost, per, first = [], WINDOW // BLOCK, self.n * WINDOW
        new = torch.cat([torch.arange(per) + i * per for i in slots] + [torch.arange((END + BLOCK - 1) // BLOCK) + self.n * per])

        def attention(n, q, k, v):
            both = [(new.transpose(0, 1), own[0]) for new, own in zip(live[n], (k, v))]  # of the windows, of the end
            if self.n <= DENSE:
                return model.attend(q, *(torch.cat([old.index_copy(1, slots, t.to(old.dtype)).flatten(1, 2), own], 1)[None]
                                         for old, (t, own) in zip(self.kept[n], both)))
            with torch.no_grad():
                whole = [torch.cat([old.index_copy(1, slots, t.to(old.dtype)).flatten(1, 2), own], 1)
                         for old, (t, own) in zip(self.kept[n], both)]
            lost.append(missed(c["sparse_config"], q, whole[0][None], first, asked["asks"][None], asked["places"][None],
                               [(int(i) * WINDOW, both[0][0][:, j]) for j, i in enumerate(slots)])[0])
            blocks = [F.pad(torch.cat([t.flatten(1, 2), own], 1), (0, 0, 0, -END % BLOCK)).unflatten(1, (-1, BLOCK)) for t, own in both]
            return attend(c["sparse_config"], q[0], *whole, first, asked["given"], (new, *blocks))[None]

        h = model.hidden(c, w, row[:, :-1] & ID, compute, attention=attention, positions=torch.arange(END) + self.n * WINDOW)
        target, weight = (t.reshape(-1) for t in model.targets(row))
        lost = torch.cat(lost).sort()[0][:2].mean() if lost else 0  # two groups of heads that look suffice
        return model.Loss.apply(h.reshape(-1, h.shape[-1]), w["embed"], target, weight), max(1, float(weight.sum())), text, lost
