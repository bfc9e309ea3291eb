#!/usr/bin/env python3
"""Draw the loss curves of a log as SVG.

    plot.py LOG.csv OUT.svg [--columns loss,valid_books,...] [--x tokens]

A line a column, empty cells skipped. Needs nothing but Python.
"""
import argparse
import csv
import math

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 400, 60, 40, 20, 150
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # told apart by the colour-blind as well


def ticks(low, high, about=6):
    raw = (high - low) / about or 1
    size = 10.0 ** math.floor(math.log10(raw))
    size *= min((1, 2, 5, 10), key=lambda m: abs(m * size - raw))
    first, out = int(low / size) * size, []
    while first <= high + 1e-9:
        if first >= low - 1e-9:
            out.append(first)
        first += size
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("log")
    ap.add_argument("out")
    ap.add_argument("--columns", default="loss,valid_books,valid_tasks,found")
    ap.add_argument("--x", default="tokens")
    a = ap.parse_args()
    with open(a.log, newline="") as f:
        rows = list(csv.DictReader(f))
    lines = {n: [(float(r[a.x]), float(r[n])) for r in rows if r.get(n)] for n in a.columns.split(",")}
    lines = {n: p for n, p in lines.items() if p}
    xs, ys = ([p[i] for line in lines.values() for p in line] for i in (0, 1))
    x0, x1, y0, y1 = min(xs), max(xs), min(ys), max(ys)
    at_x = lambda x: LEFT + (x - x0) / ((x1 - x0) or 1) * (WIDTH - LEFT - RIGHT)
    at_y = lambda y: HEIGHT - BOTTOM - (y - y0) / ((y1 - y0) or 1) * (HEIGHT - BOTTOM - TOP)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">' % (WIDTH, HEIGHT),
           '<rect width="100%" height="100%" fill="white"/>']
    for x in ticks(x0, x1):
        out.append('<path d="M%.1f %d V%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>' %
                   (at_x(x), TOP, HEIGHT - BOTTOM, at_x(x), HEIGHT - BOTTOM + 16, "%gM" % (x / 1e6) if x1 > 1e5 else "%g" % x))
    for y in ticks(y0, y1):
        out.append('<path d="M%d %.1f H%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g</text>' %
                   (LEFT, at_y(y), WIDTH - RIGHT, LEFT - 6, at_y(y) + 4, round(y, 6)))
    out.append('<text x="%d" y="%d" text-anchor="middle">%s</text>' % ((LEFT + WIDTH - RIGHT) // 2, HEIGHT - 6, a.x))
    for i, (name, points) in enumerate(lines.items()):
        color = COLORS[i % len(COLORS)]
        out.append('<polyline fill="none" stroke="%s" stroke-width="1.5" points="%s"/>' %
                   (color, " ".join("%.1f,%.1f" % (at_x(x), at_y(y)) for x, y in points)))
        out.append('<text x="%d" y="%d" fill="%s">%s</text>' % (WIDTH - RIGHT + 10, TOP + 16 * (i + 1), color, name))
    with open(a.out, "w") as f:
        f.write("\n".join(out) + "\n</svg>\n")


if __name__ == "__main__":
    main()
