"use strict";
const byId = (id) => document.getElementById(id);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// The theme: the system's until the user picks one.
const root = document.documentElement;
const remembered = () => { try { return localStorage.getItem("partition-core theme"); } catch { return null; } };
const remember = (theme) => { try { localStorage.setItem("partition-core theme", theme); } catch { /* not allowed for a file: page */ } };
if (remembered()) root.dataset.theme = remembered();
byId("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  remember(root.dataset.theme);
});

// The size of the map: as wide as its container, but neither enlarged nor too small to read unless
// the user zooms. Without Graphviz there is no map.
const showMap = (canvas) => {
  const map = canvas.querySelector("svg");
  const natural = { width: Number(map.getAttribute("width")), height: Number(map.getAttribute("height")) };
  let scale = null, smallest = 0.55;
  const fitted = () => Math.min(1.1, Math.max(smallest, (canvas.clientWidth - 16) / natural.width));
  const resize = () => {
    const factor = scale ?? fitted();
    canvas.classList.toggle("zoomed", scale !== null);
    map.setAttribute("width", Math.round(natural.width * factor));
    map.setAttribute("height", Math.round(natural.height * factor));
  };
  const zoom = (by) => { scale = Math.min(4, Math.max(0.2, (scale ?? fitted()) * by)); resize(); };
  byId("zoom-in").addEventListener("click", () => zoom(1.25));
  byId("zoom-out").addEventListener("click", () => zoom(0.8));
  byId("zoom-fit").addEventListener("click", () => { scale = null; smallest = 0; resize(); });
  addEventListener("resize", resize);
  resize();
  canvas.scrollLeft = (canvas.scrollWidth - canvas.clientWidth) / 2;

  // A selected box or mark shows its figures.
  const figures = JSON.parse(byId("figures").textContent);
  const details = byId("details");
  const element = (name, text) => { const created = document.createElement(name); created.textContent = text; return created; };
  const choose = (shape) => {
    all(".chosen", map).forEach((other) => other.classList.remove("chosen"));
    shape.classList.add("chosen");
    const shown = figures[shape.id];
    const list = document.createElement("dl");
    for (const [name, text] of shown.rows) list.append(element("dt", name), element("dd", text));
    details.replaceChildren(element("h3", shown.title), list);
  };
  for (const shape of all(".box, .border", map)) {
    if (!figures[shape.id]) continue;
    shape.setAttribute("tabindex", "0");
    shape.setAttribute("role", "button");
    shape.setAttribute("aria-label", figures[shape.id].title);
    shape.addEventListener("click", () => choose(shape));
    shape.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(shape); }
    });
  }
};
if (byId("canvas")) showMap(byId("canvas"));

// Detections, best first: the picture, the minimum score, and which of them have names.
const picture = byId("picture");
const score = byId("score");
const show = () => {
  byId("score-shown").textContent = Number(score.value).toFixed(2);
  for (const group of all(".pictures")) group.hidden = group.dataset.picture !== picture.value;
  for (const figure of all("figure")) {
    let shown = 0;
    for (const detection of all(".detection", figure)) {
      const visible = Number(detection.dataset.score) >= Number(score.value);
      detection.toggleAttribute("hidden", !visible);
      shown += visible;
      // The best boxes keep their names; the others show theirs when focused.
      detection.classList.toggle("named", visible && shown <= 12);
    }
    figure.querySelector(".shown").textContent = shown;
  }
};
if (picture) {
  picture.addEventListener("change", show);
  score.addEventListener("input", show);
  show();
}
