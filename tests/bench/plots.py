# SPDX-License-Identifier: BSD-2-Clause
"""The plots of the report, each as a piece of HTML with an SVG drawing to be put into the page.

Text stays text, so that the page can be searched and uses the reader's font. Each figure salts the
ids inside it: one page holds them all.
"""
import io

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot, ticker  # noqa: E402  (after the choice of how to draw)

COLOURS = {"sluice": "#0b6e99", "spdk": "#d9822b", "qemu-storage-daemon": "#8a8f98",
           "qemu": "#8aa65a", "fio": "#c9b458", "sluice-always": "#9b5fa5", "sluice-2": "#5aa0bd",
           "bare": "#8a8f98"}
NAMES = {"sluice": "Sluice", "spdk": "SPDK", "qemu-storage-daemon": "qemu-storage-daemon",
         "qemu": "QEMU", "fio": "fio alone", "sluice-always": "Sluice, polling always",
         "sluice-2": "Sluice, two data threads", "bare": "no volume"}
pyplot.rcParams.update({
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#999999",
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#e6e6e6", "axes.titlesize": 10,
    "axes.titleweight": "bold", "legend.frameon": False, "figure.constrained_layout.use": True})


def svg(figure, name):
    text = io.StringIO()
    with pyplot.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    pyplot.close(figure)
    drawing = text.getvalue()
    return drawing[drawing.index("<svg"):]


def name_of(target):
    return NAMES.get(target, target)


def order(rows):
    """Targets in the order of the colours, ours first."""
    present = {row["target"] for row in rows}
    return [name for name in COLOURS if name in present]


def human(value, _position=None):
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= scale:
            return f"{value / scale:g}{unit}"
    return f"{value:g}"


def bars(axes, rows, label_of, figure, scale=1.0, digits=None):
    """Groups of bars, one bar a target: the median, with a line from worst to best."""
    labels = list(dict.fromkeys(label_of(row) for row in rows))
    present = order(rows)
    width = 0.8 / max(1, len(present))
    for place, target in enumerate(present):
        for row in rows:
            if row["target"] != target or figure not in row["median"]:
                continue
            x = labels.index(label_of(row)) + (place - (len(present) - 1) / 2) * width
            values = [run[figure] * scale for run in row["runs"] if figure in run]
            middle = row["median"][figure] * scale
            axes.bar(x, middle, width * 0.92, color=COLOURS[target])
            axes.plot([x, x], [min(values), max(values)], color="#333333", linewidth=0.8)
            text = f"{middle:.{digits}f}" if digits is not None else human(float(f"{middle:.2g}"))
            axes.annotate(text, (x, middle), ha="center", va="bottom", fontsize=6.5,
                          xytext=(0, 1), textcoords="offset points")
    axes.set_xticks(range(len(labels)), labels)
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(human))
    axes.grid(axis="x", visible=False)


def legend(rows):
    """HTML, above the drawing: it wraps where a page is narrow."""
    marks = "".join(f"<span><i style='background:{COLOURS[name]}'></i>{name_of(name)}</span>"
                    for name in order(rows))
    return f"<div class=legend>{marks}</div>"


def panels(rows, split, label_of, figure, title, **options):
    """One panel for each value of `split`, side by side."""
    keys = list(dict.fromkeys(split(row) for row in rows))
    if not keys:
        return None
    columns = min(4, len(keys))
    lines = -(-len(keys) // columns)
    drawing, grid = pyplot.subplots(lines, columns, squeeze=False,
                                    figsize=(2.9 * columns + 0.4, 2.5 * lines + 0.4))
    for place, key in enumerate(keys):
        axes = grid[place // columns][place % columns]
        bars(axes, [row for row in rows if split(row) == key], label_of, figure, **options)
        axes.set_title(key)
    for place in range(len(keys), lines * columns):
        grid[place // columns][place % columns].axis("off")
    return legend(rows) + svg(drawing, title)


def curves(axes, rows, x_of, figure, scale=1.0, logarithmic=True):
    for target in order(rows):
        points = sorted((x_of(row), row["median"][figure] * scale) for row in rows
                        if row["target"] == target and figure in row["median"])
        axes.plot(*zip(*points), marker="o", markersize=3.5, color=COLOURS[target])
    if logarithmic:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(human))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(human))


def two_curves(rows, x_of, x_name, figures, title, y_logarithmic=(False, False)):
    """Two figures over the same axis, side by side: (name, title, scale) each."""
    if not rows:
        return None
    drawing, grid = pyplot.subplots(1, 2, figsize=(9, 2.9))
    for axes, (figure, name, scale), logarithmic in zip(grid, figures, y_logarithmic):
        curves(axes, rows, x_of, figure, scale)
        axes.set_title(name)
        axes.set_xlabel(x_name)
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(ticker.FuncFormatter(human))
        else:
            axes.set_ylim(bottom=0)
    return legend(rows) + svg(drawing, title)


def one_curve(rows, x_of, x_name, figure, name, scale, title):
    """One figure over an axis that is logarithmic, from 0 up."""
    drawing, axes = pyplot.subplots(figsize=(4.6, 2.9))
    curves(axes, rows, x_of, figure, scale)
    axes.set_title(name)
    axes.set_xlabel(x_name)
    axes.set_ylim(bottom=0)
    return legend(rows) + svg(drawing, title)


def horizontal(rows, label_of, figures, title):
    """One panel a figure, one bar a row; the labels stand once, at the left."""
    if not rows:
        return None
    drawing, grid = pyplot.subplots(1, len(figures), sharey=True, squeeze=False,
                                    figsize=(10, 0.34 * len(rows) + 0.9))
    for axes, (figure, name, scale) in zip(grid[0], figures):
        for place, row in enumerate(reversed(rows)):
            value = row["median"].get(figure, 0) * scale
            axes.barh(place, value, 0.7, color=COLOURS[row["target"]])
            axes.annotate(human(float(f"{value:.3g}")), (value, place), va="center", fontsize=7,
                          xytext=(2, 0), textcoords="offset points")
        axes.set_yticks(range(len(rows)), [label_of(row) for row in reversed(rows)])
        axes.set_title(name)
        axes.margins(x=0.2)
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(human))
        axes.grid(axis="y", visible=False)
    return svg(drawing, title)


def cache_lines(lines):
    drawing, axes = pyplot.subplots(figsize=(6, 2.7))
    counts = [batch["lines"] for batch in lines["batches"]]
    for name, label, colour in (("read_ns", "written by one core, read by the other", "#0b6e99"),
                                ("exchange_ns", "read and written by both in turn", "#d9822b")):
        axes.plot(counts, [batch[name] for batch in lines["batches"]], marker="o", markersize=3.5,
                  color=colour, label=label)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(human))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(human))
    axes.set_xlabel("lines in a batch")
    axes.set_title("ns per line")
    axes.legend()
    return svg(drawing, "cache lines")
