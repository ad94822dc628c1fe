import assert from "node:assert/strict";
import { test } from "node:test";
import { matching } from "../src/classes";
import { makeLine } from "../src/line";
import { fromInset, insetAt, onInset } from "../src/inset";
import { borders, edges, tinted, withObject, type Mask } from "../src/mask";
import { framed, moved, pixelAt, visible, whole, zoomed, type Viewport } from "../src/viewport";

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
  assert.deepEqual(view, { scale: 5, left: 0, top: 0 });
});

test("one pixel is framed with 160 pixels of the image, the whole image not smaller than it is", () => {
  const [, left, , right] = visible(framed([7, 200, 8, 201], image, screen), image, screen);
  assert.equal(right - left, 160);
  assert.deepEqual(framed([0, 0, 1, 1], { width: 40, height: 40 }, screen), { scale: 20, left: 0, top: 0 });
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
  const found = tinted(mask([0, 1, 255]), [[10, 20, 30], [40, 50, 60]]);
  assert.deepEqual(words(found), [[10, 20, 30, 110], [40, 50, 60, 110], [0, 0, 0, 0]]);
});

test("a border is known from both sides, each stretch once, and not from where there is no label", () => {
  const found = borders(mask([0, 0, 1, 1], [0, 0, 1, 1], [255, 255, 255, 255]));
  assert.deepEqual(found.get(0), [[0, 2, 2, 2], [], [2, 0, 2, 2], []]); // below it nothing, to its right the other
  assert.deepEqual(found.get(1), [[2, 2, 4, 2], [], [], [2, 0, 2, 2]]);
  assert.equal(found.has(255), false);
});

test("an object is seen whole with the region in it, unless it is much larger", () => {
  const row = [0, 1, 1, 1, 0, 1];
  const region = { width: 1, height: 1, values: Uint8Array.of(1) };
  assert.deepEqual(withObject(mask(row), region, [2, 0], [0, 2, 1, 3]), [0, 1, 1, 4]);
  assert.deepEqual(withObject(mask(Array(400).fill(1)), region, [2, 0], [0, 2, 1, 3]), [0, 2, 1, 3]);
});

test("the inset does not hide the region that is asked about", () => {
  const [left, top, width, height] = insetAt(image, screen);
  assert.ok(insetAt(image, screen, [left + 5, top + 5, 20, 20])[0] < left);
  assert.deepEqual(insetAt(image, screen, [0, top, screen.width, height]), [left, top, width, height]);
});

test("what is seen is marked in the inset, and a place of the inset is a place of the picture", () => {
  const place = insetAt(image, screen);
  assert.deepEqual(place, [582, 687, 210, 105]);
  const part = [0.5, 0, 1, 1] as const; // the picture is the right half of the image
  const box = onInset([0, 0, 200, 400], image, part, place);
  assert.deepEqual(box, [687, 687, 105, 105]);
  assert.deepEqual(fromInset([box[0], box[1]], image, part, place), [0, 0]);
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

test("an answer is not lost while the panel only says that somebody is there", async () => {
  const line = makeLine();
  const sent: string[] = [];
  const open: (() => void)[] = [];
  const send = (name: string) => () => {
    sent.push(name);
    return new Promise<void>((done) => open.push(done));
  };
  void line.quietly(send("hold"));
  void line.now(send("answer"));
  void line.now(send("answer to what was not seen"));
  void line.quietly(send("hello"));
  for (let number = 0; number < 3; number++) {
    open[number]!();
    await new Promise(setImmediate);
  }
  assert.deepEqual(sent, ["hold", "answer", "hello"]);
});

test("a message that fails does not hold up the next", async () => {
  const line = makeLine();
  const sent: string[] = [];
  await line.later(() => Promise.reject(new Error("no server")));
  await line.now(async () => void sent.push("answer"));
  assert.deepEqual(sent, ["answer"]);
});
