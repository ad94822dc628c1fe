import { sign, stroke, target } from "./marks";
import { decoded, edges, painted, readMask, sheet, type Mask } from "./mask";
import type { QuestionView } from "./view";
import { framed, moved, pixelAt, whole, zoomed, type Size, type Viewport } from "./viewport";

type Picture = { image: ImageBitmap; labels: Mask };
type Shown = { view: QuestionView; size: Size; picture: Picture; outline: Path2D };
type Hooks = {
  onHover(name: string): void;
  onClick(x: number, y: number, positive: boolean): void;
};

const STILL = 4; // CSS pixels that the pointer may move in a click
const KEPT = 6;
const SHADE = "rgba(0, 0, 0, 0.38)";
const pictures = new Map<string, Picture>(); // these two outlive a scene: a panel may be closed and opened
const viewports = new Map<string, Viewport>();

/** Names of the pictures that need not be sent again. */
export const kept = (): string[] => [...pictures.keys()];

function remember<T>(shelf: Map<string, T>, key: string, value: T): void {
  shelf.delete(key);
  shelf.set(key, value);
  for (const oldest of [...shelf.keys()].slice(0, -KEPT)) shelf.delete(oldest);
}

async function pictureOf(view: QuestionView): Promise<Picture> {
  const found = pictures.get(view.picture);
  if (found) return found;
  const [image, labels] = await Promise.all([decoded(view.image), readMask(view.labels)]);
  return { image, labels };
}

/** The edge of a region that begins at (x, y) of the image. */
function traced(region: Mask, [x, y]: [number, number]): Path2D {
  const lines = edges(region);
  const path = new Path2D();
  for (let i = 0; i < lines.length; i += 4) {
    path.moveTo(lines[i]! + x, lines[i + 1]! + y);
    path.lineTo(lines[i + 2]! + x, lines[i + 3]! + y);
  }
  return path;
}

/** White where the region is. */
function stencil(region: Mask): HTMLCanvasElement {
  const pixels = new ImageData(region.width, region.height);
  new Uint32Array(pixels.data.buffer).set(Uint32Array.from(region.values, (value) => (value ? ~0 : 0)));
  return filled(region, pixels);
}

function filled(size: Size, pixels: ImageData): HTMLCanvasElement {
  const canvas = sheet(size);
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  return canvas;
}

/** Darkness over everything but the region. */
function shaded(region: Mask, { view, size }: Shown): HTMLCanvasElement {
  const canvas = sheet(size);
  const context = canvas.getContext("2d")!;
  context.fillStyle = SHADE;
  context.fillRect(0, 0, size.width, size.height);
  context.globalCompositeOperation = "destination-out";
  context.drawImage(stencil(region), ...view.region_at);
  return canvas;
}

/** Draws questions into a canvas that fills its box, and turns what the pointer does into places of the image. */
export function makeScene(box: HTMLElement, canvas: HTMLCanvasElement, hooks: Hooks, signal: AbortSignal) {
  let shown: Shown | undefined;
  let latest: QuestionView | undefined;
  let overlay: HTMLCanvasElement;
  let shade: HTMLCanvasElement;
  let frame = 0;
  let since = 0;

  const resized = new ResizeObserver(redraw);
  resized.observe(box);
  signal.addEventListener("abort", () => resized.disconnect());
  box.addEventListener("wheel", turn, { signal, passive: false });
  canvas.addEventListener("pointerdown", press, { signal });
  canvas.addEventListener("pointermove", hover, { signal });
  canvas.addEventListener("pointerleave", () => hooks.onHover(""), { signal });

  /** Shows a question once all of it is there; until then the one before stays. */
  async function show(view: QuestionView): Promise<void> {
    latest = view;
    const [picture, region] = await Promise.all([pictureOf(view), readMask(view.region)]);
    remember(pictures, view.picture, picture);
    if (latest !== view || signal.aborted) return;
    const before = shown?.view;
    const [width, height] = view.size;
    const size = { width, height };
    shown = { view, size, picture, outline: traced(region, view.region_at) };
    shade = shaded(region, shown);
    if (before?.picture !== view.picture || before.overlay !== view.overlay) {
      const pixels = painted(picture.labels, view.colours, view.overlay);
      overlay = filled(size, new ImageData(pixels, width, height));
    }
    if (before?.question !== view.question) since = performance.now();
    redraw();
  }

  const screen = (): Size => ({ width: box.clientWidth, height: box.clientHeight });

  function now(): Viewport {
    const { view, size } = shown!;
    return viewports.get(view.question) ?? framed(view.box, size, screen());
  }

  function look(viewport: Viewport): void {
    remember(viewports, shown!.view.question, viewport);
    redraw();
  }

  /** The region with its surroundings; the whole image if that is what is seen already. */
  function reset(): void {
    if (!shown) return;
    const first = framed(shown.view.box, shown.size, screen());
    const same = JSON.stringify(first) === JSON.stringify(now());
    look(same ? whole(shown.size, screen()) : first);
  }

  function redraw(): void {
    cancelAnimationFrame(frame);
    if (shown) frame = requestAnimationFrame(draw);
  }

  function draw(): void {
    const { view, size, picture, outline } = shown!;
    const { width, height } = screen();
    if (!width || !height) return;
    const ratio = window.devicePixelRatio || 1;
    const { scale, left, top } = now();
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d")!;
    context.setTransform(scale * ratio, 0, 0, scale * ratio, left * ratio, top * ratio);
    context.imageSmoothingEnabled = scale * ratio < 1;
    context.drawImage(picture.image, 0, 0, size.width, size.height);
    context.drawImage(shade, 0, 0);
    context.drawImage(overlay, 0, 0);
    context.lineCap = "round";
    stroke(context, 4.5 / scale, "#000b", outline);
    stroke(context, 2 / scale, "#fff", outline);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const onScreen = (x: number, y: number) => [(x + 0.5) * scale + left, (y + 0.5) * scale + top] as const;
    target(context, ...onScreen(...view.point));
    for (const [x, y, positive] of view.points) sign(context, ...onScreen(x, y), positive);
    // What is on the screen, and where: for tests and for whoever looks at the page's source.
    Object.assign(box.dataset, { question: view.question, version: view.version, view: `${scale} ${left} ${top}` });
  }

  function place(event: MouseEvent): [x: number, y: number] {
    const { left, top } = canvas.getBoundingClientRect();
    return [event.clientX - left, event.clientY - top];
  }

  function turn(event: WheelEvent): void {
    event.preventDefault();
    event.stopPropagation();
    if (!shown) return;
    const factor = Math.exp(-event.deltaY * (event.deltaMode ? 0.06 : 0.002));
    look(zoomed(now(), factor, ...place(event), shown.size, screen()));
  }

  function press(event: PointerEvent): void {
    if (!shown || event.button > 1) return;
    const viewport = now();
    const { question } = shown.view;
    const [x, y] = place(event);
    let drags = event.button === 1;
    const over = new AbortController();
    const ended = { signal: over.signal };
    signal.addEventListener("abort", () => over.abort(), ended);
    canvas.setPointerCapture(event.pointerId);
    const move = (event: PointerEvent) => {
      const [right, down] = place(event);
      drags ||= Math.hypot(right - x, down - y) > STILL;
      if (drags) look(moved(viewport, right - x, down - y));
    };
    const release = (event: PointerEvent) => {
      over.abort();
      const pixel = pixelAt(viewport, x, y, shown!.size);
      if (pixel && !drags && shown!.view.question === question) hooks.onClick(...pixel, !event.shiftKey);
    };
    canvas.addEventListener("pointermove", move, ended);
    canvas.addEventListener("pointerup", release, ended);
    canvas.addEventListener("pointercancel", () => over.abort(), ended);
  }

  function hover(event: PointerEvent): void {
    const pixel = shown && !event.buttons && pixelAt(now(), ...place(event), shown.size);
    if (!pixel) return hooks.onHover("");
    const { picture, view, size } = shown!;
    hooks.onHover(view.names[picture.labels.values[pixel[1] * size.width + pixel[0]]!] ?? "no label");
  }

  /** How long the question has been on the screen. */
  const seconds = (): number => (performance.now() - since) / 1000;

  /** Which question is on the screen. */
  const question = (): string => shown?.view.question ?? "";

  return { show, reset, seconds, question };
}
