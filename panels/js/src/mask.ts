/** Masks: 8-bit arrays, row by row; as pictures, grey PNG files with the same values. */

import type { Size } from "./viewport";

export type Mask = Size & { values: Uint8Array };
export type Colour = readonly [red: number, green: number, blue: number];
export type Overlay = "outline" | "tint" | "off";

export const NOTHING = 255; // the value of pixels without a label

/** Decodes a picture given as data URI, without changing any value. */
export function decoded(uri: string): Promise<ImageBitmap> {
  const bytes = Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
  return createImageBitmap(new Blob([bytes]), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
}

/** Reads a grey PNG; the values are exactly those of the file. */
export async function readMask(uri: string): Promise<Mask> {
  const picture = await decoded(uri);
  const { width, height } = picture;
  const context = sheet({ width, height }).getContext("2d", { willReadFrequently: true })!;
  context.drawImage(picture, 0, 0);
  picture.close();
  const { data } = context.getImageData(0, 0, width, height);
  const values = new Uint8Array(width * height);
  for (let pixel = 0; pixel < values.length; pixel++) values[pixel] = data[4 * pixel]!;
  return { width, height, values };
}

/** An empty canvas that is not on the page. */
export function sheet({ width, height }: Size): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  return canvas;
}

/** Colours of the classes over the image, as RGBA: the borders between classes, all of them, or nothing. */
export function painted(labels: Mask, colours: readonly Colour[], overlay: Overlay) {
  const { width, height, values } = labels;
  const words = new Uint32Array(values.length);
  if (overlay !== "off") {
    const table = colourTable(colours, overlay === "tint" ? 110 : 255);
    for (let pixel = 0; pixel < words.length; pixel++) {
      if (overlay === "tint" || onBorder(values, pixel, width, height)) {
        words[pixel] = table[values[pixel]!]!;
      }
    }
  }
  return new Uint8ClampedArray(words.buffer);
}

function colourTable(colours: readonly Colour[], alpha: number): Uint32Array {
  const table = new Uint32Array(256);
  const bytes = new Uint8Array(table.buffer); // words as this machine orders their bytes
  colours.slice(0, NOTHING).forEach((colour, index) => bytes.set([...colour, alpha], 4 * index));
  return table;
}

function onBorder(values: Uint8Array, pixel: number, width: number, height: number): boolean {
  const own = values[pixel];
  const column = pixel % width;
  return (
    (column > 0 && values[pixel - 1] !== own) ||
    (column < width - 1 && values[pixel + 1] !== own) ||
    (pixel >= width && values[pixel - width] !== own) ||
    (pixel < width * (height - 1) && values[pixel + width] !== own)
  );
}

/** The edge of a region as lines between its pixels and the others: x0, y0, x1, y1 of each, one after the other. */
export function edges(region: Mask): number[] {
  const { width, height, values } = region;
  const lines: number[] = [];
  const at = (x: number, y: number) =>
    x >= 0 && y >= 0 && x < width && y < height && values[y * width + x] !== 0;
  for (let y = 0; y <= height; y++) {
    runs(width, (x) => at(x, y - 1) !== at(x, y), (from, to) => lines.push(from, y, to, y));
  }
  for (let x = 0; x <= width; x++) {
    runs(height, (y) => at(x - 1, y) !== at(x, y), (from, to) => lines.push(x, from, x, to));
  }
  return lines;
}

/** Calls `found` with the half-open ranges of 0..length where something holds. */
function runs(
  length: number,
  holds: (place: number) => boolean,
  found: (from: number, to: number) => void,
): void {
  let from = -1;
  for (let place = 0; place <= length; place++) {
    const now = place < length && holds(place);
    if (now && from < 0) from = place;
    else if (!now && from >= 0) {
      found(from, place);
      from = -1;
    }
  }
}
