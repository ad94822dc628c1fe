import { drawInset, fromInset, holds, insetAt, onInset } from "./inset";
import { CRISP, sign, stroke, target } from "./marks";
import { decoded, edges, filled, readMask, sheet, tinted, withObject, type Mask } from "./mask";
import { drawOutlines, outlines, traced, type Outline } from "./outlines";
import type { QuestionView } from "./view";
import { framed, moved, pixelAt, showing, visible, whole, zoomed } from "./viewport";
import type { Box, Size, Viewport } from "./viewport";

type Picture = { image: ImageBitmap; labels: Mask; overview: ImageBitmap | undefined };
type Shown = { view: QuestionView; size: Size; picture: Picture; outline: Path2D; frame: Box };
type Grip = { viewport: Viewport; x: number; y: number; distance: number; question: string; moves: boolean };
type Hooks = {
  onHover(name: string): void;
  onClick(x: number, y: number, positive: boolean): void;
};

const STILL = 4; // CSS pixels that the pointer may move in a click
const KEPT = 6;
const SHADE = "rgba(0, 0, 0, 0.3)";
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
  const [image, labels, overview] = await Promise.all([
    decoded(view.image),
    readMask(view.labels),
    view.overview ? decoded(view.overview) : undefined,
  ]);
  return { image, labels, overview };
}

/** White where the region is. */
function stencil(region: Mask): HTMLCanvasElement {
  const pixels = new ImageData(region.width, region.height);
  new Uint32Array(pixels.data.buffer).set(Uint32Array.from(region.values, (value) => (value ? ~0 : 0)));
  return filled(region, pixels);
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
  let tint: HTMLCanvasElement | undefined;
  let outlined: Outline[] = [];
  let spaced = false;
  let grip: Grip | undefined;
  const fingers = new Map<number, [number, number]>();
  let shade: HTMLCanvasElement;
  let frame = 0;
  let since = 0;

  const resized = new ResizeObserver(redraw);
  resized.observe(box);
  signal.addEventListener("abort", () => resized.disconnect());
  box.addEventListener("wheel", turn, { signal, passive: false });
  canvas.addEventListener("pointerdown", press, { signal });
  canvas.addEventListener("pointermove", drag, { signal });
  canvas.addEventListener("pointerup", release, { signal });
  canvas.addEventListener("pointercancel", release, { signal });
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
    const asks = before?.question !== view.question;
    const frame = asks ? withObject(picture.labels, region, view.region_at, view.box) : shown!.frame;
    shown = { view, size, picture, outline: traced(edges(region), ...view.region_at), frame };
    shade = shaded(region, shown);
    if (before?.picture !== view.picture || before.overlay !== view.overlay) {
      const { labels } = picture;
      tint = undefined;
      outlined = view.overlay === "outline" ? outlines(labels, view.colours) : [];
      if (view.overlay === "tint") tint = filled(size, new ImageData(tinted(labels, view.colours), width, height));
    }
    if (asks) since = performance.now();
    redraw();
  }

  const screen = (): Size => ({ width: box.clientWidth, height: box.clientHeight });

  function now(): Viewport {
    const { view, size, frame } = shown!;
    return viewports.get(view.question) ?? framed(frame, size, screen());
  }

  function look(viewport: Viewport): void {
    remember(viewports, shown!.view.question, viewport);
    redraw();
  }

  /** The region with its surroundings; the whole image if that is what is seen already. */
  function reset(): void {
    if (!shown) return;
    const first = framed(shown.frame, shown.size, screen());
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
    context.imageSmoothingEnabled = scale < CRISP;
    context.imageSmoothingQuality = "high";
    context.drawImage(picture.image, 0, 0, size.width, size.height);
    context.imageSmoothingEnabled = false;
    context.drawImage(shade, 0, 0);
    if (tint) context.drawImage(tint, 0, 0);
    context.lineCap = "round";
    drawOutlines(context, outlined, scale);
    stroke(context, 4.5 / scale, "#000b", outline);
    stroke(context, 2 / scale, "#fff", outline);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const onScreen = (x: number, y: number) => [(x + 0.5) * scale + left, (y + 0.5) * scale + top] as const;
    target(context, ...onScreen(...view.point));
    for (const [x, y, positive] of view.points) sign(context, ...onScreen(x, y), positive);
    const place = inset();
    if (place) {
      const seen = onInset(visible(now(), size, { width, height }), size, view.part, place);
      drawInset(context, picture.overview ?? picture.image, place, seen, onInset(view.box, size, view.part, place));
    }
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

  /** Where the whole image is in small, unless all of it is seen anyway. */
  function inset() {
    const { size, picture, view } = shown!;
    const at = now();
    const [top, left, bottom, right] = visible(at, size, screen());
    const all = top <= 0 && left <= 0 && bottom >= size.height && right >= size.width;
    if (all && !picture.overview) return undefined;
    const [above, before, below, after] = view.box.map((side) => side * at.scale) as [number, number, number, number];
    const free = [before + at.left, above + at.top, after - before, below - above] as const;
    return insetAt(picture.overview ?? size, screen(), [...free]);
  }

  function press(event: PointerEvent): void {
    if (!shown || event.button > 1) return;
    const [x, y] = place(event);
    const corner = inset();
    if (corner && holds(corner, [x, y])) {
      const there = fromInset([x, y], shown.size, shown.view.part, corner);
      return look(showing(...there, now().scale, shown.size, screen()));
    }
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, [x, y]);
    const moves = event.button === 1 || spaced || fingers.size > 1;
    grip = { viewport: now(), question: shown.view.question, moves, ...between() };
  }

  /** The middle of what touches the canvas, and how far two fingers are apart. */
  function between(): { x: number; y: number; distance: number } {
    const [first, second] = [...fingers.values()] as [[number, number], [number, number]?];
    const [x, y] = second ?? first;
    return { x: (first[0] + x) / 2, y: (first[1] + y) / 2, distance: Math.hypot(first[0] - x, first[1] - y) };
  }

  function drag(event: PointerEvent): void {
    if (!shown || !grip || !fingers.has(event.pointerId)) return hover(event);
    fingers.set(event.pointerId, place(event));
    const { x, y, distance } = between();
    grip.moves ||= Math.hypot(x - grip.x, y - grip.y) > STILL;
    if (!grip.moves) return;
    const grown = grip.distance && distance ? distance / grip.distance : 1;
    look(moved(zoomed(grip.viewport, grown, grip.x, grip.y, shown.size, screen()), x - grip.x, y - grip.y));
  }

  function release(event: PointerEvent): void {
    if (!fingers.delete(event.pointerId) || !shown || !grip) return;
    const { viewport, x, y, question, moves } = grip;
    grip = fingers.size ? { ...grip, viewport: now(), moves: true, ...between() } : undefined;
    const pixel = pixelAt(viewport, x, y, shown.size);
    const meant = event.type === "pointerup" && !moves && shown.view.question === question;
    if (pixel && meant) hooks.onClick(...pixel, !event.shiftKey);
  }

  /** Zooms in or out in the middle. */
  function grow(factor: number): void {
    const { width, height } = screen();
    if (shown) look(zoomed(now(), factor, width / 2, height / 2, shown.size, screen()));
  }

  function pan(right: number, down: number): void {
    if (shown) look(moved(now(), right, down));
  }

  /** While the space bar is down the pointer moves the picture and never answers. */
  function space(isDown: boolean): void {
    spaced = isDown;
    canvas.style.cursor = isDown ? "grab" : "crosshair";
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

  return { show, reset, grow, pan, space, seconds, question };
}
