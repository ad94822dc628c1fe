/** The whole image in a corner, with what is on the screen marked in it. */

import { stroke } from "./marks";
import { type Box, type Size } from "./viewport";

type Rectangle = [left: number, top: number, width: number, height: number];
export type Part = readonly [left: number, top: number, right: number, bottom: number];

const MARGIN = 8;
const LARGEST: Size = { width: 210, height: 160 }; // CSS pixels
const SHARE = 0.28; // of the screen at most

/** Where the inset is on the screen: below on the right, or on the left if it would hide what is to be seen. */
export function insetAt(image: Size, screen: Size, free: Rectangle = [0, 0, 0, 0]): Rectangle {
  const scale = Math.min(
    Math.min(LARGEST.width, SHARE * screen.width) / image.width,
    Math.min(LARGEST.height, SHARE * screen.height) / image.height,
  );
  const [width, height] = [image.width * scale, image.height * scale];
  const top = screen.height - height - MARGIN;
  const right: Rectangle = [screen.width - width - MARGIN, top, width, height];
  const left: Rectangle = [MARGIN, top, width, height];
  return meet(right, free) && !meet(left, free) ? left : right;
}

const meet = (one: Rectangle, other: Rectangle): boolean =>
  one[0] < other[0] + other[2] && other[0] < one[0] + one[2] && one[1] < other[1] + other[3] && other[1] < one[1] + one[3];

/** A box of the picture, which may be a part of the image, as a rectangle of the inset. */
export function onInset(box: Box, picture: Size, part: Part, [left, top, width, height]: Rectangle): Rectangle {
  const across = (x: number) => left + width * (part[0] + (x / picture.width) * (part[2] - part[0]));
  const down = (y: number) => top + height * (part[1] + (y / picture.height) * (part[3] - part[1]));
  return [across(box[1]), down(box[0]), across(box[3]) - across(box[1]), down(box[2]) - down(box[0])];
}

/** The place of the picture at a place of the inset. */
export function fromInset(
  [x, y]: readonly [number, number],
  picture: Size,
  part: Part,
  [left, top, width, height]: Rectangle,
): [number, number] {
  const across = ((x - left) / width - part[0]) / (part[2] - part[0]);
  const down = ((y - top) / height - part[1]) / (part[3] - part[1]);
  return [across * picture.width, down * picture.height];
}

export const holds = ([left, top, width, height]: Rectangle, [x, y]: readonly [number, number]): boolean =>
  x >= left && y >= top && x < left + width && y < top + height;

export function drawInset(
  context: CanvasRenderingContext2D,
  image: CanvasImageSource,
  place: Rectangle,
  seen: Rectangle,
  region: Rectangle,
): void {
  context.fillStyle = "#000c";
  context.fillRect(place[0] - 2, place[1] - 2, place[2] + 4, place[3] + 4);
  context.imageSmoothingEnabled = true;
  context.drawImage(image, ...place);
  const least = 5;
  const [x, y] = [region[0] + region[2] / 2, region[1] + region[3] / 2];
  const [width, height] = [Math.max(region[2], least), Math.max(region[3], least)];
  for (const [rectangle, colour] of [
    [[x - width / 2, y - height / 2, width, height], "#ffd400"],
    [seen, "#fff"],
  ] as [Rectangle, string][]) {
    context.beginPath();
    context.rect(...rectangle);
    stroke(context, 4, "#000b");
    stroke(context, 2, colour);
  }
}
