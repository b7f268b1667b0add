/** A decoded radiograph, with smaller copies of it, so that large ones are drawn as fast as small ones. */

const SMALLEST = 1024;

export class Picture {
  /** stored: how the file holds it, in words (requests.js). */
  constructor(copies, stored) {
    this.copies = copies;
    this.stored = stored;
    this.width = copies[0].width;
    this.height = copies[0].height;
  }

  static async from({ blob, stored }) {
    const copies = [await createImageBitmap(blob)];
    for (let last = copies[0]; Math.min(last.width, last.height) > SMALLEST; last = copies.at(-1)) {
      const [resizeWidth, resizeHeight] = [Math.ceil(last.width / 2), Math.ceil(last.height / 2)];
      copies.push(await createImageBitmap(last, { resizeWidth, resizeHeight, resizeQuality: "high" }));
    }
    return new Picture(copies, stored);
  }

  /** Whether the patient's right is at its left edge. */
  get hasSides() {
    return this.stored.has("sides");
  }

  /** A box in pixels of the file, [x1, y1, x2, y2], in those of the picture. */
  upright([x1, y1, x2, y2]) {
    if (this.stored.has("transposed")) [x1, y1, x2, y2] = [y1, x1, y2, x2];
    if (this.stored.has("mirrored_x")) [x1, x2] = [this.width - x2, this.width - x1];
    if (this.stored.has("mirrored_y")) [y1, y2] = [this.height - y2, this.height - y1];
    return [x1, y1, x2, y2];
  }

  /** Draw it into a rectangle of a canvas. */
  draw(context, { left, top, width, height }) {
    const copy = this.copies.findLast((one) => one.width >= width) ?? this.copies[0];
    context.imageSmoothingQuality = "high";
    context.drawImage(copy, left, top, width, height);
  }
}
