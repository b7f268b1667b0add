/** The finding that is pointed at, in the list or in a picture: its boxes and its entry light up together. */

export class Light extends EventTarget {
  pointed = null;
  pinned = null;

  get label() {
    return this.pointed ?? this.pinned;
  }

  /** pointed: what the mouse is on; pinned: what has the focus or was touched, lit while the mouse is on nothing. */
  set(values) {
    const before = this.label;
    Object.assign(this, values);
    if (this.label !== before) this.dispatchEvent(new Event("change"));
  }

  /** Let an entry of a list light its label. */
  watch(element, label) {
    element.addEventListener("pointerenter", () => this.set({ pointed: label }));
    element.addEventListener("pointerleave", () => this.set({ pointed: null }));
    element.addEventListener("focus", () => this.set({ pinned: label }));
    element.addEventListener("blur", () => this.set({ pinned: null }));
  }

  /** Let the marks in a viewport do so. They are drawn anew all the time, so that none is watched by itself. */
  watchMarks(viewport) {
    const labelOf = ({ target }) => target.closest(".mark")?.dataset.label ?? null;
    viewport.addEventListener("pointermove", (event) => this.set({ pointed: labelOf(event) }));
    viewport.addEventListener("pointerleave", () => this.set({ pointed: null }));
    viewport.addEventListener("pointerdown", (event) => this.set({ pinned: labelOf(event) }));
  }
}
