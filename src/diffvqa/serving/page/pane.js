/** A place on the page that shows one radiograph, or the difference of two, with boxes. */

import { drawMarks, lightMarks } from "./marks.js";
import { shade, shadeDifference } from "./shading.js";

export class Pane {
  #layers = [];
  #colours = new Map();
  #asked = false;

  constructor(figure, { view, tone, light }) {
    this.figure = figure;
    this.viewport = figure.querySelector(".viewport");
    this.canvas = figure.querySelector("canvas");
    this.svg = figure.querySelector("svg");
    Object.assign(this, { view, tone, light });
    for (const changing of [view, tone]) changing.addEventListener("change", () => this.draw());
    light.addEventListener("change", () => lightMarks(this.svg, light.label));
    light.watchMarks(this.viewport);
    new ResizeObserver(() => this.draw()).observe(this.viewport);
  }

  /** layers: of one picture, or of the current and the prior one whose difference is shown: {picture, boxes}. */
  show(layers, colours) {
    this.#layers = layers.filter(({ picture }) => picture);
    this.#colours = colours;
    const sided = this.#layers.length > 0 && this.#layers.every(({ picture }) => picture.hasSides);
    this.viewport.classList.toggle("sided", sided);
    this.draw();
  }

  /** The picture that is in front, if any. */
  get picture() {
    return this.#layers[0]?.picture;
  }

  get size() {
    return { width: this.viewport.clientWidth, height: this.viewport.clientHeight };
  }

  /** Draw before the next frame, once however often it is asked for. */
  draw() {
    if (this.#asked) return;
    this.#asked = true;
    requestAnimationFrame(() => {
      this.#asked = false;
      this.#drawNow();
    });
  }

  #drawNow() {
    const { width, height } = this.size;
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    const fine = { width: Math.round(width * ratio), height: Math.round(height * ratio) };
    Object.assign(this.canvas, fine);
    this.viewport.classList.toggle("zoomed", this.view.zoom > 1);
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    if (this.#layers.length) {
      const [front, behind] = this.#layers.map(({ picture }) => this.#pixels(context, picture, fine));
      if (behind) shadeDifference(front, behind, this.tone);
      else shade(front, this.tone);
      context.putImageData(front, 0, 0);
    }
    const layers = this.#layers.map(({ picture, boxes }) => ({ boxes, place: this.view.place(picture, this.size) }));
    drawMarks(this.svg, layers, this.#colours, this.light.label);
  }

  #pixels(context, picture, fine) {
    context.clearRect(0, 0, fine.width, fine.height);
    picture.draw(context, this.view.place(picture, fine));
    return context.getImageData(0, 0, fine.width, fine.height);
  }
}
