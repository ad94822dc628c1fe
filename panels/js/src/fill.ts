const LEAST = 260; // CSS pixels

/** Makes a box as high as its panel has room for, so that what stands above and below it is in sight, too. */
export function fill(box: HTMLElement, signal: AbortSignal): void {
  const panel = box.closest("[data-cy^=panel-content]");
  const page = taller(box);
  if (!panel || !page) return;
  const fit = () => {
    const room = panel.clientHeight - (page.offsetHeight - box.offsetHeight);
    if (panel.clientHeight) box.style.height = `${Math.max(LEAST, Math.floor(room) - 1)}px`;
  };
  const resized = new ResizeObserver(fit);
  resized.observe(panel);
  resized.observe(page);
  signal.addEventListener("abort", () => resized.disconnect());
  fit();
}

/** The first element around the box that has something beside it. */
function taller(box: HTMLElement): HTMLElement | null {
  let around = box.parentElement;
  while (around && around.offsetHeight <= box.offsetHeight) around = around.parentElement;
  return around;
}
