// What the page does beyond links and forms.  Without it everything works, and nothing is live.
"use strict";

(() => {
  const TYPES = ["overview", "tasks", "rejected", "events", "task", "log", "workers", "schedules", "limits",
    "functions", "findings"];
  const pulse = (text, live) => {
    const mark = document.getElementById("pulse");
    if (mark && mark.textContent !== text) mark.textContent = text;
    if (mark) mark.classList.toggle("good", live);
  };
  const readAgain = () => document.querySelectorAll("[data-topics]").forEach((part) => htmx.trigger(part, "again"));

  // -- the stream: closed while nobody sees the page, as a browser has few connections to one host ------------

  class Stream extends EventTarget {
    constructor(url) {
      super();
      this.url = url;
      this.readyState = EventSource.OPEN;
      this.missed = false;
      document.addEventListener("visibilitychange", () => (document.hidden ? this.rest() : this.open()));
      if (!document.hidden) this.open();
    }

    open() {
      if (this.source || this.readyState === EventSource.CLOSED) return;
      this.source = new EventSource(this.url);
      this.source.onopen = () => {
        pulse("live", true);
        if (this.missed) readAgain();  // what has changed while nobody listened
        this.missed = false;
      };
      this.source.onerror = () => {
        pulse("not live", false);
        this.missed = true;
        if (this.source && this.source.readyState === EventSource.CLOSED) {
          this.rest();
          readAgain();  // without a login, a part leads to it
          setTimeout(() => document.hidden || this.open(), 5000);
        }
      };
      this.source.addEventListener("away", () => pulse("Redis does not answer", false));
      this.source.addEventListener("back", () => pulse("live", true));
      for (const type of TYPES) this.source.addEventListener(type, () => this.dispatchEvent(new Event(type)));
    }

    rest() {
      this.missed = true;
      if (this.source) this.source.close();
      this.source = null;
      pulse("not live", false);
    }

    close() {
      this.readyState = EventSource.CLOSED;
      this.rest();
    }
  }
  htmx.createEventSource = (url) => new Stream(url);
  window.addEventListener("pagehide", () => pulse("not live", false));

  // -- the selection, which is kept while the list refreshes ---------------------------------------------------

  const chosen = new Set();
  const boxes = () => [...document.querySelectorAll('#part-rows input[name="task"]:not(:disabled)')];
  const tell = () => {
    const text = document.getElementById("chosen");
    if (text) text.textContent = chosen.size ? `${chosen.size} selected` : "Select tasks, or all of this list:";
    const every = document.getElementById("every");
    if (!every) return;
    const all = boxes();
    every.hidden = false;
    every.checked = all.length > 0 && all.every((box) => box.checked);
  };
  const restore = () => {
    for (const box of boxes()) box.checked = chosen.has(box.value);
    const form = document.getElementById("selection");
    if (!form) return;
    // What is selected and has left this page of the list is sent as well.
    const here = new Set(boxes().map((box) => box.value));
    form.querySelectorAll("input.elsewhere").forEach((one) => one.remove());
    for (const id of chosen) {
      if (here.has(id)) continue;
      const kept = document.createElement("input");
      Object.assign(kept, { type: "hidden", name: "task", value: id, className: "elsewhere" });
      form.append(kept);
    }
    tell();
  };
  document.addEventListener("change", (event) => {
    const box = event.target;
    if (box.id === "every") {
      for (const one of boxes()) { one.checked = box.checked; box.checked ? chosen.add(one.value) : chosen.delete(one.value); }
    } else if (box.name === "task") {
      box.checked ? chosen.add(box.value) : chosen.delete(box.value);
    } else return;
    tell();
  });

  // -- the log stays at its end, unless somebody has scrolled up ------------------------------------------------

  const log = () => document.querySelector("#part-log .log");
  const isAtEnd = (box) => box.scrollTop + box.clientHeight >= box.scrollHeight - 8;
  let following = true;
  const follow = () => { const box = log(); if (box && following) box.scrollTop = box.scrollHeight; };
  // Looked at before new lines come: an event of scrolling may arrive after them.
  document.addEventListener("htmx:beforeSwap", () => { const box = log(); following = !box || isAtEnd(box); });

  // -- the rows by keyboard --------------------------------------------------------------------------------------

  let current = null;  // the id of the row
  const rows = () => [...document.querySelectorAll("#part-rows tr[data-id]")];
  const mark = (row) => {
    for (const one of rows()) one.classList.toggle("current", one === row);
    if (!row) return;
    current = row.dataset.id;
    row.querySelector("td.id a").focus();
  };
  const move = (step) => {
    const all = rows();
    const at = all.findIndex((row) => row.dataset.id === current);
    mark(all[Math.min(all.length - 1, Math.max(0, at < 0 ? 0 : at + step))]);
  };
  const PLACES = { o: 0, t: 1, w: 2, s: 3, l: 4, f: 5, r: 6, d: 7 };
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target;
    if (field.matches("input:not([type=checkbox]):not([type=radio]), textarea, select")) {
      if (event.key === "Escape") field.blur();
      return;
    }
    if (going) {
      going = false;
      const link = document.querySelectorAll("header nav a")[PLACES[event.key]];
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    if (event.key === "g") going = true;
    else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "/") {
      const filter = document.getElementById("filter");
      if (filter) { event.preventDefault(); filter.focus(); }
    } else if (event.key === "x") {
      const row = rows().find((one) => one.dataset.id === current);
      const box = row && row.querySelector('input[name="task"]:not(:disabled)');
      if (box) box.click();
    }
  });

  document.addEventListener("htmx:afterSwap", () => { restore(); follow(); const row = rows().find((one) => one.dataset.id === current); if (row) row.classList.add("current"); });
  document.addEventListener("DOMContentLoaded", () => { for (const box of boxes()) if (box.checked) chosen.add(box.value); restore(); follow(); });
})();
