/** Zoom and place, the same for all panes: which point of a picture, as shares of its sides, is in a pane's middle. */

const CLOSEST = 16;

export class View extends EventTarget {
  zoom = 1;
  x = 0.5;
  y = 0.5;

  /** Where a picture lies in a pane: in the pane's pixels. */
  place(picture, pane) {
    const scale = this.zoom * Math.min(pane.width / picture.width, pane.height / picture.height);
    const [width, height] = [picture.width * scale, picture.height * scale];
    return { left: pane.width / 2 - this.x * width, top: pane.height / 2 - this.y * height, width, height, scale };
  }

  /** Zoom by a factor, holding the point (x, y), as shares of the picture, where it is. */
  zoomBy(factor, x = this.x, y = this.y) {
    const zoom = Math.min(CLOSEST, Math.max(1, this.zoom * factor));
    const kept = this.zoom / zoom;
    this.#set(zoom, x + (this.x - x) * kept, y + (this.y - y) * kept);
  }

  /** Move by shares of the picture's sides. */
  moveBy(x, y) {
    this.#set(this.zoom, this.x + x, this.y + y);
  }

  reset() {
    this.#set(1, 0.5, 0.5);
  }

  #set(zoom, x, y) {
    const margin = 0.5 / zoom;
    const inside = (value) => Math.min(1 - margin, Math.max(margin, value));
    Object.assign(this, { zoom, x: inside(x), y: inside(y) });
    this.dispatchEvent(new Event("change"));
  }
}
