/** Single keys, unless something is being written or they are turned off. */

export function listenToKeys(actions, areOn) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !areOn()) return;
    if (event.target.matches("input[type=text]")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const action = actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
}
