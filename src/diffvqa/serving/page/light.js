/** The finding that is pointed at, in the list or in a picture: its boxes and its entry light up together. */

export class Light extends EventTarget {
  label = null;

  set(label) {
    if (label === this.label) return;
    this.label = label;
    this.dispatchEvent(new Event("change"));
  }

  /** Let an element light its label while the mouse or the focus is on it. */
  watch(element, label) {
    for (const on of ["pointerenter", "focus"]) element.addEventListener(on, () => this.set(label));
    for (const off of ["pointerleave", "blur"]) {
      element.addEventListener(off, () => this.set(element.matches(":focus-visible") && off !== "blur" ? label : null));
    }
  }
}
