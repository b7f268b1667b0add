/** Where a radiograph is chosen or dropped. */

export class Slot {
  /** take: called with the files that were chosen or dropped. */
  constructor(figure, take) {
    this.figure = figure;
    this.viewport = figure.querySelector(".viewport");
    this.input = figure.querySelector("input[type=file]");
    this.input.addEventListener("change", () => {
      const files = [...this.input.files];
      this.input.value = "";
      take(files);
    });
    figure.querySelector(".replace").addEventListener("click", () => this.choose());
    for (const over of ["dragenter", "dragover"]) {
      figure.addEventListener(over, (event) => {
        event.preventDefault();
        this.viewport.classList.add("dropping");
      });
    }
    for (const out of ["dragleave", "drop"]) {
      figure.addEventListener(out, () => this.viewport.classList.remove("dropping"));
    }
    figure.addEventListener("drop", (event) => {
      event.preventDefault();
      take([...event.dataTransfer.files]);
    });
  }

  choose() {
    this.input.click();
  }

  /** state: waiting, the picture that is there or null, and what went wrong. */
  show({ waiting = false, picture = null, problem = "" }) {
    this.viewport.classList.toggle("filled", Boolean(picture));
    this.viewport.classList.toggle("waiting", waiting);
    this.viewport.tabIndex = picture ? 0 : -1;
    this.input.tabIndex = picture ? -1 : 0;
    this.figure.querySelector(".replace").hidden = !picture;
    this.figure.querySelector(".size").textContent = picture ? `${picture.width} × ${picture.height}` : "";
    this.figure.querySelector(".problem").textContent = problem;
  }
}
