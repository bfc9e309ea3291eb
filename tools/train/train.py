#!/usr/bin/env python3
"""Train the model.

    train.py RUN [--minutes M | --steps N] [--from CHECKPOINT] [--processes P] ...     RUN: what data.py and mix.py wrote

On CPUs data-parallel over single-threaded processes that share one weight vector; on a GPU by gpu.py. Each process
computes a gradient from its own rows, then updates its own share of the weights: Muon (the momentum of a matrix made orthogonal,
kellerjordan.github.io/posts/muon, scaled as in arXiv:2502.16982) for the matrices, AdamW for embedding and norms. The learning rate
rises for --warmup steps and falls linearly to --last of it at the end of the run, which is a number of steps or a time (then measured
against the clock, pauses between runs not counted). Logs to RUN/log.csv, saves RUN/state.pt every few minutes and goes on from it
when started again.

Until --first-until many rows say something again, which heads that copy come from. Rows of 512 tokens, of 1,024 from --long-from on. With --gaps 0.5 every second row has jumps in its positions, so that distances
up to the whole window are learned from short rows (arXiv:2309.10400); half of these jump once, at the beginning. From --sparse-from on each step also asks about a long document
whose blocks are chosen as InfLLM v2 does (sparse.py).
"""
import argparse
import csv
import math
import os
import threading
import time

import numpy as np
import torch
import torch.multiprocessing as mp

import checkpoint
import data
import gptq
import model
import sparse

FIELDS = ["step", "tokens", "seconds", "lr", "loss", "valid_books", "valid_tasks", "found", "tokens_per_second", "missed"]
FIRST_MIX = "train=0.3,stories=0.04,asked=0.03,instruct=0.03,chinese=0.02,again=0.33,tasks=0.25"
MIX = "train=0.54,stories=0.07,asked=0.10,instruct=0.05,chinese=0.02,tasks=0.22"


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("run")
    ap.add_argument("--from", dest="begin", metavar="CHECKPOINT", help="weights to begin with; its vocabulary may be shorter")
    ap.add_argument("--size", choices=model.SIZES, default="4m")
    ap.add_argument("--minutes", type=float)
    ap.add_argument("--steps", type=int, default=6000)
    ap.add_argument("--processes", type=int, default=2)
    ap.add_argument("--batch", type=int, default=8, help="rows of 512 tokens a step and process")
    ap.add_argument("--mix", default=MIX, help="shares of the rows")
    ap.add_argument("--first-mix", default=FIRST_MIX, help="the same at first")
    ap.add_argument("--first-until", type=float, default=0.25, help="part of the run in which it is that")
    ap.add_argument("--last-mix", help="the same in the end")
    ap.add_argument("--last-from", type=float, default=1, help="part of the run after which it is that")
    ap.add_argument("--long-from", type=float, default=0.6, help="part of the run after which rows have 1,024 tokens")
    ap.add_argument("--gaps", type=float, default=0.5, help="share of the rows with jumps in their positions")
    ap.add_argument("--sparse-from", type=float, default=0.4, help="part of the run after which there are long documents")
    ap.add_argument("--sparse-weight", type=float, default=0.3, help="of the loss on long documents, a token of a step being 1")
    ap.add_argument("--choice-weight", type=float, default=0.15, help="of how far the choice of blocks is from the facts asked for")
    ap.add_argument("--documents", type=int, default=1, help="long ones a step and process")
    ap.add_argument("--refresh", type=int, default=16, help="steps that share the keys and values of one long document")
    ap.add_argument("--lr", type=float, default=2.5e-3, help="of the matrices")
    ap.add_argument("--embed-lr", type=float, default=5e-3, help="of the embedding and the norms")
    ap.add_argument("--last", type=float, default=0.0, help="part of the learning rate that is left at the end")
    ap.add_argument("--warmup", type=int, default=150)
    ap.add_argument("--decay", type=float, default=0.1)
    ap.add_argument("--clip", type=float, default=1.0)
    ap.add_argument("--round-from", type=float, default=0.85, help="part of the run after which matrices are rounded to INT4 before each step")
    ap.add_argument("--ternary", action="store_true", help="to three values instead (an experiment; gptq.py writes INT4 only)")
    ap.add_argument("--scales-every", type=int, default=25)
    ap.add_argument("--group", type=int, default=64)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--log-every", type=int, default=20)
    ap.add_argument("--valid-every", type=int, default=200)
    ap.add_argument("--valid-rows", type=int, default=16, help="of 1,025 tokens of each kind, a process")
    ap.add_argument("--save-minutes", type=float, default=3)
    ap.add_argument("--like-cuda", action="store_true", help="the loop for a GPU, whatever the device is, to try it; it compiles nothing")
    ap.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return ap.parse_args()


HELD_OUT = 64  # task rows at the end of tasks.npy, for validation


class Batches:
    """The rows of each step, drawn from the sources by their shares; each source goes through its rows in a shuffled order, for
    their first halves and then for their second ones. Depends on seed and step alone."""

    def __init__(self, a, rank, mix):
        self.a, self.rank, shares = a, rank, dict(part.split("=") for part in mix.split(","))
        self.names, rng = sorted(shares), np.random.RandomState(a.seed)
        p = np.array([float(shares[n]) for n in self.names])
        self.which = rng.choice(len(p), 1 << 22, p=p / p.sum()).astype(np.uint8)
        self.nth = np.zeros(len(self.which), np.int64)
        for i in range(len(p)):
            self.nth[self.which == i] = np.arange((self.which == i).sum())
        self.rows, self.orders = {n: data.load(a.run, n) for n in self.names + ["short"] * ("tasks" in shares)}, {}
        if "tasks" in shares:
            self.rows["tasks"] = self.rows["tasks"][:-HELD_OUT]

    def order(self, name, number):
        if (name, number) not in self.orders:
            self.orders[name, number] = np.random.RandomState(self.a.seed + number).permutation(len(self.rows[name]))
        return self.orders[name, number]

    def pick(self, step, long):
        """-> [(source, row, half)] of a step, of whole rows if long"""
        a, out = self.a, []
        first = (step * a.processes + self.rank) * a.batch
        for k in range(first, first + a.batch, 2 if long else 1):  # k counts half rows
            name, nth = self.names[self.which[k % len(self.which)]], int(self.nth[k % len(self.which)])
            name = "short" if name == "tasks" and not long else name
            n = len(self.rows[name])
            number, nth = divmod(nth, 2 * n)
            out.append((name, self.order(name, number)[nth % n], nth // n))
        return out

    def positions(self, step, n, length):
        """[n, length]; half of the jumps near the beginning, on which heads rest that have nothing to look for: it is far behind then"""
        rng, column = np.random.RandomState((self.a.seed * 1000003 + 2 * step + self.rank) % (1 << 32)), np.arange(length)
        kind = rng.rand(n, 1)
        one = (column >= rng.randint(1, 65, (n, 1))) * rng.randint(64, model.POSITIONS - length, (n, 1))
        total, first = np.exp(rng.uniform(math.log(64), math.log(model.POSITIONS - length - 1), (n, 1))), rng.rand(n, 1)
        two = sum((column >= rng.randint(1, length, (n, 1))) * (total * part).astype(np.int64) for part in (first, 1 - first))
        return column + np.where(kind < self.a.gaps / 2, one, np.where(kind < self.a.gaps, two, 0))

    def at(self, step, long):
        rows = [self.rows[name][row] if long else self.rows[name][row][512 * half:512 * half + 513]
                for name, row, half in self.pick(step, long)]
        return torch.from_numpy(np.array(rows, np.int64)), torch.from_numpy(self.positions(step, len(rows), len(rows[0]) - 1))


class Stages:
    """Which batches a part of the run has."""

    def __init__(self, a, rank):
        self.mixes = [(a.first_until, Batches(a, rank, a.first_mix))] if a.first_until > 0 else []
        self.mixes += [(until, Batches(a, rank, mix)) for until, mix in ((a.last_from, a.mix), (math.inf, a.last_mix or a.mix))]

    def at(self, done):
        return next(batches for until, batches in self.mixes if done < until)


def validation(a):
    """-> rows of books, of tasks, each as many for every process"""
    return [rows[np.linspace(0, len(rows) - 1, a.valid_rows * a.processes).astype(int)]
            for rows in (data.load(a.run, "valid"), data.load(a.run, "tasks")[-HELD_OUT:])]


def orthogonal(g, steps=5):
    """g [..., n, m] -> the nearest matrices whose singular values are about one (Newton-Schulz)."""
    tall = g.shape[-2] > g.shape[-1]
    x = g.transpose(-1, -2) if tall else g
    x = (x / (x.square().sum((-1, -2), keepdim=True).sqrt() + 1e-7)).to(model.FAST)
    for _ in range(steps):
        s = x @ x.transpose(-1, -2)
        x = 3.4445 * x + (-4.7750 * s + 2.0315 * (s @ s)) @ x
    return (x.transpose(-1, -2) if tall else x).float()


def shares(c, weights, processes):
    """For each process its stretches of the flat vector: [(offset, shape)] for Muon, [(from, to, kind)] for AdamW."""
    width, ff = c["hidden_size"], c["intermediate_size"]
    kv = width // c["num_attention_heads"] * c["num_key_value_heads"]
    blocks, offset = [], 0
    for name, shape in model.shapes(c):
        leaf = name.split(".")[-1]
        if len(shape) == 2 and name != "embed":
            row = offset
            for n in {"qkv": (width, kv, kv), "gate_up": (ff, ff)}.get(leaf, shape[:1]):
                blocks.append((row, (n, shape[1])))
                row += n * shape[1]
        offset += math.prod(shape)
    blocks.sort(key=lambda b: (-math.prod(b[1]), b[0]))
    out = []
    for r in range(processes):
        adam = [(lo + (hi - lo) * r // processes, lo + (hi - lo) * (r + 1) // processes, kind)
                for kind, (lo, hi) in weights.kinds.items() if kind != "matrix"]
        out.append((blocks[r::processes], adam))
    return out


def work(rank, a, shared, gate):
    torch.set_num_threads(1)
    c = config(a)
    stages, writer = Stages(a, rank), sparse.Writer(a)
    documents = [sparse.Documents(a, writer, rank * a.documents + i) for i in range(a.documents)]
    chosen = [rows[rank::a.processes] for rows in validation(a)]
    flat, grads, numbers = shared["flat"], shared["grads"], shared["numbers"]
    weights = model.Weights(c, flat)
    muon, adam = shares(c, weights, a.processes)[rank]
    mine = [slice(o, o + math.prod(s)) for o, s in muon] + [slice(lo, hi) for lo, hi, _ in adam]
    half = {k: t.to(model.FAST) if t.dim() > 1 else t.clone() for k, t in weights.at.items()}
    half = {k: t.requires_grad_() for k, t in half.items()}
    grad_views = model.Weights(c, grads[rank]).at

    step, tokens, spent = (int(shared["start"][i]) for i in range(3))
    began, last_save, last_log, last_tokens = time.time() - spent, time.time(), time.time(), tokens
    running, count, looked, scales = 0.0, 0, False, {}
    if rank == 0:
        log = open(os.path.join(a.run, "log.csv"), "a", newline="")
        writer = csv.writer(log)
        if not log.tell():
            writer.writerow(FIELDS)
    while True:
        if rank == 0:
            seconds = time.time() - began
            numbers[0] = seconds / (60 * a.minutes) if a.minutes else step / a.steps
        gate.wait()
        done = float(numbers[0])
        if done >= a.round_from and (not scales or step % a.scales_every == 0):
            scales = {k: gptq.scales_of(w, a.group, a.ternary) for k, w in weights.at.items() if w.dim() > 1 and k != "embed"}
        with torch.no_grad():
            for k, t in half.items():
                t.copy_(gptq.rounded(weights.at[k], scales[k], a.ternary) if k in scales else weights.at[k])
                t.grad = None
        valid_due = step % a.valid_every == 0 or done >= 1
        if valid_due:
            with torch.no_grad():
                for kind, rows in enumerate(chosen):
                    rows = torch.from_numpy(rows.astype(np.int64))
                    only = (model.targets(rows)[1] > kind).float()  # of tasks the answers alone
                    numbers[2 + 16 * kind + rank] = sum(float(model.loss_sum(c, half, rows[i:i + 4], only=only[i:i + 4]))
                                                        for i in range(0, len(rows), 4))
                    numbers[10 + 16 * kind + rank] = float(only.sum())
        if done >= 1:
            gate.wait()
            if rank == 0:
                writer.writerow([step, tokens, int(seconds), 0, ""] + valid_losses(numbers, a.processes) + ["", "", ""])
                log.close()
                save(a, shared, step, tokens, seconds)
            return
        batch, positions = stages.at(done).at(step, done >= a.long_from)
        sparse_now = done >= a.sparse_from
        if sparse_now:  # windows of long documents take the place of half of the rows
            batch, positions = (t[:(len(t) + 1) // 2] for t in (batch, positions))
        n = float(model.targets(batch)[1].sum())
        loss, found, missed = model.loss_sum(c, half, batch, positions=positions), 0, 0
        if sparse_now:
            numbers[58 + rank], looked = 0, True
            for d in documents:
                answers, n_answers, (text, n_text), lost = d.loss_sum(c, half, step)
                loss, n = loss + text, n + n_text
                found, missed = found + answers / (n_answers * len(documents)), missed + lost / len(documents)
            numbers[58 + rank], numbers[66 + rank] = float(found), float(missed)
        (loss / max(n, 1) + a.sparse_weight * found + a.choice_weight * missed).backward()
        loss = float(loss)
        with torch.no_grad():
            for k, t in half.items():
                grad_views[k].copy_(t.grad)
        numbers[34 + rank], numbers[42 + rank] = loss, n
        gate.wait()
        total_n = float(numbers[42:42 + a.processes].sum())
        gs = []
        for part in mine:
            g = grads[0][part] * (float(numbers[42]) / total_n)
            for r in range(1, a.processes):
                g.add_(grads[r][part], alpha=float(numbers[42 + r]) / total_n)
            gs.append(g)
        numbers[50 + rank] = sum(float(g.square().sum()) for g in gs)
        gate.wait()
        norm = math.sqrt(float(numbers[50:50 + a.processes].sum()))
        lr = a.lr * min(1, (step + 1) / a.warmup) * (1 - done * (1 - a.last))
        step += 1
        tokens += a.batch * 512 * a.processes
        if math.isfinite(norm):
            shrink = min(1, a.clip / (norm + 1e-6))
            for g, part, (_, shape) in zip(gs, mine, muon):
                m = shared["m"][part].lerp_(g.mul_(shrink), 0.05)
                update = orthogonal(g.lerp(m, 0.95).view(shape)).reshape(-1)
                flat[part] = flat[part] * (1 - lr * a.decay) - update * (lr * 0.2 * math.sqrt(max(shape)))
            for g, part, (_, _, kind) in zip(gs[len(muon):], mine[len(muon):], adam):
                m, v = shared["m"][part].lerp_(g.mul_(shrink), 0.1), shared["v"][part]
                v.mul_(0.95).addcmul_(g, g, value=0.05)
                update = (v / (1 - 0.95 ** step)).sqrt_().add_(1e-8).reciprocal_().mul_(m).div_(1 - 0.9 ** step)
                rate = lr * a.embed_lr / a.lr
                flat[part] = flat[part] * (1 - rate * (0 if kind == "norm" else a.decay)) - update * rate
        running += float(numbers[34:34 + a.processes].sum() / total_n)
        count += 1
        if rank == 0 and (step % a.log_every == 0 or valid_due):
            now = time.time()
            writer.writerow([step, tokens, int(now - began), "%.6f" % lr, "%.4f" % (running / count)] +
                            (valid_losses(numbers, a.processes) if valid_due else ["", ""]) +
                            ["%.4f" % numbers[58:58 + a.processes].mean() if looked else "",
                             int((tokens - last_tokens) / (now - last_log)),
                             "%.4f" % numbers[66:66 + a.processes].mean() if looked else ""])
            log.flush()
            running, count, last_log, last_tokens = 0.0, 0, now, tokens
        gate.wait()
        if rank == 0 and time.time() - last_save > 60 * a.save_minutes:
            save(a, shared, step, tokens, time.time() - began)
            last_save = time.time()


def valid_losses(numbers, processes):
    return ["%.4f" % float(numbers[2 + i:2 + i + processes].sum() / numbers[10 + i:10 + i + processes].sum()) for i in (0, 16)]


def save(a, shared, step, tokens, seconds):
    """Called by process 0 while the other one waits or only reads."""
    path = os.path.join(a.run, "state.pt")
    state = {k: shared[k].cpu().clone() for k in ("flat", "m", "v")}
    torch.save({"config": config(a), "step": step, "tokens": tokens, "seconds": seconds, **state}, path + ".new")
    os.replace(path + ".new", path)


def config(a):
    return {**model.CONFIG, **model.SIZES[a.size]}


def grow(weights, path):
    """Weights of a checkpoint of the same vocabulary, or of one that is a beginning of it (whose two added tokens, the last, were
    never trained), and of the same feed-forward width or a smaller one, whose new channels come in with nothing to say yet."""
    old = checkpoint.read(path)[1]
    for name, w in weights.at.items():
        o, leaf = old[name], name.split(".")[-1]
        if name == "embed":
            n = len(o) - (2 if len(o) < len(w) else 0)
            if n < len(w):
                w[n:].mul_(float(o[:n].std() / w.std()))
            w[:n].copy_(o[:n])
        elif leaf == "gate_up":
            w, o = w.view(2, -1, w.shape[1]), o.view(2, -1, w.shape[1])
            w[:, o.shape[1]:].mul_(float(o.std() / w.std()))
            w[:, :o.shape[1]].copy_(o)
        elif leaf == "down":
            w[:, :o.shape[1]].copy_(o)
            w[:, o.shape[1]:].zero_()
        else:
            w.copy_(o)


def main():
    a = arguments()
    documents = None
    if a.device == "cuda" or a.like_cuda:
        import gpu  # which needs what is here
        a.processes, documents = 1, gpu.Documents(a)  # its processes begin before the device is used
    c = config(a)
    n = model.count(c)
    shared = {"flat": torch.zeros(n), "m": torch.zeros(n), "v": torch.zeros(n), "grads": torch.zeros(a.processes, n)}
    path, start = os.path.join(a.run, "state.pt"), [0, 0, 0]
    if os.path.exists(path):
        state = torch.load(path)
        for k in ("flat", "m", "v"):
            shared[k].copy_(state[k])
        start = [state["step"], state["tokens"], state["seconds"]]
    else:
        weights = model.Weights(c, shared["flat"])
        weights.init(a.seed)
        if a.begin:
            grow(weights, a.begin)
    print("%d parameters, from step %d" % (n, start[0]), flush=True)
    shared = {k: t.share_memory_() if a.device == "cpu" else t.to(a.device) for k, t in shared.items()}
    shared["numbers"] = torch.zeros(80, dtype=torch.float64).share_memory_()
    shared["start"] = torch.tensor(start, dtype=torch.float64)
    if documents:
        gpu.work(a, shared, documents)
    elif a.processes == 1:
        work(0, a, shared, threading.Barrier(1))
    else:
        mp.spawn(work, (a, shared, mp.get_context("spawn").Barrier(a.processes)), nprocs=a.processes)


if __name__ == "__main__":
    main()
