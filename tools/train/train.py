#!/usr/bin/env python3
"""Train the model.

    train.py ROWS.npy VALID.npy OUT [--minutes M | --steps N] [--processes P] ...

Data-parallel over single-threaded processes that share one weight vector. Each computes a gradient
from its own rows, then each updates its own stretch of the vector with AdamW. The learning rate
rises for --warmup steps and falls linearly to zero at the end of the run, which is a number of steps
or a time (then measured against the clock, pauses between runs not counted). Logs to OUT/log.csv,
saves OUT/state.pt every few minutes and goes on from it when started again.
"""
import argparse
import csv
import math
import os
import time

import numpy as np
import torch
import torch.multiprocessing as mp

import model

FIELDS = ["step", "tokens", "seconds", "lr", "loss", "valid_loss", "tokens_per_second"]


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("rows")
    ap.add_argument("valid")
    ap.add_argument("out")
    ap.add_argument("--minutes", type=float)
    ap.add_argument("--steps", type=int, default=6000)
    ap.add_argument("--processes", type=int, default=2)
    ap.add_argument("--batch", type=int, default=8, help="rows of 512 tokens a step and process")
    ap.add_argument("--long-from", type=float, default=0.85, help="part of the run after which rows have 1,024 tokens")
    ap.add_argument("--lr", type=float, default=2.5e-3, help="of the matrices")
    ap.add_argument("--embed-lr", type=float, default=5e-3, help="of the embedding and the norms")
    ap.add_argument("--warmup", type=int, default=150)
    ap.add_argument("--decay", type=float, default=0.1)
    ap.add_argument("--clip", type=float, default=1.0)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--log-every", type=int, default=20)
    ap.add_argument("--valid-every", type=int, default=250)
    ap.add_argument("--valid-rows", type=int, default=32, help="of 1,025 tokens, spread over the file, a process")
    ap.add_argument("--save-minutes", type=float, default=4)
    return ap.parse_args()


class Batches:
    """The rows of each step. A pass goes through the rows in a shuffled order twice, first for their
    first halves and then for their second ones. Depends on the seed and the step alone."""

    def __init__(self, a, rank, rows):
        self.a, self.rank, self.rows, self.number, self.order = a, rank, rows, None, None

    def at(self, step, long):
        a, n, out = self.a, len(self.rows), []
        first = (step * a.processes + self.rank) * a.batch
        for k in range(first, first + a.batch, 2 if long else 1):  # k counts half rows
            number, k = divmod(k, 2 * n)
            if number != self.number:
                self.number, self.order = number, np.random.RandomState(a.seed + number).permutation(n)
            row = self.rows[self.order[k % n]]
            out.append(row if long else row[512 * (k // n):512 * (k // n) + 513])
        return torch.from_numpy(np.array(out, np.int64))


def work(rank, a, shared, gate):
    torch.set_num_threads(1)
    c = model.CONFIG
    valid = np.load(a.valid, mmap_mode="r")
    batches = Batches(a, rank, np.load(a.rows, mmap_mode="r"))
    chosen = valid[np.linspace(0, len(valid) - 1, a.valid_rows * a.processes).astype(int)[rank::a.processes]]
    flat, grads, numbers = shared["flat"], shared["grads"], shared["numbers"]
    weights = model.Weights(c, flat)
    mine = slice(len(flat) * rank // a.processes, len(flat) * (rank + 1) // a.processes)
    scale = torch.empty(len(flat))  # learning rates and decay of each weight, in units of a.lr
    decay = torch.zeros(len(flat))
    for kind, (lo, hi) in weights.kinds.items():
        scale[lo:hi] = 1 if kind == "matrix" else a.embed_lr / a.lr
        decay[lo:hi] = 0 if kind == "norm" else a.decay
    scale, decay = scale[mine], decay[mine] * scale[mine]
    m, v = shared["m"][mine], shared["v"][mine]
    half = {k: t.to(torch.bfloat16) if t.dim() > 1 else t.clone() for k, t in weights.at.items()}
    half = {k: t.requires_grad_() for k, t in half.items()}
    grad_views = model.Weights(c, grads[rank]).at

    step, tokens, spent = (int(shared["start"][i]) for i in range(3))
    began, last_save, last_log, last_tokens = time.time() - spent, time.time(), time.time(), tokens
    running, count = 0.0, 0
    log = None
    if rank == 0:
        path = os.path.join(a.out, "log.csv")
        log = open(path, "a", newline="")
        writer = csv.writer(log)
        if not log.tell():
            writer.writerow(FIELDS)
    while True:
        if rank == 0:
            seconds = time.time() - began
            numbers[0] = seconds / (60 * a.minutes) if a.minutes else step / a.steps
        gate.wait()
        done = float(numbers[0])
        with torch.no_grad():
            for k, t in half.items():
                t.copy_(weights.at[k])
                t.grad = None
        valid_due = step % a.valid_every == 0 or done >= 1
        if valid_due:
            with torch.no_grad():
                total = sum(float(model.loss_sum(c, half, torch.from_numpy(chosen[i:i + 4].astype(np.int64))))
                            for i in range(0, len(chosen), 4))
                numbers[2 + rank] = total
                numbers[10 + rank] = int((chosen[:, 1:] != 0).sum())
        if done >= 1:
            gate.wait()
            if rank == 0:
                final = float(numbers[2:2 + a.processes].sum() / numbers[10:10 + a.processes].sum())
                writer.writerow([step, tokens, int(seconds), 0, "", "%.4f" % final, ""])
                log.close()
                save(a, shared, step, tokens, seconds)
            return
        batch = batches.at(step, done >= a.long_from)
        n = int((batch[:, 1:] != 0).sum())
        loss = model.loss_sum(c, half, batch)
        (loss / n).backward()
        for k, t in half.items():
            grad_views[k].copy_(t.grad)
        numbers[18 + rank], numbers[26 + rank] = float(loss), n
        gate.wait()
        total_n = float(numbers[26:26 + a.processes].sum())
        g = grads[0][mine] * (float(numbers[26]) / total_n)
        for r in range(1, a.processes):
            g.add_(grads[r][mine], alpha=float(numbers[26 + r]) / total_n)
        numbers[34 + rank] = float(g.square().sum())
        gate.wait()
        norm = math.sqrt(float(numbers[34:34 + a.processes].sum()))
        lr = a.lr * min(1, (step + 1) / a.warmup) * (1 - done)
        step += 1
        tokens += int(total_n)
        if math.isfinite(norm):
            g.mul_(min(1, a.clip / (norm + 1e-6)))
            m.lerp_(g, 0.1)
            v.mul_(0.95).addcmul_(g, g, value=0.05)
            update = (v / (1 - 0.95 ** step)).sqrt_().add_(1e-8).reciprocal_().mul_(m).mul_(scale).div_(1 - 0.9 ** step)
            flat[mine] = flat[mine] * (1 - lr * decay) - lr * update
        running += float(numbers[18:18 + a.processes].sum() / total_n)
        count += 1
        if rank == 0 and (step % a.log_every == 0 or valid_due):
            now = time.time()
            shown = "%.4f" % float(numbers[2:2 + a.processes].sum() / numbers[10:10 + a.processes].sum()) \
                if valid_due else ""
            writer.writerow([step, tokens, int(now - began), "%.6f" % lr, "%.4f" % (running / count), shown,
                             int((tokens - last_tokens) / (now - last_log))])
            log.flush()
            running, count, last_log, last_tokens = 0.0, 0, now, tokens
        gate.wait()
        if rank == 0 and time.time() - last_save > 60 * a.save_minutes:
            save(a, shared, step, tokens, time.time() - began)
            last_save = time.time()


def save(a, shared, step, tokens, seconds):
    """Called by process 0 while the other one waits or only reads."""
    path = os.path.join(a.out, "state.pt")
    state = {k: shared[k].clone() for k in ("flat", "m", "v")}
    torch.save({"config": model.CONFIG, "step": step, "tokens": tokens, "seconds": seconds, **state}, path + ".new")
    os.replace(path + ".new", path)


def main():
    a = arguments()
    os.makedirs(a.out, exist_ok=True)
    n = model.count(model.CONFIG)
    shared = {"flat": torch.zeros(n), "m": torch.zeros(n), "v": torch.zeros(n),
              "grads": torch.zeros(a.processes, n), "numbers": torch.zeros(64, dtype=torch.float64),
              "start": torch.zeros(3, dtype=torch.float64)}
    path = os.path.join(a.out, "state.pt")
    if os.path.exists(path):
        state = torch.load(path)
        for k in ("flat", "m", "v"):
            shared[k].copy_(state[k])
        shared["start"].copy_(torch.tensor([state["step"], state["tokens"], state["seconds"]]))
    else:
        model.Weights(model.CONFIG, shared["flat"]).init(a.seed)
    print("%d parameters, from step %d" % (n, int(shared["start"][0])), flush=True)
    for t in shared.values():
        t.share_memory_()
    mp.spawn(work, (a, shared, mp.get_context("spawn").Barrier(a.processes)), nprocs=a.processes)


if __name__ == "__main__":
    main()
