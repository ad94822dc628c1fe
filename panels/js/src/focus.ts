/** A function that tells whether the person works in this panel: its keys must not take what is typed elsewhere. */
export function watchAttention(panel: Element, signal: AbortSignal): () => boolean {
  let inside = false;
  let opened = true; // by a person, who has just clicked on its tab
  const look = (event: Event) => (inside = panel.contains(event.target as Node));
  document.addEventListener("pointerdown", look, { signal, capture: true });
  document.addEventListener("focusin", look, { signal, capture: true });
  return () => {
    const active = document.activeElement;
    const lost = !active || active === document.body; // with a button that had the focus and is gone
    const here = opened || (lost ? inside : panel.contains(active));
    opened = false;
    return here && !active?.matches("input, textarea");
  };
}

const OURS = ["label_quality", "learning_curves", "label_correction", "label_changes"];
const BUTTONS = OURS.map((name) => `[data-cy=panel-content-${name}] button`).join();

/** Enter and Space press the buttons of our panels: the App keeps these keys from buttons. */
export function pressButtons(): void {
  const press = (event: KeyboardEvent) => {
    const button = (event.target as Element).closest?.<HTMLElement>(BUTTONS);
    if (!button || (event.key !== "Enter" && event.key !== " ") || event.repeat) return;
    event.preventDefault();
    event.stopPropagation();
    button.click();
  };
  document.addEventListener("keydown", press, { capture: true });
}
