import { fill } from "./fill";
import { React, usePython } from "./host";
import { CRISP, stroke } from "./marks";
import { decoded, edges, filled, NOTHING, readMask, tinted, type Colour, type Mask } from "./mask";
import { drawOutlines, outlines, traced, type Outline } from "./outlines";
import { moved, whole, zoomed, type Size, type Viewport } from "./viewport";

/** What Python puts into the view: one image with both of its labels. */
export type CompareView = {
  picture: string; // another name for another image or another label of it
  image: string;
  given: string; // grey PNG: index of the class, 255 for none
  corrected: string;
  colours: Colour[];
  title: string;
  place: string; // "3 of 12"
  height: string;
  on_step: string;
};

type Side = { outlines: Outline[]; tint: HTMLCanvasElement };
type Loaded = { image: ImageBitmap; size: Size; sides: [Side, Side]; changed: Path2D };

const PLAQUE = {
  padding: "2px 10px",
  borderRadius: 4,
  border: 0,
  background: "var(--fo-palette-background-level1, #fff)",
  color: "var(--fo-palette-text-primary, #222)",
  font: "inherit",
} as const;
const NAMES = ["given", "corrected"] as const;

async function load(view: CompareView): Promise<Loaded> {
  const [image, given, corrected] = await Promise.all([
    decoded(view.image),
    readMask(view.given),
    readMask(view.corrected),
  ]);
  const differs = Uint8Array.from(given.values, (value, pixel) => (value === corrected.values[pixel] ? 0 : 1));
  const changed: Mask = { width: given.width, height: given.height, values: differs };
  const side = (labels: Mask): Side => {
    const values = labels.values.map((value, pixel) => (differs[pixel] ? value : NOTHING));
    const pixels = new ImageData(tinted({ ...labels, values }, view.colours), labels.width, labels.height);
    return { outlines: outlines(labels, view.colours), tint: filled(labels, pixels) };
  };
  return {
    image,
    size: { width: given.width, height: given.height },
    sides: [side(given), side(corrected)],
    changed: traced(edges(changed)),
  };
}

/** The given label beside the corrected one, or on both sides of a line that can be moved. */
export function Compare({ schema: { view } }: { schema: { view: CompareView } }) {
  const box = React.useRef<HTMLDivElement>(null);
  const canvas = React.useRef<HTMLCanvasElement>(null);
  const [loaded, setLoaded] = React.useState<Loaded>();
  const [split, setSplit] = React.useState(0.5);
  const [beside, setBeside] = React.useState(false);
  const [viewport, setViewport] = React.useState<Viewport>();
  const [room, setRoom] = React.useState<Size>({ width: 0, height: 0 });
  const python = usePython();

  React.useEffect(() => {
    const gone = new AbortController();
    fill(box.current!, gone.signal);
    const watch = new ResizeObserver(() =>
      setRoom({ width: canvas.current!.clientWidth, height: canvas.current!.clientHeight }),
    );
    watch.observe(canvas.current!);
    return () => {
      watch.disconnect();
      gone.abort();
    };
  }, []);
  React.useEffect(() => {
    let wanted = true;
    setViewport(undefined);
    void load(view).then((found) => wanted && setLoaded(found));
    return () => void (wanted = false);
  }, [view.picture]);

  const pane: Size = beside ? { width: room.width / 2, height: room.height } : room;
  const now = loaded && (viewport ?? whole(loaded.size, pane));
  React.useEffect(() => {
    if (loaded && now && room.width) draw(canvas.current!, loaded, now, room, split, beside);
  }, [loaded, now, room, split, beside]);

  const latest = React.useRef({ now, pane, loaded });
  latest.current = { now, pane, loaded };
  React.useEffect(() => {
    const gone = new AbortController();
    const turn = (event: WheelEvent) => {
      const { now, pane, loaded } = latest.current;
      event.preventDefault();
      if (!now || !loaded) return;
      const { left, top } = canvas.current!.getBoundingClientRect();
      const x = (event.clientX - left) % pane.width;
      const factor = Math.exp(-event.deltaY * (event.deltaMode ? 0.06 : 0.002));
      setViewport(zoomed(now, factor, x, event.clientY - top, loaded.size, pane));
    };
    canvas.current!.addEventListener("wheel", turn, { signal: gone.signal, passive: false });
    return () => gone.abort();
  }, []);

  const press = (event: React.PointerEvent) => {
    if (!now) return;
    const [x, y, start] = [event.clientX, event.clientY, now];
    const { left, width } = canvas.current!.getBoundingClientRect();
    const slides = !beside && Math.abs(x - left - split * width) < 14;
    const gone = new AbortController();
    canvas.current!.setPointerCapture(event.pointerId);
    const move = (to: PointerEvent) =>
      slides
        ? setSplit(Math.min(Math.max((to.clientX - left) / width, 0), 1))
        : setViewport(moved(start, to.clientX - x, to.clientY - y));
    canvas.current!.addEventListener("pointermove", move, { signal: gone.signal });
    for (const end of ["pointerup", "pointercancel"] as const) {
      canvas.current!.addEventListener(end, () => gone.abort(), { signal: gone.signal });
    }
  };
  const step = (by: number) => void python(view.on_step, { by });
  const key = (event: React.KeyboardEvent) => {
    const { target } = event;
    if (target instanceof HTMLInputElement) return;
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else if (event.key === "b") setBeside(!beside);
    else if (event.key === "0") setViewport(undefined);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const button = (label: string, title: string, press: () => void) => (
    <button title={title} onClick={press} style={{ ...PLAQUE, cursor: "pointer" }}>
      {label}
    </button>
  );

  return (
    <div
      ref={box}
      tabIndex={0}
      onKeyDown={key}
      data-cy="label-changes"
      data-picture={loaded ? view.picture : ""}
      style={{
        display: "flex",
        flexDirection: "column",
        gap: 6,
        width: "100%",
        height: view.height,
        font: "14px/1.6 var(--fo-fontFamily-body, sans-serif)",
        color: "var(--fo-palette-text-primary, #222)",
      }}
    >
      <div style={{ display: "flex", flexWrap: "wrap", gap: 8, alignItems: "center" }}>
        {button("←", "The image before (←)", () => step(-1))}
        <span>{view.place}</span>
        {button("→", "The next image (→)", () => step(1))}
        <b style={{ flex: "1 1 200px" }}>{view.title}</b>
        {button(beside ? "Slider" : "Side by side", "Side by side or with a slider (b)", () => setBeside(!beside))}
        {button("Whole image", "The whole image (0)", () => setViewport(undefined))}
      </div>
      <div style={{ position: "relative", flex: "1 1 0", minHeight: 120 }}>
        <canvas
          ref={canvas}
          role="img"
          aria-label={view.title}
          onPointerDown={press}
          style={{ position: "absolute", inset: 0, width: "100%", height: "100%", touchAction: "none", cursor: "ew-resize", background: "var(--fo-palette-background-level3, #777)" }}
        />
        {NAMES.map((name, side) => (
          <span
            key={name}
            style={{ ...PLAQUE, position: "absolute", top: 8, pointerEvents: "none", ...place(side, beside) }}
          >
            {name}
          </span>
        ))}
      </div>
      {!beside && (
        <input
          type="range"
          min={0}
          max={100}
          value={Math.round(100 * split)}
          aria-label="How much of the given label is shown, from the left"
          onChange={(event) => setSplit(Number(event.target.value) / 100)}
          style={{ width: "100%", margin: 0 }}
        />
      )}
    </div>
  );
}

const place = (side: number, beside: boolean) => (side === 0 ? { left: 8 } : beside ? { left: "calc(50% + 8px)" } : { right: 8 });

/** Draws the image with both labels; `split` is where one ends and the other begins. */
function draw(
  canvas: HTMLCanvasElement,
  { image, size, sides, changed }: Loaded,
  { scale, left, top }: Viewport,
  room: Size,
  split: number,
  beside: boolean,
): void {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(room.width * ratio);
  canvas.height = Math.round(room.height * ratio);
  const context = canvas.getContext("2d")!;
  const middle = beside ? room.width / 2 : split * room.width;
  for (const side of [0, 1] as const) {
    const [from, to] = side === 0 ? [0, middle] : [middle, room.width];
    context.save();
    context.scale(ratio, ratio);
    context.beginPath();
    context.rect(from, 0, to - from, room.height);
    context.clip();
    context.translate(left + (beside ? from : 0), top);
    context.scale(scale, scale);
    context.imageSmoothingEnabled = scale < CRISP;
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, size.width, size.height);
    context.imageSmoothingEnabled = false;
    context.drawImage(sides[side].tint, 0, 0);
    context.lineCap = "round";
    drawOutlines(context, sides[side].outlines, scale);
    stroke(context, 4.5 / scale, "#000b", changed);
    stroke(context, 2 / scale, "#fff", changed);
    context.restore();
  }
  context.scale(ratio, ratio);
  context.beginPath();
  context.moveTo(middle, 0);
  context.lineTo(middle, room.height);
  stroke(context, 5, "#000b");
  stroke(context, 2, "#fff");
  if (beside) return;
  context.beginPath();
  context.arc(middle, room.height / 2, 9, 0, 2 * Math.PI);
  context.fillStyle = "#fff";
  context.fill();
  stroke(context, 2, "#000b");
}
