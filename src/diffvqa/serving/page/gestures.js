/** Mouse, fingers and arrow keys in a pane: zoom, place, level and width. */

const WHEEL = 0.0015;
const STEP = 0.08;

export function listen(pane, view, tone) {
  const { viewport } = pane;
  const fingers = new Map();

  /** A point of the viewport as shares of the picture's sides. */
  const share = (event) => {
    const corner = viewport.getBoundingClientRect();
    const place = view.place(pane.picture, pane.size);
    return [
      (event.clientX - corner.left - place.left) / place.width,
      (event.clientY - corner.top - place.top) / place.height,
    ];
  };

  const move = (x, y) => {
    const place = view.place(pane.picture, pane.size);
    view.moveBy(-x / place.width, -y / place.height);
  };

  viewport.addEventListener(
    "wheel",
    (event) => {
      if (!pane.picture) return;
      event.preventDefault();
      view.zoomBy(Math.exp(-event.deltaY * WHEEL), ...share(event));
    },
    { passive: false },
  );
  viewport.addEventListener("contextmenu", (event) => pane.picture && event.preventDefault());
  viewport.addEventListener("dblclick", () => pane.picture && (view.reset(), tone.reset()));

  viewport.addEventListener("pointerdown", (event) => {
    if (!pane.picture || event.target.closest(".slot")) return;
    fingers.set(event.pointerId, event);
    viewport.setPointerCapture(event.pointerId);
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
    viewport.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  viewport.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before || !pane.picture) return;
    const [x, y] = [event.clientX - before.clientX, event.clientY - before.clientY];
    const other = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
    fingers.set(event.pointerId, event);
    if (other) view.zoomBy(distance(event, other) / Math.max(1, distance(before, other)), ...share(other));
    else if (event.shiftKey || event.buttons === 2) tone.set({ level: tone.level - y / 2, width: tone.width + x });
    else move(x, y);
  });

  viewport.addEventListener("keydown", (event) => {
    const direction = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!direction || !pane.picture) return;
    event.preventDefault();
    const [x, y] = direction;
    if (event.shiftKey) tone.set({ level: tone.level - 6 * y, width: tone.width + 12 * x });
    else view.moveBy((x * STEP) / view.zoom, (y * STEP) / view.zoom);
  });
}

function distance(one, other) {
  return Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
}
