/** Prior and current in turn, at a calm pace; by hand where motion is not wanted. */

const PACE = 700;

export class Flicker {
  #timer = null;

  /** step: called for every step. */
  constructor(step) {
    this.step = step;
  }

  get running() {
    return this.#timer !== null;
  }

  start() {
    this.stop();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    this.#timer = setInterval(this.step, PACE);
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Stop, or if it stands still already, one step. */
  byHand() {
    if (this.running) this.stop();
    else this.step();
  }
}
