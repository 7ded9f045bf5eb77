"use strict";

const QUIETEST_DBFS = -60;
const HISTORY_S = 120;
const PEAK_FALLS_DB = 1.5; // per event, five a second
const DEADLINE_EDGES = ["1 %", "2 %", "5 %", "10 %", "20 %", "35 %", "50 %", "75 %", "90 %", "100 %", "missed"];
const GOOD = ["playing"];
const BAD = ["audio stopped", "sound device lost"];
const RUNGS = {
  received: "the network", full: "full model", lite: "small model", lpc: "linear prediction",
  repeat: "the packet before", fade: "silence",
};
const CAUSES = {
  network_lost: "network lost it", network_late: "network brought it late", cpu_deadline: "this machine too slow",
  device_xrun: "sound device ran dry", peer_stopped: "peer sent nothing", inserted: "put in, to buffer more",
};
const CAUSE_COLOURS = {
  network_lost: "lost", network_late: "late", cpu_deadline: "missed", device_xrun: "fade", peer_stopped: "received",
  inserted: "received",
};
const MACHINE = {
  xruns_capture: "capture overruns", xruns_playback: "playback underruns", deadline_misses: "replacements not ready",
  periods_overrun: "periods that took too long", device_lost: "sound device lost", capture_dropped: "not sent in time",
  receive_dropped: "not taken in time", damaged_samples: "samples that were no audio",
  restarts_net: "network process restarted", restarts_conceal: "conceal process restarted",
  restarts_control: "control process restarted", log_dropped: "log rows lost", refined_slowly: "refinements too slow",
};
const NETWORK = {
  sent: "sent", received: "received", recovered: "recovered by redundancy", reordered: "came out of order",
  duplicated: "came twice", lost_by_peer: "lost on the way to the peer", send_dropped: "not sent: no peer, or full",
  send_failed: "not sent: network refused", malformed: "dropped: malformed", foreign_address: "dropped: not the peer",
  foreign_ssrc: "dropped: another stream", foreign_payload_type: "dropped: another payload type",
  wrong_format: "dropped: another format", wrong_size: "dropped: another packet size", oversized: "dropped: too long",
  unauthenticated: "dropped: another key", replayed: "dropped: replayed", jumped: "dropped: number out of line",
};
const ALWAYS = ["sent", "received", "xruns_capture", "xruns_playback", "deadline_misses"];
const HARMLESS = ["sent", "received", "recovered", "reordered", "duplicated", "lost_by_peer"];

const byId = (id) => document.getElementById(id);
const count = (value) => value.toLocaleString("en");
const fixed = (value, digits) => value.toFixed(digits).replace("-", "−");

const FORMATS = {
  count,
  percent: (value) => value === 0 ? "0 %" : value < 0.0001 ? "< 0.01 %" : `${fixed(100 * value, value < 0.1 ? 2 : 1)} %`,
  ms: (value) => `${fixed(value, value < 100 ? 1 : 0)} ms`,
  ppm: (value) => `${value > 0 ? "+" : ""}${fixed(value, 1)} ppm`,
  seconds: (value) => `${fixed(value, 0)} s`,
  text: (value) => value,
};

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function sayBig(element, text) {
  if (element.textContent === text) return;
  const space = text.lastIndexOf(" ");
  element.replaceChildren(...space < 0 ? [text] : [text.slice(0, space), make("small", "", text.slice(space))]);
}

function sayWithCode(element, text) {
  element.append(...text.split("`").map((part, index) => index % 2 ? make("code", "", part) : part));
  return element;
}

function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text) element.textContent = text;
  return element;
}

function duration(seconds) {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min` : `${Math.floor(seconds)} s`;
}

function showValues(status) {
  for (const element of document.querySelectorAll("[data-value]")) {
    const value = element.dataset.value.split(".").reduce((part, key) => part[key], status);
    const text = value === null ? "–" : FORMATS[element.dataset.as || "text"](value);
    if (element.classList.contains("big")) sayBig(element, text);
    else say(element, text);
  }
}

function showHead(status) {
  const { session } = status;
  const sound = session.channels === 1 ? "mono" : session.channels === 2 ? "stereo" : `${session.channels} channels`;
  const rate = session.sample_rate_hz / 1000;
  say(byId("facts"), `${session.peer} · ${session.wire} · ${session.packet_samples} samples at ${rate} kHz, ${sound} · ${session.method}`);
  document.title = `${session.name}: ${status.state}`;
  byId("state").dataset.kind = GOOD.includes(status.state) ? "good" : BAD.includes(status.state) ? "bad" : "waiting";
  say(byId("state-word"), status.state);
  say(byId("playing"), status.playing_s === null ? "" : `for ${duration(status.playing_s)}`);
  say(byId("drift-says"), Math.abs(status.drift_ppm) < 0.05 ? "clocks in step" : `peer’s clock is ${status.drift_ppm > 0 ? "faster" : "slower"}`);
  showLatency(status.latency_ms, status.network_latency_ms);
  const list = byId("advice");
  if (list.dataset.shown !== status.advice.join("\n")) {
    list.dataset.shown = status.advice.join("\n");
    list.replaceChildren(...status.advice.map((line) => sayWithCode(make("li"), `${line}.`)));
  }
  list.hidden = status.advice.length === 0;
}

function showLatency(device, network) {
  const parts = [["through the device", device], ["through the peer", network]].filter(([, value]) => value !== null && value !== undefined);
  byId("latency-says").hidden = parts.length === 0;
  if (parts.length) say(byId("latency-says"), `a click took ${parts.map(([way, value]) => `${FORMATS.ms(value)} ${way}`).join(", ")}`);
}

const held = { capture: QUIETEST_DBFS, playback: QUIETEST_DBFS };

function showLevel(side, level) {
  const meter = byId(side);
  const shown = Math.max(QUIETEST_DBFS, Math.min(0, level === null ? QUIETEST_DBFS : level));
  const share = (value) => 100 * (1 - value / QUIETEST_DBFS);
  held[side] = Math.max(shown, held[side] - PEAK_FALLS_DB);
  meter.querySelector(".fill").style.clipPath = `inset(0 ${100 - share(shown)}% 0 0)`;
  const peak = meter.querySelector(".peak");
  peak.style.opacity = held[side] > QUIETEST_DBFS ? "0.7" : "0";
  peak.style.left = `calc(${share(held[side])}% - 2px)`;
  const figure = level === null ? "silence" : `${fixed(level, 1)} dBFS`;
  meter.setAttribute("aria-valuenow", String(shown));
  meter.setAttribute("aria-valuetext", figure);
  say(byId(`${side}-figure`), figure);
}

let tightnessSetAt = -Infinity;

function showTightness(tightness) {
  byId("tightness-card").hidden = tightness === null;
  const slider = byId("tightness");
  if (tightness === null || performance.now() - tightnessSetAt < 1500) return; // do not pull it from the hand
  slider.value = tightness;
  slider.setAttribute("aria-valuetext", `${Math.round(100 * tightness)} % tight`);
}

function setTightness(event) {
  tightnessSetAt = performance.now();
  const body = JSON.stringify({ tightness: Number(event.target.value) });
  fetch("/tightness", { method: "POST", headers: { "Content-Type": "application/json" }, body }).catch(() => {});
}

function svg(tag, className) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  if (className) element.setAttribute("class", className);
  return element;
}

let lastHistory = "";

function showHistory(history) {
  const text = JSON.stringify(history);
  if (text === lastHistory) return; // it changes once a second
  lastHistory = text;
  const kinds = ["missed", "late", "lost"];
  const seconds = history.lost.length;
  const sums = history.lost.map((_, index) => kinds.reduce((sum, kind) => sum + history[kind][index], 0));
  const most = Math.max(5, ...sums);
  const chart = byId("history");
  const width = 720 / HISTORY_S;
  const bars = [];
  for (let index = 0; index < seconds; index += 1) {
    let top = 120;
    for (const kind of kinds) {
      const height = 112 * history[kind][index] / most;
      if (!height) continue;
      top -= height;
      const bar = svg("rect", kind);
      const place = { x: (HISTORY_S - seconds + index) * width + 0.5, y: top, width: width - 1, height };
      for (const [name, value] of Object.entries(place)) bar.setAttribute(name, value.toFixed(2));
      bars.push(bar);
    }
  }
  chart.replaceChildren(...bars);
  const total = (kind) => count(history[kind].reduce((sum, value) => sum + value, 0));
  chart.setAttribute("aria-label", `In the last ${seconds} seconds: ${total("lost")} lost, ${total("late")} late, ${total("missed")} too slow here`);
  say(byId("history-most"), `packets per second, up to ${count(most)}`);
  showDepth(history.depth_ms);
}

function showDepth(depths) {
  const [least, most] = [Math.min(...depths), Math.max(...depths)];
  const low = Math.min(least, Math.max(0, most - 2)); // a steady buffer is a steady line, not magnified noise
  const high = Math.max(most, low + 2);
  const at = (depth, index) => `${((HISTORY_S - depths.length + index + 0.5) * 720 / HISTORY_S).toFixed(1)},${(52 - 48 * (depth - low) / (high - low)).toFixed(1)}`;
  const line = svg("path");
  line.setAttribute("d", depths.length ? `M${depths.map(at).join("L")}` : "");
  byId("depth").replaceChildren(line);
  const range = depths.length ? `${fixed(least, 1)} to ${fixed(most, 1)} ms` : "";
  say(byId("depth-range"), range);
  byId("depth").setAttribute("aria-label", `Buffer depth: ${range}`);
}

function row(name, label) {
  const line = make("tr");
  line.dataset.name = name;
  const head = make("th", "", label);
  head.scope = "row";
  line.append(head, make("td"));
  return line;
}

function rowsOf(table, names, build) {
  const body = byId(table).tBodies[0];
  if (body.dataset.names !== names.join()) {
    body.dataset.names = names.join();
    body.replaceChildren(...names.map(build));
  }
  return body.rows;
}

function showRungs(rungs) {
  const names = Object.keys(RUNGS).filter((name) => rungs[name] || ["received", "lpc"].includes(name));
  const total = Object.values(rungs).reduce((sum, value) => sum + value, 0);
  for (const line of rowsOf("rungs", names, (name) => {
    const line = row(name, RUNGS[name]);
    line.cells[0].className = "key";
    line.cells[0].style.setProperty("--of", `var(--${name})`);
    line.append(make("td"));
    return line;
  })) {
    const value = rungs[line.dataset.name];
    say(line.cells[1], count(value));
    say(line.cells[2], total ? FORMATS.percent(value / total) : "–");
  }
  const stack = byId("rungs-stack");
  const parts = names.filter((name) => rungs[name]);
  if (stack.dataset.names !== parts.join()) {
    stack.dataset.names = parts.join();
    stack.replaceChildren(...parts.map((name) => {
      const part = make("div");
      part.style.setProperty("--of", `var(--${name})`);
      part.style.minWidth = "3px"; // a rare rung is still seen
      return part;
    }));
  }
  parts.forEach((name, index) => { stack.children[index].style.flexGrow = String(rungs[name] / total); });
}

function showCauses(causes) {
  const known = causes || {};
  const total = Object.values(known).reduce((sum, value) => sum + value, 0);
  for (const line of rowsOf("causes", Object.keys(CAUSES), (name) => {
    const line = row(name, CAUSES[name]);
    const cell = make("td", "bar");
    const track = make("div", "track");
    const fill = make("div", "fill");
    fill.style.setProperty("--of", `var(--${CAUSE_COLOURS[name]})`);
    track.append(fill);
    cell.append(track);
    line.append(cell);
    return line;
  })) {
    const value = known[line.dataset.name] || 0;
    say(line.cells[1], causes ? count(value) : "–");
    line.className = value ? "" : "nothing";
    line.cells[2].firstChild.firstChild.style.width = total ? `${100 * value / total}%` : "0";
  }
}

function showDeadline(bins) {
  const list = byId("deadline");
  if (!list.children.length) {
    list.append(...DEADLINE_EDGES.map((edge) => {
      const item = make("li");
      const room = make("div", "room");
      room.append(make("div", "fill"));
      item.append(make("span", "packets"), room, make("span", "edge", edge === "missed" ? edge : `≤ ${edge}`));
      return item;
    }));
  }
  const most = Math.log1p(Math.max(10, ...(bins || [])));
  Array.from(list.children).forEach((item, index) => {
    const value = bins ? bins[index] : 0;
    const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
    say(item.querySelector(".packets"), value ? short.format(value) : "");
    item.querySelector(".fill").style.setProperty("--size", value ? `max(3px, ${100 * Math.log1p(value) / most}%)` : "0");
    item.title = `${count(value)} packets`;
  });
}

function showCounts(table, labels, counts) {
  const names = Object.keys(labels).filter((name) => counts[name] || ALWAYS.includes(name));
  for (const line of rowsOf(table, names, (name) => row(name, labels[name]))) {
    const name = line.dataset.name;
    say(line.cells[1], count(counts[name]));
    line.className = counts[name] && !HARMLESS.includes(name) ? "wrong" : "";
  }
}

function show(status) {
  showHead(status);
  showValues(status);
  showLevel("capture", status.levels_dbfs.capture);
  showLevel("playback", status.levels_dbfs.playback);
  showTightness(status.tightness);
  showHistory(status.history);
  showRungs(status.rungs);
  showCauses(status.causes);
  showDeadline(status.deadline);
  showCounts("machine", MACHINE, status.machine);
  const { recovered, reordered, duplicated } = status.packets;
  showCounts("network", NETWORK, { ...status.datagrams, recovered, reordered, duplicated, lost_by_peer: status.lost_by_peer });
}

function listen() {
  const events = new EventSource("/events");
  events.onmessage = (event) => {
    byId("offline").hidden = true;
    show(JSON.parse(event.data));
  };
  events.onerror = () => {
    byId("offline").hidden = false;
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 2000); // refused: the token may have changed
  };
}

byId("tightness").addEventListener("input", setTightness);
listen();
