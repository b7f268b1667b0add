/** From drawn pixels (ImageData) to those that are shown. */

const [DARKER, BRIGHTER] = [[86, 180, 233], [230, 159, 0]];
const NOISE = 10;
const GAIN = 1.5;

/** One picture through the window. */
export function shade(pixels, tone) {
  const table = tone.table();
  const data = pixels.data;
  for (let place = 0; place < data.length; place += 4) {
    if (data[place + 3]) data[place] = data[place + 1] = data[place + 2] = table[data[place]];
  }
}

/** What is brighter and what is darker now, in colour over a dim current picture. Never inverted. */
export function shadeDifference(current, prior, tone) {
  const table = tone.table(false);
  const [now, before] = [current.data, prior.data];
  for (let place = 0; place < now.length; place += 4) {
    if (!now[place + 3]) continue;
    const value = table[now[place]];
    const change = before[place + 3] ? value - table[before[place]] : 0;
    const share = Math.min(1, (GAIN * Math.max(0, Math.abs(change) - NOISE)) / 255);
    const colour = change > 0 ? BRIGHTER : DARKER;
    for (let part = 0; part < 3; part++) now[place + part] = 0.3 * value * (1 - share) + colour[part] * share;
  }
}
