/** Masks: 8-bit arrays, row by row; as pictures, grey PNG files with the same values. */

import type { Box, Size } from "./viewport";

export type Mask = Size & { values: Uint8Array };
export type Colour = readonly [red: number, green: number, blue: number];
export type Overlay = "outline" | "tint" | "off";

export const NOTHING = 255; // the value of pixels without a label
const TINT = 110; // of 255
const AROUND = 80; // pixels that an object may reach beyond a small region

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

/** A canvas that is not on the page, with these pixels. */
export function filled(size: Size, pixels: ImageData): HTMLCanvasElement {
  const canvas = sheet(size);
  canvas.getContext("2d")!.putImageData(pixels, 0, 0);
  return canvas;
}

/** Colours of the classes over the image, as RGBA. */
export function tinted(labels: Mask, colours: readonly Colour[]) {
  const table = new Uint32Array(256);
  const bytes = new Uint8Array(table.buffer); // words as this machine orders their bytes
  colours.slice(0, NOTHING).forEach((colour, index) => bytes.set([...colour, TINT], 4 * index));
  return new Uint8ClampedArray(Uint32Array.from(labels.values, (value) => table[value]!).buffer);
}

/** Where a border lies as seen from a class: lines below it, above it, to its right and to its left. */
export type Borders = [below: number[], above: number[], right: number[], left: number[]];

/** The borders between classes as lines, x0, y0, x1, y1 of each, listed by the classes on both sides. */
export function borders(labels: Mask): Map<number, Borders> {
  const { width, height, values } = labels;
  const found = new Map<number, Borders>();
  const add = (value: number, side: number, ...line: number[]) => {
    if (value === NOTHING) return;
    if (!found.has(value)) found.set(value, [[], [], [], []]);
    found.get(value)![side]!.push(...line);
  };
  const pairs = (length: number, at: (place: number) => [number, number], line: Line, side: number) =>
    stretches(length, (place) => code(...at(place)), (key, from, to) => {
      add(key >> 8, side, ...line(from, to));
      add(key & 255, side + 1, ...line(from, to));
    });
  for (let y = 1; y < height; y++) {
    const row = y * width;
    pairs(width, (x) => [values[row - width + x]!, values[row + x]!], (from, to) => [from, y, to, y], 0);
  }
  for (let x = 1; x < width; x++) {
    pairs(height, (y) => [values[y * width + x - 1]!, values[y * width + x]!], (from, to) => [x, from, x, to], 2);
  }
  return found;
}

type Line = (from: number, to: number) => [number, number, number, number];
const code = (one: number, other: number): number => (one === other ? -1 : (one << 8) | other);

/**
 * The box of a region together with the object that it belongs to: all pixels around it with the same label. The
 * region's own box where that object is much larger.
 */
export function withObject(labels: Mask, region: Mask, [x, y]: [number, number], box: Box): Box {
  const { width, height, values } = labels;
  const reach = Math.max(AROUND, box[2] - box[0], box[3] - box[1]);
  const seen = new Uint8Array(values.length);
  const waiting: number[] = [];
  const visit = (pixel: number) => (seen[pixel] ||= waiting.push(pixel) ? 1 : 0);
  region.values.forEach((inside, place) => {
    if (inside) visit((y + Math.floor(place / region.width)) * width + x + (place % region.width));
  });
  const own = values[waiting[waiting.length >> 1]!];
  let [top, left, bottom, right] = box;
  for (let pixel = waiting.pop(); pixel !== undefined; pixel = waiting.pop()) {
    const column = pixel % width;
    const row = (pixel - column) / width;
    [top, left] = [Math.min(top, row), Math.min(left, column)];
    [bottom, right] = [Math.max(bottom, row + 1), Math.max(right, column + 1)];
    if (box[0] - top > reach || box[1] - left > reach || bottom - box[2] > reach || right - box[3] > reach) return box;
    if (column > 0 && values[pixel - 1] === own) visit(pixel - 1);
    if (column < width - 1 && values[pixel + 1] === own) visit(pixel + 1);
    if (row > 0 && values[pixel - width] === own) visit(pixel - width);
    if (row < height - 1 && values[pixel + width] === own) visit(pixel + width);
  }
  return [top, left, bottom, right];
}

/** The edge of a region as lines between its pixels and the others: x0, y0, x1, y1 of each, one after the other. */
export function edges(region: Mask): number[] {
  const { width, height, values } = region;
  const lines: number[] = [];
  const at = (x: number, y: number) =>
    x >= 0 && y >= 0 && x < width && y < height && values[y * width + x] !== 0;
  const edge = (one: boolean, other: boolean) => (one === other ? -1 : 1);
  for (let y = 0; y <= height; y++) {
    stretches(width, (x) => edge(at(x, y - 1), at(x, y)), (_, from, to) => lines.push(from, y, to, y));
  }
  for (let x = 0; x <= width; x++) {
    stretches(height, (y) => edge(at(x - 1, y), at(x, y)), (_, from, to) => lines.push(x, from, x, to));
  }
  return lines;
}

/** Calls `found` with the half-open ranges of 0..length over which `key` is the same and not negative. */
function stretches(
  length: number,
  key: (place: number) => number,
  found: (key: number, from: number, to: number) => void,
): void {
  let [from, before] = [0, -1];
  for (let place = 0; place <= length; place++) {
    const now = place < length ? key(place) : -1;
    if (now === before) continue;
    if (before >= 0) found(before, from, place);
    [from, before] = [place, now];
  }
}
