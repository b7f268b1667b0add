/** Okabe and Ito's colours, told apart by colour-blind readers too; those of the pictures that `--overlay` draws. */
export const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#d55e00", "#cc79a7"];

/** A colour for each label, in the order in which they come up. */
export function colourLabels(labels) {
  return new Map([...new Set(labels)].map((label, number) => [label, COLOURS[number % COLOURS.length]]));
}
