import assert from "node:assert/strict";
import { test } from "node:test";
import { matching } from "../src/classes";
import { makeLine } from "../src/line";
import { edges, painted, type Mask } from "../src/mask";
import { framed, moved, pixelAt, whole, zoomed, type Viewport } from "../src/viewport";

const image = { width: 400, height: 200 };
const screen = { width: 800, height: 800 };

function mask(...rows: number[][]): Mask {
  return { width: rows[0]!.length, height: rows.length, values: Uint8Array.from(rows.flat()) };
}

function words(bytes: Uint8ClampedArray): number[][] {
  return Array.from({ length: bytes.length / 4 }, (_, i) => [...bytes.slice(4 * i, 4 * i + 4)]);
}

test("the whole image is as large as fits, in the middle", () => {
  assert.deepEqual(whole(image, screen), { scale: 2, left: 0, top: 200 });
});

test("a region is framed with as much around it as it has itself", () => {
  const view = framed([50, 150, 100, 250], image, screen);
  assert.equal(view.scale, 4); // 100 pixels on half of 800
  assert.equal(view.left + 200 * view.scale, 400); // its middle in the middle
  assert.equal(view.top, 0); // and not 100, since the image is just as high as the screen
});

test("a region in a corner is framed without the outside of the image", () => {
  const view = framed([0, 0, 10, 10], image, screen);
  assert.deepEqual(view, { scale: 16, left: 0, top: 0 });
});

test("one pixel is not framed larger than can be understood, the whole image not smaller than it is", () => {
  assert.equal(framed([7, 7, 8, 8], image, screen).scale, 16);
  assert.deepEqual(framed([0, 0, 200, 400], image, screen), whole(image, screen));
});

test("zooming keeps what is under the pointer, and ends somewhere", () => {
  let view: Viewport = { scale: 2, left: 10, top: -30 };
  const under = [(333 - view.left) / view.scale, (222 - view.top) / view.scale];
  for (const factor of [1.5, 3, 0.4, 2]) view = zoomed(view, factor, 333, 222, image, screen);
  assert.ok(Math.abs((333 - view.left) / view.scale - under[0]!) < 1e-9);
  assert.ok(Math.abs((222 - view.top) / view.scale - under[1]!) < 1e-9);
  assert.equal(zoomed(view, 1e6, 0, 0, image, screen).scale, 48);
  assert.equal(zoomed(view, 1e-6, 0, 0, image, screen).scale, 1); // half of the whole image
});

test("every place of a pixel is that pixel, and beside the image is none", () => {
  const view = moved({ scale: 7.3, left: -20.5, top: 11 }, 3, -4);
  for (const [x, y] of [[0, 0], [399, 199], [123, 45]] as const) {
    for (const part of [0.001, 0.5, 0.999]) {
      const at = pixelAt(view, view.left + (x + part) * 7.3, view.top + (y + part) * 7.3, image);
      assert.deepEqual(at, [x, y]);
    }
  }
  assert.equal(pixelAt(view, view.left - 0.01, view.top + 5, image), undefined);
  assert.equal(pixelAt(view, view.left + 5, view.top + 200 * 7.3, image), undefined);
});

test("the edge of a region is made of the longest lines", () => {
  const square = edges(mask([0, 0, 0], [0, 1, 1], [0, 1, 1]));
  const lines = Array.from({ length: square.length / 4 }, (_, i) => square.slice(4 * i, 4 * i + 4).join(" "));
  assert.deepEqual(lines.sort(), ["1 1 1 3", "1 1 3 1", "1 3 3 3", "3 1 3 3"]);
  assert.equal(edges(mask([1, 1, 1], [1, 0, 1], [1, 1, 1])).length, 4 * 8); // outside, and around the hole
  assert.deepEqual(edges(mask([0, 0])), []);
});

test("labels are tinted with the colour of their class; pixels without a label are left alone", () => {
  const found = painted(mask([0, 1, 255]), [[10, 20, 30], [40, 50, 60]], "tint");
  assert.deepEqual(words(found), [[10, 20, 30, 110], [40, 50, 60, 110], [0, 0, 0, 0]]);
});

test("outlines are on both sides of a border and nowhere else", () => {
  const found = painted(mask([0, 0, 1, 1], [0, 0, 1, 1]), [[9, 9, 9], [8, 8, 8]], "outline");
  assert.deepEqual(
    words(found).map((word) => word[3]),
    [0, 255, 255, 0, 0, 255, 255, 0],
  );
  const off = painted(mask([0, 1]), [[9, 9, 9], [8, 8, 8]], "off");
  assert.ok(off.every((byte) => byte === 0));
});

test("a border does not go on from the end of a row to the beginning of the next", () => {
  const found = painted(mask([0, 0, 0, 1], [0, 0, 0, 1]), [[9, 9, 9], [8, 8, 8]], "outline");
  assert.equal(words(found)[4]![3], 0);
});

test("classes that begin with what was typed come first, then words within, then the rest", () => {
  const names = ["potted plant", "plane", "airplane", "dog", "Planet"];
  assert.deepEqual(matching(names, " PLAN"), ["plane", "Planet", "potted plant", "airplane"]);
  assert.deepEqual(matching(names, ""), names);
  assert.deepEqual(matching(names, "zebra"), []);
});

test("messages go one after the other, and an answer is lost while another is under way", async () => {
  const line = makeLine();
  const sent: string[] = [];
  const open: (() => void)[] = [];
  const send = (name: string) => () => {
    sent.push(name);
    return new Promise<void>((done) => open.push(done));
  };
  const all = line.now(send("answer"));
  void line.now(send("answer to what was not seen"));
  void line.later(send("undo"));
  assert.deepEqual(sent, ["answer"]);
  open[0]!();
  await new Promise(setImmediate);
  assert.deepEqual(sent, ["answer", "undo"]);
  open[1]!();
  await all;
  void line.now(send("next answer"));
  assert.deepEqual(sent, ["answer", "undo", "next answer"]);
  open[2]!();
});

test("a message that fails does not hold up the next", async () => {
  const line = makeLine();
  const sent: string[] = [];
  await line.later(() => Promise.reject(new Error("no server")));
  await line.now(async () => void sent.push("answer"));
  assert.deepEqual(sent, ["answer"]);
});
