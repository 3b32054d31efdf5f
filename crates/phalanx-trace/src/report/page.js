"use strict";
// Draws the timeline and the matrix of a report from the data in the page. It loads nothing and sends nothing.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");
  const CLASSES = [
    ["point-to-point", "--pt2pt"], ["completion", "--completion"], ["collective", "--collective"],
    ["one-sided", "--onesided"], ["file", "--file"], ["management", "--management"],
  ];

  // Numbers as the tables of the page write them.
  const three = (v) => v < 9.995 ? v.toFixed(2) : v < 99.95 ? v.toFixed(1) : v.toFixed(0);
  const duration = (ns) => ns < 1e3 ? `${Math.round(ns)} ns` : ns < 999500 ? `${three(ns / 1e3)} us`
    : ns < 999.5e6 ? `${three(ns / 1e6)} ms` : ns < 600e9 ? `${three(ns / 1e9)} s` : `${three(ns / 60e9)} min`;
  const count = (n) => n.toLocaleString("en-US");
  const bytes = (n) => {
    if (n < 1024) return `${n} B`;
    const units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = 0;
    for (n /= 1024; n >= 1023.5 && unit < units.length - 1; unit++) n /= 1024;
    return `${Number.isInteger(n) ? n : three(n)} ${units[unit]}`;
  };
  const short = (n) => n < 1000 ? `${n}` : n < 999500 ? `${+(n / 1e3).toPrecision(2)}k`
    : n < 999.5e6 ? `${+(n / 1e6).toPrecision(2)}M` : `${+(n / 1e9).toPrecision(2)}G`;
  const size = (n) => n < 1024 ? `${n}` : bytes(Math.round(n)).replace(/\.\d+/, "").replace(/ (.).*/, "$1");

  const element = (name, text, ...children) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    made.append(...children);
    return made;
  };

  // ---- description of what is under the pointer ----
  let kept = false;
  const describe = (title, rows, code, x, y) => {
    const list = element("dl");
    for (const [name, value] of rows) {
      if (value !== null && value !== undefined) list.append(element("dt", name), element("dd", value));
    }
    tip.replaceChildren(element("b", title), list);
    if (code) tip.append(element("code", code));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = x + 14 + box.width > innerWidth ? Math.max(4, x - 14 - box.width) : x + 14;
    const top = y + 14 + box.height > innerHeight ? Math.max(4, y - 14 - box.height) : y + 14;
    tip.style.left = `${left}px`;
    tip.style.top = `${top}px`;
  };
  const conceal = () => {
    tip.hidden = true;
    tip.classList.remove("kept");
    kept = false;
  };

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return {
      classes: CLASSES.map(([, variable]) => of(variable)), own: of("--own"), ink: of("--ink"), faint: of("--faint"),
      line: of("--line"), panel: of("--panel"), paper: of("--paper"), stripe: of("--stripe"), message: of("--message"),
      bad: of("--advice"), heat: of("--heat"),
    };
  };

  /** Gives a canvas so many CSS pixels, in the pixels of the screen; its context. */
  const prepare = (canvas, width, height) => {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    context.textBaseline = "middle";
    return context;
  };

  // ---- timeline ----
  const trace = data.timeline;
  const lanes = trace.lanes.map(({ rank, thread, depth, calls, bundles }) => {
    const n = calls.length / 4;
    const lane = {
      rank, thread, depth, n, began: new Float64Array(n), ended: new Float64Array(n), waited: new Float64Array(n),
      shape: new Uint32Array(n), bundles: [],
    };
    let now = 0;
    for (let i = 0; i < n; i++) {
      now += calls[4 * i];
      lane.began[i] = now;
      lane.ended[i] = now + calls[4 * i + 1];
      lane.waited[i] = calls[4 * i + 2];
      lane.shape[i] = calls[4 * i + 3];
    }
    now = 0;
    for (const [distance, took, several, times] of bundles) {
      now += distance;
      lane.bundles.push({ began: now, ended: now + took, several, times });
    }
    return lane;
  });
  const messages = [];
  for (let i = 0, now = 0; i < trace.messages.length; i += 6) {
    const [from, to, distance, took, tag, length] = trace.messages.slice(i, i + 6);
    now += distance;
    messages.push({ from, to, sent: now, received: now + took, tag, bytes: length });
  }
  // The longest flight so far, to find messages that are under way at the left edge.
  let longest = 0;
  for (const m of messages) longest = Math.max(longest, m.received - m.sent);

  const threads = trace.ranks.map(() => new Set());
  const spans = trace.ranks.map(() => [Infinity, 0]);
  for (const lane of lanes) {
    threads[lane.rank].add(lane.thread);
    const span = spans[lane.rank], last = lane.bundles[lane.bundles.length - 1];
    if (lane.n) { span[0] = Math.min(span[0], lane.began[0]); span[1] = Math.max(span[1], lane.ended[lane.n - 1]); }
    if (last) { span[0] = Math.min(span[0], lane.bundles[0].began); span[1] = Math.max(span[1], last.ended); }
  }
  const order = threads.map((set) => [...set].sort((a, b) => a - b));

  const canvas = document.getElementById("timeline");
  const shown = { classes: CLASSES.map(() => true), messages: true };
  const AXIS = 24, STRIP = 14, ARROWS = 3000;
  const end = Math.max(trace.lasted, 1);
  // All is shown from the first call on: before it the ranks were only starting.
  const first = Math.min(end, ...spans.map((span) => span[0])), last = Math.max(first + 1, ...spans.map((span) => span[1]));
  const whole = [Math.max(0, first - (last - first) * 0.01), Math.min(end, last + (last - first) * 0.01)];
  let [from, to] = whole, gutter = 80, row = 24, width = 0, height = 0, frame = 0, drawnArrows = [];

  /** The first index of an ascending array whose value is not less. */
  const search = (array, value, of = (x) => x) => {
    let low = 0, high = array.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (of(array[middle]) < value) low = middle + 1; else high = middle;
    }
    return low;
  };

  const redraw = () => { if (!frame) frame = requestAnimationFrame(() => { frame = 0; draw(); }); };
  const position = (time) => gutter + (time - from) / (to - from) * (width - gutter);
  const time = (x) => from + (x - gutter) / (width - gutter) * (to - from);

  /** Top and height of a lane: threads share the row of their rank, calls within calls are drawn on the outer ones. */
  const place = (lane) => {
    const all = order[lane.rank], inner = row - Math.min(6, row * 0.25);
    const part = inner / all.length, inset = Math.min(lane.depth * 4, part * 0.6);
    return [AXIS + lane.rank * row + (row - inner) / 2 + all.indexOf(lane.thread) * part + inset, Math.max(1, part - inset - (all.length > 1 ? 1 : 0))];
  };

  /** Stripes of a colour. */
  const stripes = (context, colour, ground) => {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 6;
    const c = tile.getContext("2d");
    c.fillStyle = ground;
    c.fillRect(0, 0, 6, 6);
    c.strokeStyle = colour;
    c.lineWidth = 1.7;
    for (const shift of [-6, 0, 6]) { c.beginPath(); c.moveTo(shift - 1, 7); c.lineTo(shift + 7, -1); c.stroke(); }
    return context.createPattern(tile, "repeat");
  };

  const step = (span, room) => {
    const least = span / Math.max(1, room / 90), power = 10 ** Math.floor(Math.log10(least));
    return [1, 2, 5, 10].map((m) => m * power).find((s) => s >= least);
  };

  const fit = (context, text, room) => {
    if (context.measureText(text).width <= room) return text;
    while (text.length > 1 && context.measureText(`${text}…`).width > room) text = text.slice(0, -1);
    return `${text}…`;
  };

  const draw = () => {
    const colour = colours();
    width = canvas.clientWidth;
    const ranks = trace.ranks.length;
    row = Math.max(5, Math.min(34, Math.max(9, 560 / Math.max(1, ranks)), 1200 / Math.max(1, ranks)));
    height = AXIS + Math.max(1, ranks) * row + STRIP + 6;
    const c = prepare(canvas, width, height);
    gutter = Math.min(170, 16 + Math.max(30, ...trace.ranks.map((r) => c.measureText(r.name).width)));
    c.fillStyle = colour.paper;
    c.fillRect(0, 0, width, height);

    // The axis.
    const unit = step(to - from, width - gutter);
    const label = to >= 1e9 ? [1e9, "s"] : to >= 1e6 ? [1e6, "ms"] : to >= 1e3 ? [1e3, "us"] : [1, "ns"];
    const digits = Math.max(0, Math.ceil(-Math.log10(unit / label[0]) - 1e-9));
    c.textAlign = "center";
    c.lineWidth = 1;
    for (let at = Math.ceil(from / unit) * unit; at <= to; at += unit) {
      const x = position(at);
      c.strokeStyle = colour.line;
      c.beginPath(); c.moveTo(x, AXIS - 5); c.lineTo(x, height - STRIP - 4); c.stroke();
      c.fillStyle = colour.faint;
      if (x > gutter + 18 && x < width - 26) c.fillText(`${(at / label[0]).toFixed(digits)} ${label[1]}`, x, AXIS / 2 - 2);
    }

    // Names of ranks, and their time outside of calls, which the calls are drawn over.
    c.textAlign = "right";
    const every = Math.ceil(12 / row);
    trace.ranks.forEach((rank, r) => {
      const top = AXIS + r * row;
      c.fillStyle = rank.end ? colour.bad : colour.ink;
      if (r % every === 0) c.fillText(fit(c, rank.name, gutter - 12), gutter - 8, top + row / 2);
      const inner = row - Math.min(6, row * 0.25), x0 = Math.max(gutter, position(spans[r][0])), x1 = Math.min(width, position(spans[r][1]));
      c.fillStyle = colour.own;
      if (x1 > x0) c.fillRect(x0, top + (row - inner) / 2, x1 - x0, inner);
    });

    c.save();
    c.beginPath();
    c.rect(gutter, AXIS - 4, width - gutter, height);
    c.clip();
    const waiting = colour.classes.map((k) => stripes(c, k, colour.stripe));
    for (const lane of lanes) drawLane(c, lane, colour, waiting);
    drawnArrows = shown.messages ? drawMessages(c, colour) : [];
    trace.ranks.forEach((rank, r) => {
      if (!rank.end) return;
      const x = position(spans[r][1]), y = AXIS + (r + 0.5) * row;
      c.strokeStyle = colour.bad;
      c.lineWidth = 2.5;
      c.beginPath(); c.moveTo(x - 4, y - 4); c.lineTo(x + 4, y + 4); c.moveTo(x + 4, y - 4); c.lineTo(x - 4, y + 4); c.stroke();
    });
    c.restore();
    if (selection) {
      c.fillStyle = colour.ink;
      c.globalAlpha = 0.15;
      c.fillRect(Math.min(...selection), AXIS, Math.abs(selection[1] - selection[0]), height - AXIS - STRIP - 6);
      c.globalAlpha = 1;
    }

    // Which part of the job is shown.
    const strip = height - STRIP, room = width - gutter;
    c.fillStyle = colour.panel;
    c.fillRect(gutter, strip, room, STRIP);
    c.fillStyle = colour.faint;
    c.globalAlpha = 0.6;
    c.fillRect(gutter + from / end * room, strip + 3, Math.max(3, (to - from) / end * room), STRIP - 6);
    c.globalAlpha = 1;
  };

  const drawLane = (c, lane, colour, waiting) => {
    const [top, tall] = place(lane), pixel = (to - from) / (width - gutter);
    // Short waits are tinted: stripes would only flicker.
    const tint = (kind, x, y, wide, high) => {
      c.fillStyle = colour.stripe;
      c.fillRect(x, y, wide, high);
      c.globalAlpha = 0.45;
      c.fillStyle = colour.classes[kind];
      c.fillRect(x, y, wide, high);
      c.globalAlpha = 1;
    };
    // What is too short to be drawn is added up: parts of the height for parts of the time.
    const stack = (x, wide, times, whole) => {
      let y = top + tall;
      for (const [kind, inside, waits] of times) {
        if (!shown.classes[kind]) continue;
        for (const [sum, still] of [[inside - waits, false], [waits, true]]) {
          const high = Math.min(y - top, sum / whole * tall);
          if (high <= 0) continue;
          y -= high;
          if (still) tint(kind, x, y, wide, high); else { c.fillStyle = colour.classes[kind]; c.fillRect(x, y, wide, high); }
        }
      }
    };
    for (let i = search(lane.bundles, from, (b) => b.ended); i < lane.bundles.length && lane.bundles[i].began <= to; i++) {
      const bundle = lane.bundles[i], x0 = Math.max(gutter - 1, position(bundle.began));
      stack(x0, Math.max(0.7, Math.min(width + 1, position(bundle.ended)) - x0), bundle.times, bundle.ended - bundle.began || 1);
    }
    let column = -1, sums = CLASSES.map((_, kind) => [kind, 0, 0]);
    const flush = () => {
      if (column >= 0) stack(column, 1, sums, pixel);
      column = -1;
      for (const sum of sums) sum[1] = sum[2] = 0;
    };
    for (let i = Math.max(0, search(lane.ended, from)); i < lane.n && lane.began[i] <= to; i++) {
      const shape = trace.shapes[lane.shape[i]], kind = shape[1];
      if (!shown.classes[kind]) continue;
      const x0 = position(lane.began[i]), x1 = position(lane.ended[i]);
      if (x1 - x0 < 1.5) {
        const at = Math.floor(x0);
        if (at !== column) flush();
        column = at;
        sums[kind][1] += Math.max(lane.ended[i] - lane.began[i], pixel * 0.05);
        sums[kind][2] += lane.waited[i];
        continue;
      }
      flush();
      const xw = position(lane.began[i] + lane.waited[i]), left = Math.max(x0, gutter - 1), right = Math.min(x1, width + 1);
      if (xw > left && (right - left < 9 || tall < 9)) {
        tint(kind, left, top, Math.min(xw, right) - left, tall);
      } else if (xw > left) {
        c.fillStyle = waiting[kind];
        c.fillRect(left, top, Math.min(xw, right) - left, tall);
      }
      c.fillStyle = colour.classes[kind];
      if (right > Math.max(xw, left)) c.fillRect(Math.max(xw, left), top, right - Math.max(xw, left), tall);
      c.strokeStyle = colour.classes[kind];
      c.lineWidth = 1;
      if (right - left > 9) c.strokeRect(left + 0.5, top + 0.5, right - left - 1, tall - 1);
      if (right - left > 46 && tall > 13) {
        const text = trace.names[shape[0]].replace(/^MPI_/, "").replace(/_c$/, "");
        const wide = c.measureText(text).width;
        if (wide < right - left - 12) {
          c.fillStyle = colour.paper;
          c.globalAlpha = 0.88;
          c.fillRect(left + 4, top + tall / 2 - 7.5, wide + 6, 15);
          c.globalAlpha = 1;
          c.fillStyle = colour.ink;
          c.textAlign = "left";
          c.fillText(text, left + 7, top + tall / 2 + 0.5);
        }
      }
    }
    flush();
  };

  const middle = (rank) => AXIS + (rank + 0.5) * row;

  const drawMessages = (c, colour) => {
    const visible = [];
    for (let i = search(messages, from - longest, (m) => m.sent); i < messages.length && messages[i].sent <= to; i++) {
      if (messages[i].received >= from && messages[i].from !== messages[i].to) visible.push(messages[i]);
    }
    // More would be a solid area: some, evenly.
    const drawn = visible.length <= ARROWS ? visible : Array.from({ length: ARROWS }, (_, i) => visible[Math.floor(i * visible.length / ARROWS)]);
    note.hidden = visible.length <= ARROWS;
    note.textContent = `${count(ARROWS)} of the ${count(visible.length)} messages of this stretch are drawn; zoom in for the others.`;
    c.strokeStyle = c.fillStyle = colour.message;
    c.lineWidth = 1;
    // The closer they are, the fainter.
    const apart = (width - gutter) / Math.max(1, drawn.length);
    c.globalAlpha = Math.max(0.1, Math.min(0.8, apart / 12));
    for (const m of drawn) {
      const x0 = position(m.sent), y0 = middle(m.from), x1 = position(m.received), y1 = middle(m.to);
      c.beginPath(); c.moveTo(x0, y0); c.lineTo(x1, y1); c.stroke();
      if (apart < 2.5) continue;
      const angle = Math.atan2(y1 - y0, x1 - x0), head = 6;
      c.beginPath();
      c.moveTo(x1, y1);
      c.lineTo(x1 - head * Math.cos(angle - 0.4), y1 - head * Math.sin(angle - 0.4));
      c.lineTo(x1 - head * Math.cos(angle + 0.4), y1 - head * Math.sin(angle + 0.4));
      c.fill();
    }
    c.globalAlpha = 1;
    return drawn;
  };

  // ---- what is under the pointer ----
  const callAt = (x, y) => {
    const pixel = (to - from) / (width - gutter), at = time(x);
    let found = null;
    for (const lane of lanes) {
      const [top, tall] = place(lane);
      if (y < top - 1 || y > top + tall + 1) continue;
      // The one there, or the nearest within two pixels.
      let i = search(lane.ended, at - 2 * pixel), best = null;
      for (; i < lane.n && lane.began[i] <= at + 2 * pixel; i++) {
        if (!shown.classes[trace.shapes[lane.shape[i]][1]]) continue;
        const off = Math.max(lane.began[i] - at, at - lane.ended[i], 0);
        if (!best || off < best.off) best = { lane, i, off };
        if (off === 0) break;
      }
      if (!best) {
        const bundle = lane.bundles[search(lane.bundles, at - 2 * pixel, (b) => b.ended)];
        if (bundle && bundle.began <= at + 2 * pixel) best = { lane, bundle };
      }
      if (best && (!found || lane.depth > found.lane.depth)) found = best;
    }
    return found;
  };
  const messageAt = (x, y) => {
    let found = null, nearest = 4;
    for (const m of drawnArrows) {
      const x0 = position(m.sent), y0 = middle(m.from), dx = position(m.received) - x0, dy = middle(m.to) - y0;
      const along = Math.max(0, Math.min(1, ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy || 1)));
      const off = Math.hypot(x - x0 - along * dx, y - y0 - along * dy);
      if (off < nearest) { nearest = off; found = m; }
    }
    return found;
  };
  const name = (rank) => trace.ranks[rank]?.name ?? null;

  const explain = (x, y, px, py) => {
    const message = messageAt(x, y);
    if (message) {
      describe(`message from ${name(message.from)} to ${name(message.to)}`, [
        ["bytes", bytes(message.bytes)], ["tag", message.tag], ["sent", `at ${duration(message.sent)}`],
        ["received", `${duration(message.received - message.sent)} later`],
      ], null, px, py);
      return true;
    }
    const call = callAt(x, y);
    if (!call) {
      const rank = Math.floor((y - AXIS) / row);
      if (x < gutter && trace.ranks[rank]) {
        describe(name(rank), [["process", trace.ranks[rank].pid], ["end", trace.ranks[rank].end]], null, px, py);
        return true;
      }
      return false;
    }
    const { lane, i, bundle } = call;
    const who = name(lane.rank) + (order[lane.rank].length > 1 ? `, thread ${lane.thread}` : "");
    if (bundle) {
      describe(`${count(bundle.several)} short calls`, [
        ["rank", who], ["began", `at ${duration(bundle.began)}`], ["took", `${duration(bundle.ended - bundle.began)}, with what is between them`],
        ...bundle.times.map(([kind, inside, waits]) => [CLASSES[kind][0], `${duration(inside)}, waiting ${duration(waits)}`]),
      ], null, px, py);
      return true;
    }
    const [called, kind, where, object, peer, tag, length, returned] = trace.shapes[lane.shape[i]];
    const line = where === null ? null : trace.places[where];
    const took = lane.ended[i] - lane.began[i];
    describe(trace.names[called], [
      ["rank", who],
      ["class", CLASSES[kind][0]],
      ["began", `at ${duration(lane.began[i])}`], ["took", duration(took) + (returned ? "" : ", did not return")],
      ["waited", `${duration(lane.waited[i])}${took ? ` (${Math.round(100 * lane.waited[i] / took)} %)` : ""}`],
      ["on", object === null ? null : trace.objects[object]],
      [kind === 2 ? "root" : "peer", peer === null ? null : name(peer)],
      ["tag", tag], ["bytes", length === null ? null : bytes(length)],
      ["line", line ? `${line[0]}:${line[1]}${line[2] ? ` in ${line[2]}` : ""}` : null],
    ], line && line[3], px, py);
    return true;
  };

  // ---- zoom and pan ----
  const show = (a, b) => {
    const least = Math.min(end, 100);
    let span = Math.max(least, Math.min(end, b - a));
    from = Math.max(0, Math.min(end - span, b - a < least ? (a + b - span) / 2 : a));
    to = from + span;
    if (!kept) conceal();
    redraw();
  };
  const zoom = (factor, x = (gutter + width) / 2) => {
    const at = time(Math.max(gutter, Math.min(width, x)));
    show(at - (at - from) * factor, at + (to - at) * factor);
  };
  const pan = (part) => { const by = (to - from) * part; show(from + by, to + by); };
  const local = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };

  let drag = null, selection = null;
  canvas.addEventListener("wheel", (event) => {
    const [x] = local(event);
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 240))), x);
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      pan((event.deltaX || event.deltaY) / width);
    }
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const [x, y] = local(event);
    conceal();
    canvas.setPointerCapture(event.pointerId);
    drag = { x, y, from, to, moved: false, select: event.shiftKey, strip: y > height - STRIP - 3 };
    if (drag.strip) {
      const at = (x - gutter) / (width - gutter) * end, half = (to - from) / 2;
      if (at < from || at > to) { show(at - half, at + half); drag.from = from; drag.to = to; }
    }
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = local(event);
    if (drag) {
      if (Math.abs(x - drag.x) > 3) drag.moved = true;
      if (!drag.moved) return;
      canvas.classList.add("dragged");
      if (drag.select) {
        selection = [Math.max(gutter, drag.x), Math.max(gutter, x)];
        redraw();
      } else {
        const span = drag.to - drag.from;
        const by = (x - drag.x) / (width - gutter) * (drag.strip ? end : -span);
        const first = Math.max(0, Math.min(end - span, drag.from + by));
        show(first, first + span);
      }
      return;
    }
    if (!kept && !explain(x, y, event.clientX, event.clientY)) conceal();
  });
  const drop = (event) => {
    if (!drag) return;
    const [x, y] = local(event);
    canvas.classList.remove("dragged");
    if (selection) {
      const [a, b] = selection.map(time).sort((p, q) => p - q);
      selection = null;
      show(a, b);
    } else if (!drag.moved && event.type === "pointerup" && explain(x, y, event.clientX, event.clientY)) {
      kept = true;
      tip.classList.add("kept");
    }
    drag = null;
  };
  canvas.addEventListener("pointerup", drop);
  canvas.addEventListener("pointercancel", drop);
  canvas.addEventListener("pointerleave", () => { if (!kept && !drag) conceal(); });
  canvas.addEventListener("dblclick", (event) => {
    const found = callAt(...local(event));
    if (!found) return;
    const { began: a, ended: b } = found.bundle ?? { began: found.lane.began[found.i], ended: found.lane.ended[found.i] };
    const around = Math.max(100, (b - a) * 0.6);
    conceal();
    show(a - around, b + around);
  });
  canvas.addEventListener("keydown", (event) => {
    const does = {
      "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), ArrowLeft: () => pan(-0.15),
      ArrowRight: () => pan(0.15), "0": () => show(...whole), Home: () => show(0, to - from), End: () => show(end - (to - from), end),
    }[event.key];
    if (does && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); does(); }
  });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") conceal(); });
  document.addEventListener("pointerdown", (event) => { if (kept && event.target !== canvas && !tip.contains(event.target)) conceal(); });
  for (const button of document.querySelectorAll(".tools button")) {
    button.addEventListener("click", () => ({ in: () => zoom(0.5), out: () => zoom(2), all: () => show(...whole) })[button.dataset.do]());
  }

  // ---- legend ----
  const note = document.getElementById("thinned");
  const legend = document.getElementById("legend");
  const used = new Set(trace.shapes.map((shape) => shape[1]));
  for (const lane of lanes) for (const bundle of lane.bundles) for (const [kind] of bundle.times) used.add(kind);
  const choice = (text, swatch, change) => {
    const box = element("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => { change(box.checked); redraw(); });
    const mark = element("span");
    mark.className = "swatch";
    mark.style.background = swatch;
    legend.append(element("label", undefined, box, mark, text));
  };
  CLASSES.forEach(([text, variable], k) => { if (used.has(k)) choice(text, `var(${variable})`, (on) => { shown.classes[k] = on; }); });
  if (messages.length) choice("messages", "linear-gradient(to top right, transparent 44%, var(--message) 44% 56%, transparent 56%)", (on) => { shown.messages = on; });
  const outside = element("span");
  outside.className = "swatch own";
  legend.append(element("label", undefined, outside, "outside of calls"));

  // ---- matrix ----
  const matrix = document.getElementById("matrix");
  const drawMatrix = () => {
    if (!matrix) return null;
    const colour = colours(), n = trace.ranks.length, measure = document.querySelector("input[name=measure]:checked").value;
    const edge = 34, room = Math.max(120, Math.min(460, matrix.parentElement.clientWidth - 8) - edge);
    const cell = Math.max(1, Math.min(52, room / n)), side = edge + cell * n + 2;
    matrix.style.width = `${side}px`;
    const c = prepare(matrix, side, side);
    let most = 0;
    for (const pair of data.pairs) most = Math.max(most, pair[measure]);
    c.fillStyle = colour.panel;
    c.fillRect(edge, edge, cell * n, cell * n);
    for (const pair of data.pairs) {
      // The root, so that the small ones are seen too.
      const share = Math.sqrt(pair[measure] / (most || 1)), x = edge + pair.to * cell, y = edge + pair.from * cell;
      c.fillStyle = `rgb(${colour.heat} / ${0.12 + 0.88 * share})`;
      c.fillRect(x, y, cell - (cell > 6 ? 1 : 0), cell - (cell > 6 ? 1 : 0));
      if (cell >= 32) {
        c.fillStyle = share > 0.55 ? colour.paper : colour.ink;
        c.textAlign = "center";
        c.fillText(measure === "bytes" ? size(pair.bytes) : short(pair.messages), x + cell / 2, y + cell / 2);
      }
    }
    c.fillStyle = colour.faint;
    const every = Math.ceil(22 / cell);
    for (let r = 0; r < n; r += every) {
      c.textAlign = "right";
      c.fillText(r, edge - 6, edge + (r + 0.5) * cell);
      c.textAlign = "center";
      c.fillText(r, edge + (r + 0.5) * cell, edge - 12);
    }
    return { edge, cell };
  };
  let grid = null;
  if (matrix) {
    for (const input of document.querySelectorAll("input[name=measure]")) input.addEventListener("change", () => { grid = drawMatrix(); });
    matrix.addEventListener("pointermove", (event) => {
      const box = matrix.getBoundingClientRect();
      const to = Math.floor((event.clientX - box.left - grid.edge) / grid.cell), from = Math.floor((event.clientY - box.top - grid.edge) / grid.cell);
      if (!trace.ranks[from] || !trace.ranks[to]) return conceal();
      const pair = data.pairs.find((p) => p.from === from && p.to === to);
      describe(`${name(from)} to ${name(to)}`, pair ? [["messages", count(pair.messages)], ["bytes", bytes(pair.bytes)]] : [["messages", "none"]], null, event.clientX, event.clientY);
    });
    matrix.addEventListener("pointerleave", conceal);
  }

  // ---- size, scheme, paper ----
  const everything = () => { draw(); grid = drawMatrix(); };
  addEventListener("resize", everything);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", everything);
  addEventListener("beforeprint", () => { document.documentElement.classList.add("printing"); everything(); });
  addEventListener("afterprint", () => { document.documentElement.classList.remove("printing"); everything(); });
  everything();
})();
