#!/usr/bin/env python3
"""Draws dashboards as Grafana would lay them out, with a Prometheus's data, and takes a picture of each.

For those who write dashboards and have no Grafana at hand:

    tests/look_at_dashboards.py [--prometheus URL] [--range 1h] [--out target/screenshots] dashboards/*.json

It asks every query of every panel, draws the answers as HTML and SVG in Grafana's grid and dark colours, and has Chromium take a
picture. What nobody can see in a picture it tells: queries that fail, panels without data, units that Grafana does not know, legends
that do not fit. It ends with 1 when there is such a thing. It draws to be judged by, and is no Grafana: fonts and distances are near.
"""

import argparse
import concurrent.futures
import html
import json
import math
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

WIDTH, CELL, GAP = 1600, 30, 8
PALETTE = ("#73BF69 #F2CC0C #8AB8FF #FF780A #F2495C #5794F2 #B877D9 #705DA0 #37872D #FADE2A #447EBC #C15C17 #890F02 #0A437C #6D1F62 "
           "#584477 #B7DBAB #F4D598 #70DBED #F9BA8F").split()
COLORS = {"green": "#73BF69", "red": "#F2495C", "orange": "#FF9830", "yellow": "#FADE2A", "blue": "#5794F2", "purple": "#B877D9",
          "text": "#CCCCDC", "gray": "#808080", "grey": "#808080", "white": "#fff", "black": "#000", "transparent": "transparent"}
SHADES = {"dark": 0.7, "semi-dark": 0.85, "light": 1.2, "super-light": 1.4}
UNITS = set("short none s ms m h d percent percentunit bytes decbytes bits Bps binBps cps ops reqps rps wps iops opm cpm rpm currencyUSD dateTimeFromNow "
            "dateTimeAsIso dateTimeAsLocal bool bool_yes_no bool_on_off string locale dtdurations dthms clocks µs ns eps mps rowsps".split())


def color(name):
    if name.startswith("#") or name.startswith("rgb"):
        return name
    for shade, factor in SHADES.items():
        if name.startswith(shade + "-"):
            base = COLORS.get(name[len(shade) + 1:], "#5794F2")
            parts = [min(255, int(int(base[i:i + 2], 16) * factor)) for i in (1, 3, 5)]
            return "#%02x%02x%02x" % tuple(parts)
    return COLORS.get(name, "#5794F2")


def plain(value, decimals):
    if decimals is None:
        size = abs(value)
        decimals = 0 if value == int(value) or size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3
        text = f"{value:.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{decimals}f}"


def scaled(value, decimals, base, names):
    step = 0
    while abs(value) >= base and step < len(names) - 1:
        value, step = value / base, step + 1
    return plain(value, decimals) + names[step]


def seconds(value, decimals):
    size = abs(value)
    if size == 0:
        return "0 s"
    for limit, unit, name in ((1e-6, 1e-9, " ns"), (1e-3, 1e-6, " µs"), (1, 1e-3, " ms"), (60, 1, " s"), (3600, 60, " mins"), (86400, 3600, " hours"),
                              (604800, 86400, " days"), (31536000, 604800, " weeks"), (math.inf, 31536000, " years")):
        if size < limit:
            return plain(value / unit, decimals) + name
    return ""


def show(value, field):
    """A value as Grafana shows it with the unit, after mappings."""
    unit, decimals = field.get("unit") or "short", field.get("decimals")
    for mapping in field.get("mappings") or []:
        if mapping["type"] == "value":
            for key, result in mapping["options"].items():
                if (isinstance(value, str) and key == value) or (isinstance(value, float) and re.fullmatch(r"-?[\d.]+", key) and float(key) == value):
                    if result.get("text") is not None:
                        return result["text"]
    if value is None or isinstance(value, float) and math.isnan(value):
        return "NaN" if value is not None else field.get("noValue", "-")
    if isinstance(value, str):
        return value
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if unit in ("none", "string", "locale"):
        return plain(value, decimals)
    if unit == "short":
        return scaled(value, decimals, 1000, ["", " K", " Mil", " Bil", " Tri"])
    if unit in ("s", "dtdurations", "clocks", "dthms"):
        return seconds(value, decimals)
    if unit in ("ms", "µs", "ns", "m", "h", "d"):
        return seconds(value * {"ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "m": 60, "h": 3600, "d": 86400}[unit], decimals)
    if unit in ("percentunit", "percent"):
        return plain(value * (100 if unit == "percentunit" else 1), decimals) + "%"
    if unit in ("bytes", "binBps"):
        return scaled(value, decimals, 1024, [" B", " KiB", " MiB", " GiB", " TiB"]) + ("/s" if unit == "binBps" else "")
    if unit in ("decbytes", "Bps", "bits"):
        return scaled(value, decimals, 1000, [" B", " kB", " MB", " GB", " TB"]) + ("/s" if unit == "Bps" else "")
    if unit == "currencyUSD":
        return "$" + scaled(value, decimals, 1000, ["", "K", "M", "B"])
    if unit == "dateTimeFromNow":
        return seconds(abs(time.time() - value / 1000), 0) + " ago"
    if unit.startswith("dateTime"):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(value / 1000))
    if unit.startswith("bool"):
        return "True" if value else "False"
    suffix = {"cps": " c/s", "ops": " ops/s", "reqps": " req/s", "rps": " rd/s", "wps": " wr/s", "iops": " io/s", "opm": " ops/min", "cpm": " c/min",
              "rpm": " req/min", "eps": " evt/s", "mps": " msg/s", "rowsps": " rows/s"}.get(unit)
    return scaled(value, decimals, 1000, ["", "K", "M", "B"]) + (suffix if suffix else " " + unit)


def shade(value, field, fallback):
    """The colour of a value: of its mapping, of its threshold, or the field's."""
    for mapping in field.get("mappings") or []:
        if mapping["type"] == "value":
            for key, result in mapping["options"].items():
                if (isinstance(value, str) and key == value) or (isinstance(value, float) and re.fullmatch(r"-?[\d.]+", key) and float(key) == value):
                    if result.get("color"):
                        return color(result["color"])
    mode = (field.get("color") or {}).get("mode")
    if mode == "fixed":
        return color(field["color"].get("fixedColor", "blue"))
    if mode == "thresholds" and isinstance(value, float):
        found = fallback
        for step in field["thresholds"]["steps"]:
            if step["value"] is None or value >= step["value"]:
                found = color(step["color"])
        return found
    return fallback


class Prometheus:
    def __init__(self, url, span):
        self.url, self.span = url, span
        self.end = int(time.time())

    def ask(self, path, **parameters):
        request = self.url + "/api/v1/" + path + "?" + urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return json.load(reply)["data"]["result"], None
        except urllib.error.HTTPError as error:
            return [], json.load(error).get("error", str(error))

    def query(self, panel, target):
        """Series as (labels, [(time, value)]) and what went wrong."""
        step = max(60, self.span // 180)
        scrape = 60 if target.get("interval") else 15
        expr = target["expr"]
        for name, value in (("__rate_interval", max(step + scrape, 4 * scrape)), ("__interval", step), ("__range_s", self.span), ("__range", self.span)):
            expr = re.sub(r"\$\{?" + name + r"\b\}?", f"{value}" + ("" if name.endswith("_s") else "s"), expr)
        expr = re.sub(r"\$\{job(:\w+)?\}|\$job\b", ".+", expr)
        expr = re.sub(r"\$\{[a-z]\w*(:\w+)?\}|\$[a-z]\w*", ".*", expr)
        if target.get("range"):
            result, error = self.ask("query_range", query=expr, start=self.end - self.span, end=self.end, step=step)
            series = [(r["metric"], [(float(t), float(v)) for t, v in r["values"]]) for r in result]
        else:
            result, error = self.ask("query", query=expr, time=self.end)
            series = [(r["metric"], [(float(r["value"][0]), float(r["value"][1]))]) for r in result]
        return series, error


def named(target, labels, count):
    legend = target.get("legendFormat") or "__auto"
    if legend == "__auto":
        rest = {key: value for key, value in labels.items() if key != "__name__"}
        return ("{" + ", ".join(f'{k}="{v}"' for k, v in sorted(rest.items())) + "}") if rest else target["expr"]
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda match: labels.get(match[1], ""), legend)


class Board:
    def __init__(self, board, prometheus, titles):
        self.board, self.prometheus, self.titles, self.findings = board, prometheus, titles, []

    def tell(self, panel, words):
        self.findings.append(f"{self.board['title']} / {panel['title']}: {words}")

    def panels(self):
        """Panels and rows in the order of the grid; collapsed rows are opened."""
        shift, placed = 0, []
        for panel in self.board["panels"]:
            place = dict(panel["gridPos"])
            place["y"] += shift
            placed.append((panel, place))
            inner = panel.get("panels") or []
            for one in inner:
                within = dict(one["gridPos"])
                within["y"] += shift
                placed.append((one, within))
            if inner:
                shift += max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in inner) - panel["gridPos"]["y"] - 1
        return placed

    def page(self):
        placed = self.panels()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            bodies = list(pool.map(lambda pair: self.panel(*pair), placed))
        self.overlaps(placed)
        height = max(place["y"] + place["h"] for _, place in placed) * (CELL + GAP) + 110
        choices = " ".join(f'<span class="var"><b>{html.escape(v.get("label") or v["name"])}</b> All</span>'
                           for v in self.board["templating"]["list"] if not v.get("hide"))
        links = " ".join(f'<span class="var">{html.escape(link["title"])} ▾</span>' for link in self.board["links"])
        return (f"<!doctype html><meta charset=utf-8><style>{STYLE}</style><h1>{html.escape(self.board['title'])}</h1>"
                f'<div class=bar>{choices}<span class=right>{links}</span></div><div class=grid>{"".join(bodies)}</div>'), height

    def overlaps(self, placed):
        taken = {}
        for panel, place in placed:
            for x in range(place["x"], place["x"] + place["w"]):
                for y in range(place["y"], place["y"] + place["h"]):
                    if x >= 24 or taken.setdefault((x, y), panel["id"]) != panel["id"]:
                        return self.tell(panel, "stands on another panel or beyond the grid")

    def panel(self, panel, place):
        unit = (WIDTH - 2 * 16 + GAP) / 24
        x, y = place["x"] * unit, place["y"] * (CELL + GAP)
        w, h = place["w"] * unit - GAP, place["h"] * (CELL + GAP) - GAP
        style = f"left:{x:.0f}px;top:{y:.0f}px;width:{w:.0f}px;height:{h:.0f}px"
        if panel["type"] == "row":
            mark = " (collapsed)" if panel["collapsed"] else ""
            return f'<div class=row style="{style}">⌄ {html.escape(panel["title"])}{mark}</div>'
        try:
            body = self.body(panel, int(w) - 16, int(h) - 40)
        except Exception as error:  # A panel that cannot be drawn must not hide the others.
            self.tell(panel, f"cannot be drawn: {error!r}")
            body = f"<p class=none>{html.escape(repr(error))}</p>"
        info = " <i>(i)</i>" if panel.get("description") else ""
        link = " <i>↗</i>" if panel.get("links") else ""
        return f'<div class=panel style="{style}"><h2>{html.escape(panel["title"])}{info}{link}</h2><div class=body>{body}</div></div>'

    def body(self, panel, w, h):
        kind = panel["type"]
        if kind == "text":
            text = html.escape(panel["options"]["content"])
            text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", re.sub(r"\[(.+?)\]\((.+?)\)", r"<u>\1</u>", text))
            return "<p>" + text.replace("\n\n", "<p>") + "</p>"
        if kind == "dashlist":
            return "".join(f"<p class=board>▦ {html.escape(title)}</p>" for title in sorted(self.titles))
        field = panel["fieldConfig"]["defaults"]
        for unit in [field.get("unit")] + [p["value"] for o in panel["fieldConfig"]["overrides"] for p in o["properties"] if p["id"] == "unit"]:
            if unit and unit not in UNITS and not re.match(r"(suffix|prefix|count|currency|time|si):|currency", unit):
                self.tell(panel, f"unit `{unit}` is unknown here; does Grafana know it?")
        answers = []
        for target in panel["targets"]:
            series, error = self.prometheus.query(panel, target)
            if error:
                self.tell(panel, f"{target['refId']}: {error}")
            if not target.get("hide"):
                answers.append((target, series))
        series = [(named(target, labels, len(found)), labels, points) for target, found in answers for labels, points in found]
        if not series:
            if not field.get("noValue"):
                self.tell(panel, "no data, and nothing says until when")
            return f"<p class=none>{html.escape(field.get('noValue', 'No data'))}</p>"
        if all(math.isnan(points[-1][1]) for _, _, points in series):
            self.tell(panel, "nothing but NaN")
        if kind == "table":
            return self.table(panel, answers)
        if kind == "heatmap":
            return self.heatmap(panel, series, w, h)
        names = [name for name, _, _ in series]
        if len(set(names)) < len(names):
            self.tell(panel, f"two series are called {max(names, key=names.count)!r}")
        draw = {"stat": self.stat, "gauge": self.gauge, "bargauge": self.bars, "barchart": self.columns, "piechart": self.pie,
                "timeseries": self.lines, "state-timeline": self.timeline}[kind]
        return draw(panel, field, self.coloured(panel, series), w, h)

    def coloured(self, panel, series):
        """Series as (name, points, colour by name or None)."""
        found = []
        for name, _, points in series:
            own = None
            for override in panel["fieldConfig"]["overrides"]:
                pattern = override["matcher"]["options"]
                for item in override["properties"]:
                    if item["id"] == "color" and override["matcher"]["id"] == "byRegexp" and re.search(pattern.strip("/"), name):
                        own = color(item["value"]["fixedColor"])
                    if item["id"] == "mappings" and panel["type"] == "barchart":
                        for mapping in item["value"]:
                            if re.search(mapping["options"]["pattern"].strip("/"), name):
                                own = color(mapping["options"]["result"]["color"])
            found.append((name, points, own))
        return found

    def stat(self, panel, field, series, w, h):
        if len(series) > max(1, w // 70):
            self.tell(panel, f"{len(series)} numbers in a stat {w} pixels wide; a bargauge or a table reads better")
        each = []
        for name, points, own in series:
            value = points[-1][1]
            text = show(value, field)
            size = max(12, min(h * 0.6, 1.6 * (w / len(series)) / max(3, len(text)), 64))
            label = f"<small>{html.escape(name)}</small>" if len(series) > 1 else ""
            each.append(f'<div style="color:{own or shade(value, field, color("text"))}">{label}<b style="font-size:{size:.0f}px">{html.escape(text)}</b></div>')
        return f'<div class=stats>{"".join(each)}</div>'

    def gauge(self, panel, field, series, w, h):
        each = []
        room = w / len(series)
        for name, points, own in series:
            value = points[-1][1]
            low, high = field.get("min", 0), field.get("max", max(100, value) if field.get("unit") != "percentunit" else max(1, value))
            part = 0 if math.isnan(value) else min(1, max(0, (value - low) / ((high - low) or 1)))
            r = min(room / 2 - 8, h - 24)
            cx, cy = room / 2, h - 12
            end = math.pi * (1 - part)
            arc = lambda a, b, c: (f'<path d="M{cx + r * math.cos(a):.1f},{cy - r * math.sin(a):.1f} A{r:.1f},{r:.1f} 0 0 1 {cx + r * math.cos(b):.1f},'
                                   f'{cy - r * math.sin(b):.1f}" stroke="{c}" stroke-width="{r / 4:.0f}" fill=none />')
            hue = own or shade(value, field, color("blue"))
            label = f'<text x="{cx}" y="{h}" text-anchor=middle font-size=11>{html.escape(name)}</text>' if len(series) > 1 else ""
            each.append(f'<svg width="{room:.0f}" height="{h + 4}">{arc(math.pi, 0, "#2c2f36")}{arc(math.pi, end, hue) if part else ""}<text x="{cx}" y="{cy - 4}" '
                        f'text-anchor=middle fill="{hue}" style="font-size:{max(14, r / 3):.0f}px">{html.escape(show(value, field))}</text>{label}</svg>')
        return "".join(each)

    def bars(self, panel, field, series, w, h):
        values = [points[-1][1] for _, points, _ in series if not math.isnan(points[-1][1])]
        high = field.get("max", max(values, default=1)) or 1
        fits = h // 20
        if len(series) > fits:
            self.tell(panel, f"{len(series)} bars, and room for {fits}; they scroll")
        lines = []
        for name, points, own in series:
            value = points[-1][1]
            hue = own or shade(value, field, color("blue"))
            part = 0 if math.isnan(value) else 100 * min(1, max(0, value / high))
            lines.append(f'<tr><td class=name>{html.escape(name)}<td width="50%"><div class=track><div style="width:{part:.1f}%;background:{hue}"></div></div>'
                         f'<td class=value style="color:{hue}">{html.escape(show(value, field))}')
        return f"<table class=bars>{''.join(lines)}</table>"

    def columns(self, panel, field, series, w, h):
        rows = sorted(((points[-1][1], name, own) for name, points, own in series), key=lambda row: -row[0])
        high = max((row[0] for row in rows if not math.isnan(row[0])), default=1) or 1
        step = (w - 50) / len(rows)
        out = []
        if max(len(name) for _, name, _ in rows) * 7 > step and len(rows) > 1:
            self.tell(panel, "names below the columns are longer than the columns are wide; a bargauge reads better")
        for index, (value, name, own) in enumerate(rows):
            size = (h - 40) * max(0, value) / high if not math.isnan(value) else 0
            x = 50 + index * step
            hue = own or shade(value, field, color("blue"))
            out.append(f'<rect x="{x + step * .1:.0f}" y="{h - 20 - size:.0f}" width="{step * .8:.0f}" height="{size:.0f}" fill="{hue}"/><text x="{x + step / 2:.0f}" '
                       f'y="{h - 24 - size:.0f}" text-anchor=middle>{html.escape(show(value, field))}</text><text x="{x + step / 2:.0f}" y="{h - 6}" text-anchor=middle>'
                       f"{html.escape(name[:max(3, int(step / 6))])}</text>")
        return f'<svg width="{w}" height="{h}">{"".join(out)}</svg>'

    def pie(self, panel, field, series, w, h):
        rows = sorted(((points[-1][1], name, own or PALETTE[i % len(PALETTE)]) for i, (name, points, own) in enumerate(series)
                       if not math.isnan(points[-1][1]) and points[-1][1] > 0), key=lambda row: -row[0])
        total = sum(row[0] for row in rows)
        if not total:
            return "<p class=none>all 0</p>"
        r, angle, out = (min(h, w / 2) / 2 - 6) / 1.25, -math.pi / 2, []
        if len(rows) > 10:
            self.tell(panel, f"a pie of {len(rows)} parts; nobody can compare them")
        for value, name, hue in rows:
            turn = min(value / total, 0.99999) * 2 * math.pi
            x1, y1, x2, y2 = (f(a) for a in (angle, angle + turn) for f in (math.cos, math.sin))
            out.append(f'<path d="M{r * x1:.1f},{r * y1:.1f} A{r:.1f},{r:.1f} 0 {int(turn > math.pi)} 1 {r * x2:.1f},{r * y2:.1f}" transform="translate({r * 1.25 + 4:.0f},{h / 2})" '
                       f'stroke="{hue}" stroke-width="{r / 2:.0f}" fill=none />')
            angle += turn
        legend = "".join(f'<tr><td><span class=dot style="background:{hue}"></span>{html.escape(name)}<td>{html.escape(show(value, field))}<td>{100 * value / total:.0f}%'
                         for value, name, hue in rows)
        return f'<div class=side><svg width="{r * 2.5 + 8:.0f}" height="{h}" style="flex:none">{"".join(out)}</svg><table class=legend>{legend}</table></div>'

    def legend(self, panel, field, series, h):
        """The legend's HTML and its height."""
        options = panel["options"].get("legend") or {}
        if not options.get("showLegend"):
            return "", 0
        if options.get("displayMode") == "table":
            head = "<tr><td><th>Last *<th>Max<th>Mean"
            rows = []
            for name, points, hue in series:
                values = [v for _, v in points if not math.isnan(v)]
                calcs = [values[-1], max(values), sum(values) / len(values)] if values else [None] * 3
                cells = "".join(f"<td>{html.escape(show(value, field))}" for value in calcs)
                rows.append(f'<tr><td><span class=dot style="background:{hue}"></span>{html.escape(name)}{cells}')
            beside = options.get("placement") == "right"
            room = h if beside else h * 0.45
            size = h if beside else min(room, 18 + 18 * len(series))
            if 18 * len(series) > room:
                self.tell(panel, f"a legend of {len(series)} lines scrolls")
            return f'<div style="height:{size:.0f}px;overflow:hidden"><table class=legend>{head}{"".join(rows)}</table></div>', size
        text = "".join(f'<span class=item><span class=dot style="background:{hue}"></span>{html.escape(name)}</span>' for name, _, hue in series)
        lines = 1 + sum(len(name) * 6.5 + 26 for name, _, _ in series) // 700
        if len(series) > 20:
            self.tell(panel, f"{len(series)} series; topk or a table reads better")
        size = min(h * 0.35, 18 * lines)
        return f'<div style="height:{size:.0f}px;overflow:hidden">{text}</div>', size

    def scale(self, field, values, h, custom):
        values = [v for v in values if not math.isnan(v) and not math.isinf(v)] or [0, 1]
        low, high = field.get("min", min(values)), field.get("max", max(values))
        if "axisSoftMin" in custom:
            low = min(low, custom["axisSoftMin"])
        is_log = custom.get("scaleDistribution", {}).get("type") == "log"
        if is_log:
            low = min((v for v in values if v > 0), default=0.1)
            low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(max(high, low * 10)))
            ticks = [low * 10 ** i for i in range(int(round(math.log10(high / low))) + 1)]
            return (lambda v: h - 4 - (h - 10) * (math.log10(max(v, low) / low) / math.log10(high / low))), ticks
        if high <= low:
            high = low + 1
        raw = (high - low) / max(2, min(5, h // 35))
        power = 10 ** math.floor(math.log10(raw))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw)
        if "min" not in field:
            low = math.floor(low / step) * step
        if "max" not in field:
            high = math.ceil(high / step) * step
        ticks, at = [], math.ceil(low / step) * step
        while at <= high * 1.0001 + 1e-12:
            ticks.append(round(at, 12))
            at += step
        return (lambda v: h - 4 - (h - 10) * ((v - low) / (high - low))), ticks

    def axes(self, field, place, ticks, w, h, left, names=None):
        out = []
        for tick in ticks:
            label = show(float(tick), {**field, "mappings": []})
            out.append(f'<line x1="{left}" x2="{w}" y1="{place(tick):.1f}" y2="{place(tick):.1f}" stroke="#2a2c33"/><text x="{left - 6}" y="{place(tick) + 4:.1f}" '
                       f"text-anchor=end>{html.escape(label)}</text>")
        return "".join(out) + self.moments(w, h, left)

    def moments(self, w, h, left):
        out, count = [], max(2, (w - left) // 90)
        for index in range(count + 1):
            at = self.prometheus.end - self.prometheus.span * (1 - index / count)
            x = left + (w - left) * index / count
            anchor = "end" if index == count else "middle"
            out.append(f'<text x="{x:.0f}" y="{h + 12}" text-anchor={anchor}>{time.strftime("%H:%M", time.gmtime(at))}</text>')
        return "".join(out)

    def x(self, at, w, left):
        return left + (w - left) * (at - self.prometheus.end + self.prometheus.span) / self.prometheus.span

    def lines(self, panel, field, series, w, h):
        series = [(name, points, own or (color(field["color"]["fixedColor"]) if field["color"]["mode"] == "fixed" else PALETTE[i % len(PALETTE)]))
                  for i, (name, points, own) in enumerate(series)]
        legend, below = self.legend(panel, field, series, h)
        beside = panel["options"]["legend"].get("placement") == "right"
        full = w
        w, h = (int(w * 0.6), h - 18) if beside else (w, h - int(below) - 18)
        custom = field["custom"]
        stacked, base = custom["stacking"]["mode"] == "normal", {}
        drawn = []
        dashes = {}
        for name, points, hue in series:
            set_for = {item["id"]: item["value"] for override in panel["fieldConfig"]["overrides"] if re.search(override["matcher"]["options"].strip("/"), name)
                       for item in override["properties"]}
            is_dashed = set_for.get("custom.lineStyle", {}).get("fill") == "dash"
            if is_dashed:
                dashes[len(drawn)] = True
                drawn.append((points, [(t, 0) for t, _ in points], hue))
                continue
            under = [(t, base.get(t, 0)) for t, _ in points]
            if stacked:
                points = [(t, v + base.get(t, 0)) for t, v in points if not math.isnan(v)]
                under = [(t, base.get(t, 0)) for t, _ in points]
                base.update(points)
            drawn.append((points, under, hue))
        place, ticks = self.scale(field, [v for points, _, _ in drawn for _, v in points], h, custom)
        left = 12 + 7 * max(len(show(float(tick), {**field, "mappings": []})) for tick in ticks)
        out = [self.axes(field, place, ticks, w, h, left)]
        step = max(60, self.prometheus.span // 180)
        for index, (points, under, hue) in reversed(list(enumerate(drawn))):
            if custom["drawStyle"] == "bars":
                wide = max(1, (w - left) * step / self.prometheus.span * 0.8)
                for (t, v), (_, u) in zip(points, under):
                    if not math.isnan(v):
                        top, bottom = place(v), place(u if stacked else 0)
                        begin, end = max(left, self.x(t, w, left) - wide / 2), min(w, self.x(t, w, left) + wide / 2)
                        out.append(f'<rect x="{begin:.1f}" y="{top:.1f}" width="{end - begin:.1f}" height="{max(0, bottom - top):.1f}" fill="{hue}" opacity=.8 />')
                continue
            runs, last = [[]], None
            for (t, v), (_, u) in zip(points, under):
                if math.isnan(v) or math.isinf(v) or (last and t - last > step * 1.5):
                    runs.append([])
                if not math.isnan(v) and not math.isinf(v):
                    runs[-1].append((self.x(t, w, left), place(v), place(u)))
                last = t
            for run in filter(None, runs):
                line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in run)
                floor = [(x, u if stacked else place(ticks[0])) for x, _, u in reversed(run)]
                fill = line + " " + " ".join(f"{x:.1f},{y:.1f}" for x, y in floor)
                if custom["drawStyle"] == "points" or len(run) == 1:
                    out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r=2.5 fill="{hue}"/>' for x, y, _ in run]
                elif index in dashes:
                    out.append(f'<polyline points="{line}" fill=none stroke="{hue}" stroke-dasharray="10 10"/>')
                else:
                    out.append(f'<polygon points="{fill}" fill="{hue}" opacity="{custom["fillOpacity"] / 100}"/><polyline points="{line}" fill=none stroke="{hue}"/>')
        if custom["thresholdsStyle"]["mode"] != "off":
            for one in field["thresholds"]["steps"][1:]:
                if ticks[0] <= one["value"] <= ticks[-1]:
                    y = place(one["value"])
                    out.append(f'<line x1="{left}" x2="{w}" y1="{y:.1f}" y2="{y:.1f}" stroke="{color(one["color"])}" stroke-dasharray="8 6"/>')
        if beside:
            legend = f'<div style="width:{full - w - 10}px">{legend}</div>'
        return f'<div class={"side" if beside else "below"}><svg width="{w}" height="{h + 18}" style="flex:none">{"".join(out)}</svg>{legend}</div>'

    def timeline(self, panel, field, series, w, h):
        left = 10 + 6.5 * max(len(name) for name, _, _ in series)
        left = int(min(left, w * 0.4))
        size = (h - 18) / len(series)
        if size < 14:
            self.tell(panel, f"{len(series)} states in {h} pixels; make it higher")
        step, out = max(60, self.prometheus.span // 180), []
        for index, (name, points, own) in enumerate(series):
            y = index * size
            out.append(f'<text x="{left - 6}" y="{y + size / 2 + 4:.0f}" text-anchor=end>{html.escape(name[:int(left / 6)])}</text>')
            runs = []
            for t, v in points:
                if runs and runs[-1][2] == v and t - runs[-1][1] <= step * 1.5:
                    runs[-1][1] = t
                else:
                    runs.append([t, t, v])
            for begin, end, value in runs:
                x1, x2 = self.x(begin, w, left), min(w, self.x(end + step, w, left))
                hue = own or shade(value, field, PALETTE[int(value) % len(PALETTE)] if not math.isnan(value) else "#444")
                text = show(value, field)
                label = f'<text x="{x1 + 6:.0f}" y="{y + size / 2 + 4:.0f}" style="fill:#111">{html.escape(text)}</text>' if x2 - x1 > 8 * len(text) and size > 12 else ""
                out.append(f'<rect x="{x1:.1f}" y="{y + size * .08:.1f}" width="{max(1, x2 - x1):.1f}" height="{size * .84:.1f}" fill="{hue}" opacity=.75 />{label}')
        return f'<svg width="{w}" height="{h}">{"".join(out)}{self.moments(w, h - 16, left)}</svg>'

    def heatmap(self, panel, series, w, h):
        bounds = sorted({labels["le"] for _, labels, _ in series}, key=float)
        by = {labels["le"]: dict(points) for _, labels, points in series}
        h -= 18
        unit = {"unit": panel["options"]["yAxis"].get("unit"), "decimals": panel["options"]["yAxis"].get("decimals")}
        step, size, cells = max(60, self.prometheus.span // 180), h / len(bounds), []
        left = 12 + 7 * max(len(show(float(b), unit)) for b in bounds)
        for moment in sorted({t for points in by.values() for t in points}):
            last = 0
            for index, bound in enumerate(bounds):
                value = by[bound].get(moment, last)
                cells.append((moment, index, max(0, value - last)))
                last = max(last, value)
        high = max((value for _, _, value in cells), default=0)
        if not high:
            self.tell(panel, "a heatmap of zeros")
        out = []
        for moment, index, value in cells:
            if value > 1e-9:
                part = (value / high) ** 0.5
                hue = f"rgb({int(60 + 195 * part)},{int(30 + 150 * part)},{int(10 + 60 * part)})"
                out.append(f'<rect x="{self.x(moment, w, left):.1f}" y="{h - (index + 1) * size:.1f}" width="{max(1, (w - left) * step / self.prometheus.span - 1):.1f}" '
                           f'height="{size - 1:.1f}" fill="{hue}"/>')
        each = max(1, math.ceil(14 / size))
        for index, bound in enumerate(bounds):
            if index % each == 0:
                out.append(f'<text x="{left - 6}" y="{h - (index + 1) * size + 8:.0f}" text-anchor=end>{html.escape(show(float(bound), unit))}</text>')
        return f'<svg width="{w}" height="{h + 18}">{"".join(out)}{self.moments(w, h, left)}</svg>'

    def table(self, panel, answers):
        """Merges the queries by the labels that all of them have, as Grafana's transformation does."""
        keep, titles, order = [], {}, {}
        for step in panel["transformations"]:
            if step["id"] == "filterFieldsByName":
                keep = step["options"]["include"]["names"]
            if step["id"] == "organize":
                titles, order = step["options"]["renameByName"], step["options"]["indexByName"]
        filled = [(target, series) for target, series in answers if series]
        common = set.intersection(*[{key for labels, _ in series for key in labels} for _, series in filled]) - {"__name__"}
        rows = {}
        for target, series in filled:
            value_name = "Value" if len(answers) == 1 else f"Value #{target['refId']}"
            for labels, points in series:
                cells = {**labels, value_name: points[-1][1]}
                candidates = rows.setdefault(tuple(sorted((key, labels.get(key, "")) for key in common)), [])
                for row in candidates:
                    if all(row.get(key, value) == value for key, value in cells.items()):
                        row.update(cells)
                        break
                else:
                    candidates.append(cells)
        rows = [row for candidates in rows.values() for row in candidates]
        overrides = {o["matcher"]["options"]: {p["id"]: p["value"] for p in o["properties"]} for o in panel["fieldConfig"]["overrides"]}
        names = [name for name in sorted(keep, key=lambda name: order.get(name, 99)) if not overrides.get(titles.get(name, name), {}).get("custom.hidden")]
        for name in names:
            if not any(name in row for row in rows):
                self.tell(panel, f"the column {titles.get(name, name)!r} ({name}) is empty")
        for sort in panel["options"].get("sortBy", []):
            field = next((name for name in keep if titles.get(name, name) == sort["displayName"]), None)
            rows.sort(key=lambda row: (row.get(field) is None, row.get(field) if row.get(field) is not None else 0), reverse=sort.get("desc", False))
        head = ""
        for name in names:
            side = "right" if any(isinstance(row.get(name), float) for row in rows) else "left"
            width = overrides.get(titles.get(name, name), {}).get("custom.width")
            head += f'<th style="text-align:{side};{f"width:{width}px" if width else ""}">{html.escape(titles.get(name, name))}'
        lines = []
        for row in rows:
            cells = []
            for name in names:
                field = {**panel["fieldConfig"]["defaults"], **overrides.get(titles.get(name, name), {})}
                value = row.get(name)
                hue = shade(value, field, color("text")) if "custom.cellOptions" in field else color("text")
                side = "right" if isinstance(value, float) else "left"
                text = "" if value is None else show(value, field)
                text = f"<u>{html.escape(text)}</u>" if "links" in field else html.escape(text)
                cells.append(f'<td style="color:{hue};text-align:{side}">{text}')
            lines.append("<tr>" + "".join(cells))
        return f"<table class=data><tr>{head}{''.join(lines)}</table>"


STYLE = """
body { background:#111217; color:#ccccdc; font:13px Inter,Helvetica,Arial,sans-serif; margin:12px 16px; width:%dpx }
h1 { font-size:18px; font-weight:500; margin:4px 0 10px } .bar { margin-bottom:12px } .right { float:right }
.var { border:1px solid #33353c; border-radius:2px; padding:4px 8px; margin-right:8px; background:#181b1f } .grid { position:relative }
.panel { position:absolute; background:#181b1f; border:1px solid #25272d; border-radius:2px; overflow:hidden; box-sizing:border-box }
.panel h2 { font-size:14px; font-weight:500; margin:8px 8px 4px; white-space:nowrap; overflow:hidden; text-overflow:ellipsis } h2 i { color:#7b7f8a; font-size:11px }
.body { padding:0 8px; overflow:hidden; height:calc(100%% - 36px) } .row { position:absolute; font-size:16px; font-weight:500; line-height:30px }
.none { text-align:center; color:#8e8e99; margin-top:1em } svg { display:block } svg text { fill:#a0a3ad; font-size:11px }
.stats { height:100%%; display:flex; justify-content:space-around; align-items:center; text-align:center } .stats b { font-weight:500; display:block } .stats small { color:#ccccdc }
.track { background:#22252b; height:16px } .track div { height:16px } table { border-collapse:collapse; width:100%% } .bars td { padding:1px 4px; white-space:nowrap } .name { max-width:0; width:35%%; overflow:hidden; text-overflow:ellipsis }
.value { text-align:right } .dot { display:inline-block; width:12px; height:4px; margin:0 6px 3px 0 } .item { margin-right:14px; white-space:nowrap; font-size:12px }
.legend td, .legend th { font-size:12px; padding:0 8px; text-align:right; white-space:nowrap } .legend td:first-child { text-align:left } .side { display:flex; align-items:center }
.data th { color:#6e9fff; text-align:left; font-weight:500; padding:6px } .data td { border-top:1px solid #25272d; padding:6px; white-space:nowrap } u { color:#6e9fff; text-decoration:none }
.board { background:#22252b; margin:4px 0; padding:6px }
""" % (WIDTH - 32)


def span(text):
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if not found:
        raise argparse.ArgumentTypeError("a length of time such as 1h is needed")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090")
    parser.add_argument("--range", type=span, default=3600)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("target/screenshots"))
    parser.add_argument("boards", nargs="+", type=pathlib.Path)
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not browser:
        sys.exit("There is no Chromium: apt-get install --no-install-recommends chromium")
    options.out.mkdir(parents=True, exist_ok=True)
    boards = {path: json.loads(path.read_text()) for path in options.boards}
    findings = []
    for path, board in boards.items():
        drawing = Board(board, Prometheus(options.prometheus.rstrip("/"), options.range), [b["title"] for b in boards.values()])
        page, height = drawing.page()
        source, picture = (options.out / f"{path.stem}{suffix}" for suffix in (".html", ".png"))
        source.write_text(page)
        subprocess.run([browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WIDTH},{height}",
                        f"--screenshot={picture.resolve()}", source.resolve().as_uri()], check=True, capture_output=True, timeout=120)
        print(f"{picture}: {len(drawing.panels())} panels and rows, {len(drawing.findings)} to look at")
        findings += drawing.findings
    for finding in findings:
        print("  " + finding)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
