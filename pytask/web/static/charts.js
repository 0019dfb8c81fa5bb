// Charts of the last hour, or day, in place of the pictures that the page comes with.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const section = document.querySelector("[data-samples]");
  if (!section || !window.uPlot) return;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const COLOURS = ["running", "ended", "stopped"];
  const HEIGHT = 130;
  let charts = [];
  let read = 0;

  const columns = (figure, found) => [found.at, ...figure.dataset.fields.split(" ").map((name) => found[name])];
  const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 16);
  const width = (figure) => Math.max(160, figure.clientWidth);
  const axis = () => ({ stroke: colour("quiet"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, size: 44 });
  const draw = (figure, found) => {
    const lines = figure.dataset.fields.split(" ").map((name, at) => ({
      label: name, stroke: colour(COLOURS[at]), width: 2, dash: at === 2 ? [6, 4] : undefined, points: { show: false },
    }));
    return new uPlot({
      width: width(figure), height: HEIGHT, cursor: { y: false }, legend: { show: false },
      scales: { y: { range: (_chart, _low, high) => [0, high > 0 ? high * 1.05 : 1] } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),  // as all times of the page
      series: [{}, ...lines], axes: [{ ...axis(), size: 28, values: (_chart, ticks) => ticks.map(clock) }, axis()],
    }, columns(figure, found), figure);
  };
  const figures = [...section.querySelectorAll("figure")];
  const show = async () => {
    read = Date.now();
    const answer = await fetch(section.dataset.samples);
    if (!answer.ok) return;
    const found = await answer.json();
    if (!found.at.length) return;
    if (charts.length) { charts.forEach((chart, at) => chart.setData(columns(figures[at], found))); return; }
    figures.forEach((figure) => figure.classList.add("drawn"));
    charts = figures.map((figure) => draw(figure, found));
  };
  show();
  // The stream says when something has changed; a sample is kept every 10 seconds.
  document.addEventListener("htmx:afterSwap", () => { if (Date.now() - read > 10000) show(); });
  addEventListener("resize", () => charts.forEach((chart, at) => chart.setSize({ width: width(figures[at]), height: HEIGHT })));
  dark.addEventListener("change", () => { charts.forEach((chart) => chart.destroy()); charts = []; show(); });
});
