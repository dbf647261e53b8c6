// Looks at the page in each frame, which has the width of one kind of screen, and writes what it finds as JSON.
const isShown = (box) => box.width > 0 || box.height > 0;
const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;

function figureOf(figure) {
  const plot = figure.querySelector("svg.plot");
  const around = plot.getBoundingClientRect();
  const isOutside = (box) =>
    box.left < around.left - 1 || box.right > around.right + 1 || box.top < around.top - 1 || box.bottom > around.bottom + 1;
  const marks = [...plot.querySelectorAll(".mark")].map((mark) => mark.getBoundingClientRect());
  const texts = [...plot.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
  const pairs = texts.flatMap((one, at) => texts.slice(at + 1).map((other) => [one, other]));
  return {
    title: figure.querySelector("strong").textContent,
    width: around.width,
    height: around.height,
    marks: marks.filter(isShown).length,
    ticks: plot.querySelectorAll(".grid").length,
    units: plot.querySelectorAll(".unit").length,
    keys: [...figure.querySelectorAll(".key")].filter((key) => key.textContent.trim() && isShown(key.getBoundingClientRect())).length,
    setting: figure.querySelector(".setting").textContent,
    smallest_text: Math.min(...texts.map(([, box]) => box.height)),
    outside: texts.filter(([, box]) => isOutside(box)).map(([text]) => text),
    marks_outside: marks.filter(isOutside).length,
    overlapping: pairs.filter(([[, a], [, b]]) => meet(a, b)).map(([[a], [b]]) => a + " / " + b),
  };
}

function screenOf(frame) {
  const page = frame.contentDocument;
  const width = frame.contentWindow.innerWidth;
  const scrolls = [...page.querySelectorAll("body, body *:not(svg *)")].filter((element) => element.scrollWidth > element.clientWidth + 1);
  return {
    width: frame.clientWidth,
    scroll_width: page.documentElement.scrollWidth,
    inner_scrolls: scrolls.filter((element) => getComputedStyle(element).overflowX !== "visible").map((element) => element.tagName),
    resources: frame.contentWindow.performance.getEntriesByType("resource").length,
    figures: [...page.querySelectorAll("figure")].map(figureOf),
  };
}

addEventListener("load", () => {
  const found = JSON.stringify([...document.querySelectorAll("iframe")].map(screenOf));
  const escaped = found.replace(/[<>&]/g, (sign) => "\\u00" + sign.charCodeAt(0).toString(16));
  document.getElementById("found").textContent = escaped;
});
