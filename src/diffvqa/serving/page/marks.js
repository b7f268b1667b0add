/** Boxes over a picture, as SVG. */

const SVG = "http://www.w3.org/2000/svg";

/** boxes: of the answer, in pixels of the picture; place: where the picture lies. */
export function drawMarks(svg, layers, colours, lit) {
  const marks = layers.flatMap(({ boxes, place }) => boxes.map((found) => mark(found, place, colours)));
  // The smaller ones on top, so that each can be pointed at.
  marks.sort((one, other) => other.area - one.area);
  svg.replaceChildren(...marks.map(({ group }) => group));
  separateLabels(svg);
  lightMarks(svg, lit);
}

export function lightMarks(svg, label) {
  for (const group of svg.children) group.classList.toggle("lit", group.dataset.label === label);
  svg.classList.toggle("lit-any", [...svg.children].some((group) => group.classList.contains("lit")));
}

function mark(found, place, colours) {
  const [x1, y1, x2, y2] = found.box.map((value) => value * place.scale);
  const group = element("g", { class: `mark ${found.kind}`, color: colours.get(found.label) });
  Object.assign(group.dataset, { label: found.label, image: found.image });
  const corner = { x: place.left + x1, y: place.top + y1, width: x2 - x1, height: y2 - y1, rx: 2 };
  const text = element("text", { x: corner.x + 5, y: corner.y + 16, fill: "currentColor" });
  text.textContent = found.label;
  group.append(
    element("rect", { ...corner, class: "under" }),
    element("rect", { ...corner, class: "line", stroke: "currentColor" }),
    text,
  );
  return { group, area: corner.width * corner.height };
}

/** Labels inside the pane, and none over another one. */
function separateLabels(svg) {
  const taken = [];
  const { width } = svg.getBoundingClientRect();
  for (const text of svg.querySelectorAll(".change text")) {
    const size = text.getBBox();
    const x = Math.max(2, Math.min(Number(text.getAttribute("x")), width - size.width - 3));
    let y = Number(text.getAttribute("y"));
    for (const other of taken.toSorted((a, b) => a.y - b.y)) {
      const apart = x > other.x + other.width || other.x > x + size.width;
      if (!apart && Math.abs(y - other.y) < size.height) y = other.y + size.height;
    }
    taken.push({ x, y, width: size.width });
    text.setAttribute("x", x);
    text.setAttribute("y", y);
  }
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
