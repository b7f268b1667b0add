/** The finding that is pointed at, in the list or in a picture: its boxes and its entry light up together. */

export class Light extends EventTarget {
  #pointed = null;
  #pinned = null;

  get label() {
    return this.#pointed ?? this.#pinned;
  }

  /** What the mouse is on, or null. */
  point(label) {
    this.#set(label, this.#pinned);
  }

  /** What is lit while the mouse is on nothing: what has the focus or was touched, or null. */
  pin(label) {
    this.#set(this.#pointed, label);
  }

  clear() {
    this.#set(null, null);
  }

  /** Let an entry of a list light its label. */
  watch(element, label) {
    element.addEventListener("pointerenter", () => this.point(label));
    element.addEventListener("pointerleave", () => this.point(null));
    element.addEventListener("focus", () => this.pin(label));
    element.addEventListener("blur", () => this.pin(null));
  }

  /** Let the marks in a viewport do so. They are drawn anew all the time, so that none is watched by itself. */
  watchMarks(viewport) {
    const labelOf = ({ target }) => target.closest(".mark")?.dataset.label ?? null;
    viewport.addEventListener("pointermove", (event) => this.point(labelOf(event)));
    viewport.addEventListener("pointerleave", () => this.point(null));
    viewport.addEventListener("pointerdown", (event) => this.pin(labelOf(event)));
  }

  #set(pointed, pinned) {
    const before = this.label;
    this.#pointed = pointed;
    this.#pinned = pinned;
    if (this.label !== before) this.dispatchEvent(new Event("change"));
  }
}
