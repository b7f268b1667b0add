/** A decoded radiograph, with smaller copies of it, so that large ones are drawn as fast as small ones. */

const SMALLEST = 1024;

export class Picture {
  constructor(copies) {
    this.copies = copies;
    this.width = copies[0].width;
    this.height = copies[0].height;
  }

  static async from(blob) {
    const copies = [await createImageBitmap(blob)];
    for (let last = copies[0]; Math.min(last.width, last.height) > SMALLEST; last = copies.at(-1)) {
      const [resizeWidth, resizeHeight] = [Math.ceil(last.width / 2), Math.ceil(last.height / 2)];
      copies.push(await createImageBitmap(last, { resizeWidth, resizeHeight, resizeQuality: "high" }));
    }
    return new Picture(copies);
  }

  /** Draw it into a rectangle of a canvas. */
  draw(context, { left, top, width, height }) {
    const copy = this.copies.findLast((one) => one.width >= width) ?? this.copies[0];
    context.imageSmoothingQuality = "high";
    context.drawImage(copy, left, top, width, height);
  }
}
