// What a page can do besides: bring itself up to date, tell times as distances, keys, a theme, selections, charts.
// Without it every page and every action works just as well.
import { Idiomorph } from "./idiomorph.js";

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const store = { get: (name) => localStorage.getItem(`quaff.${name}`), set: (name, value) => localStorage.setItem(`quaff.${name}`, value) };

// Times: the server says when, the reader wants to know how long ago.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
function distance(seconds) {
  const size = Math.abs(seconds);
  const [unit, word] = UNITS.find(([unit]) => size >= unit) ?? [1, "s"];
  const text = `${Math.floor(size / unit)} ${word}`;
  return seconds >= 0 ? `${text} ago` : `in ${text}`;
}
function tellTimes(root = document) {
  for (const time of $$("time[datetime]", root)) {
    const at = new Date(time.dateTime);
    time.title = `${at.toLocaleString()} (${time.dateTime})`;
    const text = distance((Date.now() - at) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

// The page again, from where it came: only what has changed is touched, so focus, scrolling and open parts stay.
let tag = "";
let waiting = 0;
const seconds = () => Number(store.get("live") ?? "2");
const inUse = () =>
  document.hidden || $("dialog[open]") || $("main input:checked") || document.activeElement?.matches("main input, main select, main textarea");
async function refresh() {
  waiting = 0;
  if (seconds() && !inUse() && $("#main[data-live]")) {
    try {
      const reply = await fetch(location.href, { headers: { "X-Fragment": "main", ...(tag && { "If-None-Match": tag }) }, cache: "no-store" });
      const text = reply.ok ? await reply.text() : "";
      // What was selected meanwhile would be unselected.
      if (reply.ok && !inUse()) {
        tag = reply.headers.get("ETag") ?? "";
        morph(text);
      }
      say(reply.ok || reply.status === 304 ? "" : `the server answered ${reply.status}`);
    } catch {
      say("no answer");
    }
  }
  await later();
}
function morph(html) {
  Idiomorph.morph($("#main"), html, {
    morphStyle: "innerHTML",
    ignoreActiveValue: true,
    callbacks: {
      // What the reader has opened stays open, and a drawn chart is given new numbers instead of being drawn anew.
      beforeAttributeUpdated: (name, node) => !(name === "open" && node.localName === "details"),
      beforeNodeMorphed: (old, fresh) => !(old.dataset?.chart && redraw(old, fresh.dataset?.chart)),
    },
  });
  tellTimes();
  draw();
}
function later() {
  clearTimeout(waiting);
  waiting = setTimeout(refresh, (seconds() || 2) * 1000);
}
function say(text) {
  const place = $("#live-trouble");
  if (place && place.textContent !== text) place.textContent = text;
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });

// Controls that only make sense here are hidden until here.
for (const control of $$("[data-script]")) control.hidden = false;
const live = $("#live");
if (live) {
  live.value = String(seconds());
  live.addEventListener("change", () => { store.set("live", live.value); refresh(); });
}
const theme = $("#theme");
function dress(name) {
  if (name === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
}
dress(store.get("theme") ?? "system");
if (theme) {
  theme.value = store.get("theme") ?? "system";
  theme.addEventListener("change", () => { store.set("theme", theme.value); dress(theme.value); });
}

// Selections
document.addEventListener("change", (event) => {
  const all = event.target.closest("[data-all]");
  if (all) for (const each of $$(`input[name="${all.dataset.all}"]`)) each.checked = all.checked;
  const count = $("#selected");
  if (count) count.textContent = String($$('main input[name="id"]:checked').length);
});

// Completion of the last word of a filter
for (const input of $$("input[data-words]")) {
  const words = JSON.parse(input.dataset.words);
  const list = document.getElementById(input.getAttribute("list"));
  input.addEventListener("input", () => {
    const at = input.value.lastIndexOf(" ") + 1;
    const [before, last] = [input.value.slice(0, at), input.value.slice(at)];
    list.replaceChildren(...words.filter((word) => last && word.startsWith(last) && word !== last).slice(0, 12).map((word) => new Option(before + word)));
  });
}

// Keys
const PLACES = { o: "overview", j: "jobs", q: "queues", f: "failures", s: "schedules", w: "workers", t: "tasks" };
let prefix = 0;
document.addEventListener("keydown", (event) => {
  if (event.metaKey || event.ctrlKey || event.altKey || event.target.matches("input, select, textarea")) return;
  if (event.key === "/") {
    const field = $("input[type=search]");
    if (field) { event.preventDefault(); field.focus(); field.select(); }
  } else if (event.key === "?") {
    $("#keys")?.showModal();
  } else if (event.key === "g") {
    prefix = Date.now();
  } else if (Date.now() - prefix < 1000 && PLACES[event.key]) {
    prefix = 0;
    $(`.side a[data-place="${PLACES[event.key]}"]`)?.click();
  }
});
for (const button of $$("[data-show]")) button.addEventListener("click", () => $(`#${button.dataset.show}`)?.showModal());
for (const button of $$("[data-copy]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "copied";
  });
}

// Charts: the page has one already; where there is a pointer, this one tells the numbers under it.
const plots = new Map();
async function draw() {
  for (const place of $$("[data-chart]")) if (!plots.has(place)) await plot(place);
  for (const [place, chart] of plots) if (!place.isConnected) { chart.destroy(); plots.delete(place); }
}
async function plot(place) {
  const { default: Plot } = await import("./uplot.js");
  if (plots.has(place)) return;
  const { names, data } = JSON.parse(place.dataset.chart);
  // A canvas knows no custom properties: an element has to say what they come to, in this theme, now.
  const shade = (name) => {
    place.style.color = `var(${name})`;
    return getComputedStyle(place).color;
  };
  // A week's marks are days; the hour is told under the pointer alone.
  const far = data[0].at(-1) - data[0][0] > 2 * 86400;
  const told = (second, parts) => new Date(second * 1000).toLocaleString([], { ...parts, hourCycle: "h23" });
  const clock = (second) => told(second, { hour: "2-digit", minute: "2-digit", ...(far && { weekday: "short" }) });
  const mark = (second) => told(second, far ? { weekday: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit" });
  const axis = { stroke: () => shade("--muted"), font: "11px system-ui", grid: { stroke: "rgb(128 128 128 / .16)", width: 1 }, ticks: { show: false } };
  const bars = Plot.paths.bars({ size: [0.72, 40] });
  const options = {
    width: place.clientWidth, height: 170, cursor: { y: false, drag: { x: false } },
    axes: [{ ...axis, size: 26, values: (_, at) => at.map(mark) }, { ...axis, size: 44 }],
    series: [
      { label: "at", value: (_, second) => (second ? clock(second) : "–") },
      ...names.map((label, n) => ({ label, paths: bars, points: { show: false }, width: 0, fill: () => shade(n ? "--bad" : "--accent"), value: (_, count) => count?.toLocaleString() ?? "–" })),
    ],
  };
  place.replaceChildren();
  plots.set(place, new Plot(options, data, place));
}
function redraw(old, fresh) {
  const chart = plots.get(old);
  if (!chart || !fresh) return false;
  if (old.dataset.chart !== fresh) {
    old.dataset.chart = fresh;
    chart.setData(JSON.parse(fresh).data);
  }
  return true;
}
addEventListener("resize", () => { for (const [place, chart] of plots) chart.setSize({ width: place.clientWidth, height: 170 }); });

// On a telephone the menu, and tabs, are lines that are longer than the screen.
for (const each of $$(".side a[aria-current], .tabs a[aria-current]")) each.scrollIntoView({ inline: "center", block: "nearest" });
tellTimes();
draw();
setInterval(() => { if (!document.hidden) tellTimes(); }, 1000);
later();
