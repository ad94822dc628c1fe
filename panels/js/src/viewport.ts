/** Where the image is on the screen: `screen = image * scale + (left, top)`, in CSS pixels. */

export type Viewport = { scale: number; left: number; top: number };
export type Size = { width: number; height: number };
export type Box = readonly [top: number, left: number, bottom: number, right: number];

const MOST = 48; // screen pixels per image pixel
const CONTEXT: Size = { width: 160, height: 100 }; // image pixels that the first look at a region shows at least
const SHARE = 0.5; // of the screen, for the region when first looked at

function centred(scale: number, x: number, y: number, screen: Size): Viewport {
  return { scale, left: screen.width / 2 - x * scale, top: screen.height / 2 - y * scale };
}

/** The whole image, in the middle. */
export function whole(image: Size, screen: Size): Viewport {
  const scale = Math.min(screen.width / image.width, screen.height / image.height);
  return centred(scale, image.width / 2, image.height / 2, screen);
}

/** A region with its surroundings, without showing more of the outside of the image than need be. */
export function framed(region: Box, image: Size, screen: Size): Viewport {
  const [top, left, bottom, right] = region;
  const all = whole(image, screen);
  const wanted = SHARE * Math.min(screen.width / (right - left), screen.height / (bottom - top));
  const most = Math.min(screen.width / CONTEXT.width, screen.height / CONTEXT.height);
  const scale = Math.max(all.scale, Math.min(wanted, most));
  return showing((left + right) / 2, (top + bottom) / 2, scale, image, screen);
}

/** A place of the image in the middle of the screen, as far as that shows no more of the outside than need be. */
export function showing(x: number, y: number, scale: number, image: Size, screen: Size): Viewport {
  const view = centred(scale, x, y, screen);
  return {
    scale,
    left: inside(view.left, image.width * scale, screen.width),
    top: inside(view.top, image.height * scale, screen.height),
  };
}

/** The part of the image that is on the screen. */
export function visible(view: Viewport, image: Size, screen: Size): Box {
  const end = (start: number, there: number, length: number) =>
    Math.min(Math.max((there - start) / view.scale, 0), length);
  return [
    end(view.top, 0, image.height),
    end(view.left, 0, image.width),
    end(view.top, screen.height, image.height),
    end(view.left, screen.width, image.width),
  ];
}

/** The nearest start of something `length` long at which it fills what is there, or is in its middle. */
function inside(start: number, length: number, there: number): number {
  if (length <= there) return (there - length) / 2;
  return Math.min(0, Math.max(there - length, start));
}

/** Zooms in by a factor; what is under (x, y) of the screen stays there. */
export function zoomed(
  view: Viewport,
  factor: number,
  x: number,
  y: number,
  image: Size,
  screen: Size,
): Viewport {
  const least = whole(image, screen).scale;
  const scale = Math.min(Math.max(view.scale * factor, least / 2), Math.max(MOST, least));
  const grown = scale / view.scale;
  return { scale, left: x - (x - view.left) * grown, top: y - (y - view.top) * grown };
}

/** Moves the image over the screen. */
export function moved(view: Viewport, right: number, down: number): Viewport {
  return { ...view, left: view.left + right, top: view.top + down };
}

/** The pixel of the image at a place of the screen; undefined beside the image. */
export function pixelAt(
  view: Viewport,
  x: number,
  y: number,
  image: Size,
): [x: number, y: number] | undefined {
  const column = Math.floor((x - view.left) / view.scale);
  const row = Math.floor((y - view.top) / view.scale);
  const there = column >= 0 && row >= 0 && column < image.width && row < image.height;
  return there ? [column, row] : undefined;
}
