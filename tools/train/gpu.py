"""The loop of train.py for one GPU: the same stages, rules and log, but all rows lie on the device, the loss is compiled, nothing waits
for the device between two lines of the log, and the long documents of a step are run side by side. What they say is made up ahead by
other processes."""
import collections
import csv
import math
import multiprocessing
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

import model
import sparse
import train
from data import ID

AHEAD = 24  # steps whose documents are made before they are asked for


def losses(h, w, target, weight):
    """h [batch, T, width]: what each target counts times its loss [batch, T], of plain operations that torch.compile joins"""
    logits = F.linear(h, w["embed"]).flatten(0, 1).float()
    return F.cross_entropy(logits, target.flatten(), reduction="none").view(weight.shape) * weight


def loss_sum(c, w, ids, target, weight, tables):
    """As model.loss_sum."""
    return losses(model.hidden(c, w, ids, tables=tables), w, target, weight).sum()


# ---------------------------------------------------------------- rows

class Rows:
    """All rows of all sources as one tensor of the device."""

    def __init__(self, stages, device):
        self.device, self.begin, parts, n = device, {}, [], 0
        for _, batches in stages.mixes:
            for name, rows in batches.rows.items():
                if name not in self.begin:
                    self.begin[name] = n
                    parts.append(torch.from_numpy(np.array(rows).view(np.int16)))
                    n += len(rows)
        self.all = torch.cat(parts).to(device)

    def of(self, batches, step, long):
        """-> rows with their marks, positions"""
        picked = batches.pick(step, long)
        at = torch.tensor([self.begin[name] + row for name, row, _ in picked])
        rows = self.all[sent(at, self.device)].int() & 0xFFFF
        if not long:
            half = sent(torch.tensor([half for _, _, half in picked]), self.device)
            rows = rows.gather(1, half[:, None] * 512 + torch.arange(513, device=self.device))
        return rows.long(), sent(torch.from_numpy(batches.positions(step, len(rows), rows.shape[1] - 1)), self.device)


def sent(t, device):
    return t.pin_memory().to(device, non_blocking=True) if device == "cuda" else t


# ---------------------------------------------------------------- long documents

writer = None  # of a process that makes them up


def begin_writing(a):
    global writer
    torch.set_num_threads(1)
    writer = sparse.Writer(a)


def write(job):
    step, number, documents, begins = job
    asked = [writer.question(number, nth, step) for nth in range(documents)]
    return ({k: np.stack([q[k] for q in asked]) for k in asked[0]},
            np.stack([writer.document(number, nth) for nth in range(documents)]) if begins else None)


class Documents:
    """The long documents of a step, side by side; compare sparse.Documents."""

    def __init__(self, a):
        self.a, self.kept, self.waiting, self.next = a, None, collections.deque(), None
        self.pool = multiprocessing.get_context("fork").Pool(max(1, (os.cpu_count() or 2) - 3), begin_writing, (a,))

    def order(self, step):
        """Has what the steps from this one on need made up, in time."""
        self.next = step if self.next is None else self.next
        while self.next < step + AHEAD:
            number = self.next // self.a.refresh
            begins = self.next % self.a.refresh == 0 or self.next == step and self.kept is None
            self.waiting.append(self.pool.apply_async(write, ((self.next, number, self.a.documents, begins),)))
            self.next += 1

    def begin(self, c, w, ids):
        """ids [documents, windows, WINDOW]: keys and values by layer, [documents, kv, windows, WINDOW, d], and of the first blocks"""
        documents, n = ids.shape[:2]
        at = torch.arange(n * sparse.WINDOW, device=ids.device).view(n, -1)
        self.kept, firsts = [], []

        def first(layer, q, k, v):
            firsts.append((k, v))
            return model.attend(q, k, v)

        def later(layer, q, k, v):
            k0, v0 = firsts[layer]
            self.kept.append([torch.cat([t0[:, None], t.view(documents, n - 1, *t.shape[1:])], 1).transpose(1, 2)
                              for t0, t in ((k0, k), (v0, v))])
            return self.attend_after_first(q, k, v, *(t[:, :, :sparse.BLOCK].repeat_interleave(n - 1, 0) for t in (k0, v0)))

        with torch.no_grad():
            model.hidden(c, w, ids[:, 0], positions=at[:1], attention=first)
            if n > 1:
                model.hidden(c, w, ids[:, 1:].flatten(0, 1), positions=at[1:].repeat(documents, 1), attention=later)
            else:
                self.kept = [[t[:, :, None] for t in pair] for pair in firsts]
        self.first = [[t[:, :, :sparse.BLOCK] for t in pair] for pair in firsts]

    def attend_after_first(self, q, k, v, k0, v0, hidden=None):
        """Windows that see the first block of their documents too, where that is not hidden [windows]."""
        b, kv, group, length, d = q.shape
        mask = torch.ones(length, sparse.BLOCK + length, dtype=torch.bool, device=q.device).tril(sparse.BLOCK)
        if hidden is not None:
            mask = mask & ~(hidden[:, None, None] & (torch.arange(mask.shape[1], device=q.device) < sparse.BLOCK))
            mask = mask[:, None]
        k, v = (torch.cat([t0, t], 2)[:, :, None].expand(-1, -1, group, -1, -1).flatten(1, 2) for t0, t in ((k0, k), (v0, v)))
        if q.is_cuda:
            return F.scaled_dot_product_attention(q.flatten(1, 2), k, v, attn_mask=mask).view(q.shape)
        scores = (q.flatten(1, 2) @ k.transpose(-1, -2) / math.sqrt(d)).masked_fill(~mask, -1e4)
        return (scores.softmax(-1) @ v).view(q.shape)

    def loss(self, c, w, step):
        """-> of the ends of the documents the mean loss, how far they are from choosing the facts; of the windows the sum of losses as
        text, and what their targets count"""
        self.order(step)
        asked, ids = self.waiting.popleft().get()
        device, s = w["embed"].device, c["sparse_config"]
        asked = {k: sent(torch.from_numpy(x), device.type) for k, x in asked.items()}
        if ids is not None:
            self.begin(c, w, sent(torch.from_numpy(ids), device.type))
        slots, windows, row, live, lost = asked["slots"], asked["windows"].flatten(0, 1), asked["row"], [], []
        (documents, n_slots), n = slots.shape, self.kept[0][0].shape[2]

        def keep(layer, q, k, v):
            live.append((k, v))
            return self.attend_after_first(q, k, v, *(t.repeat_interleave(n_slots, 0) for t in self.first[layer]), slots.flatten() == 0)

        at = slots.flatten()[:, None] * sparse.WINDOW + torch.arange(sparse.WINDOW, device=device)
        h = model.hidden(c, w, windows & ID, positions=at, attention=keep)[:, :-1]
        target, weight = model.targets(windows)
        text = losses(h, w, target, weight).sum(), weight.sum()

        def attention(layer, q, k, v):
            whole = []
            for old, new, own in zip(self.kept[layer], live[layer], (k, v)):
                new = new.view(documents, n_slots, *new.shape[1:]).transpose(1, 2)
                new = old.scatter(2, slots[:, None, :, None, None].expand(new.shape), new)
                whole.append(torch.cat([new.flatten(2, 3), own], 2))
            if n > sparse.DENSE:
                lost.append(sparse.missed(s, q, whole[0], n * sparse.WINDOW, asked["asks"], asked["places"]))
            return sparse.attend_whole(s, q, *whole, n * sparse.WINDOW, asked["given"][:, None, None], n <= sparse.DENSE)

        h = model.hidden(c, w, row[:, :-1] & ID, attention=attention,
                         positions=torch.arange(sparse.END, device=device) + n * sparse.WINDOW)
        target, weight = model.targets(row)
        found = (losses(h, w, target, weight).sum(1) / weight.sum(1).clamp_min(1)).mean()
        missed = torch.cat(lost, 1).sort(1)[0][:, :2].mean() if lost else torch.zeros((), device=device)
        return found, missed, text


# ---------------------------------------------------------------- weights

class Rounder:
    """All matrices rounded to INT4 at once: their groups lie one behind the other in the flat vector."""

    def __init__(self, a, weights):
        self.a, (lo, hi), self.scales = a, weights.kinds["matrix"], None
        self.part, self.groups = slice(lo, hi), lambda: weights.flat[lo:hi].view(-1, a.group)

    def rounded(self, flat, step):
        if self.scales is None or step % self.a.scales_every == 0:
            self.scales = train.gptq.scales_of(self.groups(), self.a.group)
        out = flat.clone()
        out[self.part] = train.gptq.rounded(self.groups(), self.scales).flatten()
        return out


class Rules:
    """Muon over the matrices, those of one shape together, and AdamW over the rest."""

    def __init__(self, a, c, weights, m, v):
        self.a, self.weights, self.m, self.v, self.kinds = a, weights, m, v, collections.defaultdict(list)
        for offset, shape in train.shares(c, weights, 1)[0][0]:
            self.kinds[shape].append(slice(offset, offset + math.prod(shape)))
        self.first, self.last = weights.kinds["matrix"]

    def step(self, g, lr, step):
        """g: the gradient of the flat vector, which is spoiled"""
        a, flat, norm = self.a, self.weights.flat, g.norm()
        g = torch.where(norm.isfinite(), g * (a.clip / (norm + 1e-6)).clamp_max(1), torch.zeros_like(g))
        matrix = slice(self.first, self.last)
        self.m[matrix].lerp_(g[matrix], 0.05)
        ahead = g[matrix].lerp_(self.m[matrix], 0.95)
        for shape, parts in self.kinds.items():
            some = torch.stack([ahead[p.start - self.first:p.stop - self.first].view(shape) for p in parts])
            for p, update in zip(parts, train.orthogonal(some)):
                flat[p] = flat[p] * (1 - lr * a.decay) - update.flatten() * (lr * 0.2 * math.sqrt(max(shape)))
        rate = lr * a.embed_lr / a.lr
        for part, decay in ((slice(0, self.first), a.decay), (slice(self.last, len(flat)), 0)):
            m, v = self.m[part].lerp_(g[part], 0.1), self.v[part].mul_(0.95).addcmul_(g[part], g[part], value=0.05)
            update = m / (1 - 0.9 ** step) / ((v / (1 - 0.95 ** step)).sqrt_() + 1e-8)
            flat[part] = flat[part] * (1 - rate * decay) - update * rate


# ---------------------------------------------------------------- the loop

def work(a, shared, documents):
    c, device, stages = train.config(a), a.device, train.Stages(a, 0)
    rows, flat = Rows(stages, device), shared["flat"]
    weights = model.Weights(c, flat)
    rules, rounder = Rules(a, c, weights, shared["m"], shared["v"]), Rounder(a, weights)
    half = {k: t.to(model.FAST) if t.dim() > 1 else t.clone() for k, t in weights.at.items()}
    half = {k: t.requires_grad_() for k, t in half.items()}
    valid = [torch.from_numpy(r.astype(np.int64)).to(device) for r in train.validation(a)]
    fast = torch.compile(loss_sum, dynamic=False) if device == "cuda" else loss_sum
    if device == "cuda":
        torch._dynamo.config.suppress_errors = True  # what cannot be compiled is run as it is
    step, tokens, spent = (int(shared["start"][i]) for i in range(3))
    began, last_save, last_log, last_tokens = time.time() - spent, time.time(), time.time(), tokens
    sums = torch.zeros(4, device=device)  # of losses, found, missed, and how many
    log = open(os.path.join(a.run, "log.csv"), "a", newline="")
    writer = csv.writer(log)
    if not log.tell():
        writer.writerow(train.FIELDS)
    while True:
        seconds = time.time() - began
        done = seconds / (60 * a.minutes) if a.minutes else step / a.steps
        with torch.no_grad():
            now = model.Weights(c, rounder.rounded(flat, step)).at if done >= a.round_from else weights.at
            for k, t in half.items():
                t.copy_(now[k])
                t.grad = None
        lr = a.lr * min(1, (step + 1) / a.warmup) * (1 - min(done, 1) * (1 - a.last))
        shown, due = ["", ""], step % a.valid_every == 0 or done >= 1
        if due:
            with torch.no_grad():
                for kind, some in enumerate(valid):
                    total = n = 0
                    for part in some.split(16):
                        only = (model.targets(part)[1] > kind).float()  # of tasks the answers alone
                        total, n = total + float(model.loss_sum(c, half, part, only=only)), n + float(only.sum())
                    shown[kind] = "%.4f" % (total / n)
        if due or step % a.log_every == 0:
            now, mean = time.time(), sums / sums[3].clamp_min(1)
            writer.writerow([step, tokens, int(now - began), "%.6f" % lr, "%.4f" % mean[0]] + shown +
                            ["%.4f" % mean[1] if done >= a.sparse_from else "", int((tokens - last_tokens) / (now - last_log)),
                             "%.4f" % mean[2] if done >= a.sparse_from else ""])
            log.flush()
            last_log, last_tokens = now, tokens
            sums.zero_()
        if done >= 1:
            train.save(a, shared, step, tokens, seconds)
            documents.pool.terminate()
            return
        if time.time() - last_save > 60 * a.save_minutes:
            train.save(a, shared, step, tokens, seconds)
            last_save = time.time()

        long, sparse_now = done >= a.long_from, done >= a.sparse_from
        batch, positions = rows.of(stages.at(done), step, long)
        target, weight = model.targets(batch)
        tables = tuple(t.to(model.FAST) for t in model.rope_tables(c, positions))
        loss, n = fast(c, half, batch[:, :-1] & ID, target, weight, tables), weight.sum()
        found = missed = torch.zeros((), device=device)
        if sparse_now:
            found, missed, (text, n_text) = documents.loss(c, half, step)
            loss, n = loss + text, n + n_text
        loss = loss / n.clamp_min(1)
        (loss + a.sparse_weight * found + a.choice_weight * missed).backward()
        step += 1
        tokens += a.batch * 512
        with torch.no_grad():
            sums += torch.stack([loss.detach(), found.detach(), missed.detach(), torch.ones_like(loss)])
            g = torch.cat([half[name].grad.float().flatten() for name, _ in model.shapes(c)])
            rules.step(g, lr, step)
