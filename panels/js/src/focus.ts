/** A function that tells whether the person works in this panel: its keys must not take what is typed elsewhere. */
export function watchAttention(panel: Element, signal: AbortSignal): () => boolean {
  let inside = true; // whoever opens the panel has just clicked on it
  const look = (event: Event) => (inside = panel.contains(event.target as Node));
  document.addEventListener("pointerdown", look, { signal, capture: true });
  document.addEventListener("focusin", look, { signal, capture: true });
  return () => {
    const active = document.activeElement;
    if (!active || active === document.body) return inside; // a button that had the focus may be gone
    return panel.contains(active) && !active.matches("input, textarea");
  };
}
