/** The two radiographs: their files, their pictures, and what is waited for. */

import { Picture } from "./picture.js";
import { picture as decode } from "./requests.js";

export const IMAGES = ["prior", "current"];

const EMPTY = { file: null, picture: null, waiting: false, problem: "" };

export class Pair extends EventTarget {
  prior = EMPTY;
  current = EMPTY;
  #example = null;

  /** Take a file in the place of one; limit: bytes of the largest. */
  async take(image, file, limit = Infinity) {
    const before = this[image];
    const taken = { ...before, waiting: true, problem: "" };
    this.#set({ [image]: taken });
    let found;
    try {
      if (file.size > limit) throw new Error(`The file is too large; it may have ${Math.floor(limit / 2 ** 20)} MB.`);
      found = { ...EMPTY, file, picture: await Picture.from(await decode(file)) };
    } catch (error) {
      found = { ...before, waiting: false, problem: error.message };
    }
    // A swap may have moved it meanwhile, and a later choice taken its place.
    const now = IMAGES.find((name) => this[name] === taken);
    if (now) this.#set({ [now]: found });
  }

  /** Both files of a synthetic pair, and what has really changed. */
  async takeBoth(files, truth) {
    await Promise.all(IMAGES.map((image) => this.take(image, files[image])));
    if (this.#holds(files)) this.#example = { files, truth };
  }

  swap() {
    this.#set({ prior: this.current, current: this.prior });
  }

  /** What has really changed, as long as both files are those of a synthetic pair. */
  get truth() {
    return this.#example && this.#holds(this.#example.files) ? this.#example.truth : null;
  }

  /** The files that are there, by name. */
  get files() {
    const there = IMAGES.filter((image) => this[image].file);
    return Object.fromEntries(there.map((image) => [image, this[image].file]));
  }

  #holds(files) {
    return IMAGES.every((image) => this[image].file === files[image]);
  }

  #set(values) {
    Object.assign(this, values);
    this.dispatchEvent(new Event("change"));
  }
}
