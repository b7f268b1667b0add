/** Level and width of the window through which the grey values, 0 to 255, are seen, and whether they are inverted. */

const [LEVEL, WIDTH] = [128, 256];

export class Tone extends EventTarget {
  level = LEVEL;
  width = WIDTH;
  inverted = false;

  set(values) {
    Object.assign(this, values);
    this.level = Math.min(255, Math.max(0, this.level));
    this.width = Math.min(512, Math.max(1, this.width));
    this.dispatchEvent(new Event("change"));
  }

  reset() {
    this.set({ level: LEVEL, width: WIDTH, inverted: false });
  }

  /** What each grey value is shown as. */
  table(inverted = this.inverted) {
    return Uint8ClampedArray.from({ length: 256 }, (_, value) => {
      const seen = ((value - this.level) / this.width + 0.5) * 256;
      return inverted ? 255 - seen : seen;
    });
  }
}
